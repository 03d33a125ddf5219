//! An engine that runs nothing: it has files, images, and a list of what it was asked.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result};
use frontend::*;
use llb::Definition;
use oci::{Digest, Platform};

#[derive(Default)]
pub struct FakeBridge {
    /// By path; files of a local source other than `context` and `dockerfile` begin with `<name>:`.
    pub files: BTreeMap<String, String>,
    /// Configs by name.
    pub images: BTreeMap<String, String>,
    /// What is known of sources, by identifier.
    pub sources: BTreeMap<String, SourceMeta>,
    pub solved: Mutex<Vec<Definition>>,
    /// `name [platform mode] title` of each image that was resolved.
    pub resolved: Mutex<Vec<String>>,
    pub warnings: Mutex<Vec<String>>,
}

#[async_trait]
impl Bridge for FakeBridge {
    fn session_id(&self) -> &str {
        "session-1"
    }

    fn platforms(&self) -> Vec<Platform> {
        vec![Platform::new("linux", "amd64", "")]
    }

    async fn resolve_image_config(&self, reference: &str, o: ResolveOptions) -> Result<ResolvedImage> {
        let name = reference.strip_prefix("oci-layout://").unwrap_or(reference);
        let how = match &o.platform {
            _ if !o.store_id.is_empty() => format!("oci {} {}", o.session_id, o.store_id),
            Some(p) => format!("{}/{}/{} {}", p.os, p.architecture, p.variant, o.resolve_mode),
            None => String::new(),
        };
        self.resolved.lock().expect("no panic").push(format!("{name} [{how}] {}", o.log_name));
        let config = self.images.get(name).ok_or_else(|| Error::not_found(format!("{name}: not found")))?;
        let config = Bytes::from(config.clone());
        Ok(ResolvedImage { reference: name.to_owned(), digest: Digest::of(&config), config, chain: None })
    }

    async fn resolve_source(&self, source: &llb::SourceOp, _: SourceOptions) -> Result<ResolvedSource> {
        let meta = self.sources.get(&source.identifier).cloned().unwrap_or_default();
        Ok(ResolvedSource { source: source.clone(), meta })
    }

    async fn solve(&self, request: SolveRequest) -> Result<BuildResult> {
        if !request.frontend.is_empty() {
            return Err(Error::unimplemented(format!("there is no frontend `{}` here", request.frontend)));
        }
        let definition = request.definition.unwrap_or_default();
        let mut solved = self.solved.lock().expect("no panic");
        solved.push(definition.clone());
        let reference = Ref { id: solved.len().to_string(), definition: definition.into() };
        Ok(BuildResult { refs: Refs::Single(reference), ..BuildResult::default() })
    }

    async fn evaluate(&self, _: &Ref) -> Result<()> {
        Ok(())
    }

    async fn read_file(&self, reference: &Ref, path: &str, _: Option<FileRange>) -> Result<Bytes> {
        let graph = llb::Graph::load(&reference.definition)?;
        let other = graph.ops.values().find_map(|loaded| match &loaded.op.kind {
            llb::OpKind::Source(s) => s
                .identifier
                .strip_prefix("local://")
                .filter(|name| !matches!(*name, "context" | "dockerfile"))
                .map(|name| format!("{name}:{path}")),
            _ => None,
        });
        let key = other.unwrap_or_else(|| path.to_owned());
        let text = self.files.get(&key).ok_or_else(|| Error::not_found(format!("not found: {path}")))?;
        Ok(Bytes::from(text.clone()))
    }

    async fn read_dir(&self, _: &Ref, path: &str, _: &str) -> Result<Vec<FileInfo>> {
        Err(Error::not_found(path.to_owned()))
    }

    async fn stat_file(&self, _: &Ref, path: &str) -> Result<FileInfo> {
        Err(Error::not_found(path.to_owned()))
    }

    async fn warn(&self, _: &Digest, warning: Warning) -> Result<()> {
        self.warnings.lock().expect("no panic").push(warning.short);
        Ok(())
    }

    async fn new_container(&self, _: ContainerRequest) -> Result<std::sync::Arc<dyn Container>> {
        Err(Error::unimplemented("nothing runs here"))
    }
}
