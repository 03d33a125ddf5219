//! What a build writes: exporters of the request, and the client's end of each.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::Exporter;
use errdefs::{Error, Result, ResultExt as _};
use oci::Descriptor;
use progress::{Sink, Step};
use session::{Attachables, DirMode, Output};

use crate::containerd::ContainerdLoad;
use crate::docker::{self, Docker};
use crate::environment::Environment;
use crate::layout::{Folder, Name};
use crate::settings::{Destination, OutputSetting};

/// Exporters, with what has to be waited for and told once the build is over.
#[derive(Default)]
pub(crate) struct Outputs {
    pub exporters: Vec<Exporter>,
    pub loads: Vec<Load>,
    pub notes: Vec<String>,
    pub layout: Option<Layout>,
}

/// The folder that takes an image.
pub(crate) struct Layout(Folder);

impl Layout {
    /// What BuildKit calls it, which has one of them.
    const STORE: &str = "export";

    fn open(path: &Path, env: &Environment) -> Result<Self> {
        if env.cwd.join(path).is_file() {
            return Err(Error::user(format!("destination directory {} is a file", path.display())));
        }
        let folder = Folder::new(env.cwd.join(path));
        folder.make().with_context(|| format!("failed to make the folder {}", path.display()))?;
        Ok(Layout(folder))
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.0
    }

    /// Names the image in the index of the folder, and lists what hangs on it.
    pub(crate) fn finish(&self, response: &BTreeMap<String, String>) -> Result<()> {
        let (descriptor, names) = image_of(response)?;
        let names: Vec<_> = names.iter().map(|name| Name::Image(name)).collect();
        let names = if names.is_empty() { vec![Name::Tag("latest")] } else { names };
        let put = names.iter().try_for_each(|name| self.0.put(&descriptor, name)).and_then(|()| {
            referrers_of(response)?.iter().try_for_each(|referrer| self.0.tag(referrer, None))
        });
        put.with_context(|| format!("failed to write the index of {}", self.0.shown()))
    }
}

/// The image that the engine has made, and its names.
fn image_of(response: &BTreeMap<String, String>) -> Result<(Descriptor, Vec<String>)> {
    let none = || Error::environment("the engine tells of no image");
    let descriptor = response.get("containerimage.descriptor").ok_or_else(none)?;
    let json = STANDARD.decode(descriptor).map_err(|_| none())?;
    let descriptor: Descriptor = serde_json::from_slice(&json).map_err(|_| none())?;
    let names = response.get("image.name").map_or("", String::as_str);
    Ok((descriptor, names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()))
}

/// Field of the answer with what hangs on the image.
pub(crate) const REFERRERS: &str = "containerimage.referrers";

/// What hangs on the image that the engine has made, as the index of a layout lists it.
pub(crate) fn referrers_of(response: &BTreeMap<String, String>) -> Result<Vec<Descriptor>> {
    let Some(text) = response.get(REFERRERS) else { return Ok(Vec::new()) };
    let listed = STANDARD.decode(text).ok().and_then(|json| serde_json::from_slice(&json).ok());
    listed.ok_or_else(|| Error::environment(format!("the engine's `{REFERRERS}` is no list")))
}

/// An image on its way into another program's store.
pub(crate) enum Load {
    Docker(docker::Load),
    Containerd(ContainerdLoad, Arc<dyn Sink>),
}

impl Load {
    /// Waits until the image is there, by all of its names.
    pub(crate) async fn finish(self, response: &BTreeMap<String, String>) -> Result<()> {
        match self {
            Load::Docker(load) => load.finish().await,
            Load::Containerd(load, sink) => {
                let (image, names) = image_of(response)?;
                let step = Step::start(sink, "containerd", "importing to containerd");
                step.finish(load.finish(&image, &names).await)
            }
        }
    }
}

impl Outputs {
    /// Checks the destinations and offers them to the engine.
    pub(crate) async fn open(
        settings: &[OutputSetting],
        may_delete: bool,
        env: &Environment,
        sink: &Arc<dyn Sink>,
        mut attachables: Attachables,
    ) -> Result<(Self, Attachables)> {
        let mut outputs = Outputs::default();
        let takes_blobs =
            |s: &&OutputSetting| matches!(s.dest, Destination::Layout(_) | Destination::Containerd(_));
        if settings.iter().filter(takes_blobs).count() > 1 {
            return Err(Error::user("only one output can take blobs: a folder (tar=false) or containerd"));
        }
        for setting in settings {
            let target = match &setting.dest {
                Destination::Engine => None,
                Destination::Stdout => Some(Output::Stream(Box::new(tokio::io::stdout()))),
                Destination::File(path) => Some(Output::File(file(env.cwd.join(path), path)?)),
                Destination::Dir { path, mirror } => {
                    Some(dir(env.cwd.join(path), path, *mirror, may_delete, env)?)
                }
                Destination::Layout(path) => {
                    let layout = Layout::open(path, env)?;
                    attachables = attachables.cache_dir(Layout::STORE, layout.0.path());
                    outputs.layout = Some(layout);
                    None
                }
                Destination::Containerd(setting) => {
                    let load = setting.open(env).await?;
                    attachables = attachables.store_elsewhere(Layout::STORE, load.containerd.store());
                    outputs.loads.push(Load::Containerd(load, Arc::clone(sink)));
                    None
                }
                Destination::Docker { context } => match outputs.docker(context.as_deref(), env, sink).await?
                {
                    Some(target) => Some(target),
                    None => continue,
                },
            };
            if let Some(target) = target {
                let id = u32::try_from(outputs.exporters.len()).expect("a handful of outputs");
                attachables = attachables.output(id, target);
            }
            let mut attrs = setting.attrs.clone();
            // An engine that does not know these does not mind.
            if let Destination::Docker { .. } = setting.dest {
                attrs.insert("skip-known-layers".into(), "true".into());
            }
            if matches!(setting.dest, Destination::Layout(_)) && attrs.contains_key("attestation-storage") {
                attrs.insert("lists-referrers".into(), "true".into());
            }
            outputs.exporters.push(Exporter { kind: setting.kind.clone(), attrs });
        }
        Ok((outputs, attachables))
    }

    /// Docker's end of a load. Where Docker does not answer, the image stays in Kiln's store only.
    async fn docker(
        &mut self,
        context: Option<&str>,
        env: &Environment,
        sink: &Arc<dyn Sink>,
    ) -> Result<Option<Output>> {
        let docker = Docker::find(context, env)?;
        if let Err(e) = docker.ping().await {
            tracing::debug!(error = %e, "no Docker");
            self.notes
                .push(format!("Docker does not answer at {docker}; the image is in Kiln's own store only"));
            return Ok(None);
        }
        let (load, place) = docker.load(Arc::clone(sink));
        self.loads.push(Load::Docker(load));
        Ok(Some(Output::Place(Arc::new(place))))
    }
}

/// A file that can be written once the build is over: what cannot is told before it.
pub(crate) fn file(path: PathBuf, as_given: &Path) -> Result<PathBuf> {
    if path.is_dir() {
        return Err(Error::user(format!("destination file {} is a directory", as_given.display())));
    }
    if let Some(folder) = path.parent()
        && !folder.is_dir()
    {
        return Err(Error::not_found(format!(
            "there is no folder for the destination {}",
            as_given.display()
        ))
        .hint(format!("make `{}` first", folder.display())));
    }
    Ok(path)
}

fn dir(path: PathBuf, as_given: &Path, mirror: bool, may_delete: bool, env: &Environment) -> Result<Output> {
    if path.exists() && !path.is_dir() {
        return Err(Error::user(format!("destination directory {} is a file", as_given.display())));
    }
    if mirror && !may_delete && !is_below(&path, &env.cwd)? {
        return Err(Error::user(format!(
            "local output mode=delete for destination {:?} requires --allow=buildx.local.delete",
            as_given.display().to_string()
        )));
    }
    Ok(Output::Dir { path, mode: if mirror { DirMode::Mirror } else { DirMode::Merge } })
}

/// Whether `path`, all links followed, lies inside of `base` and is not `base` itself.
fn is_below(path: &Path, base: &Path) -> Result<bool> {
    let base = base.canonicalize().context("failed to look at the working directory")?;
    let path = resolve(path)?;
    Ok(path != base && path.starts_with(&base))
}

/// Follows links in the part of a path that exists.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf> {
    let mut rest = Vec::new();
    let mut there = path;
    loop {
        match there.canonicalize() {
            Ok(mut resolved) => {
                for part in rest.iter().rev() {
                    match part {
                        Component::ParentDir => {
                            resolved.pop();
                        }
                        part => resolved.push(part),
                    }
                }
                return Ok(resolved);
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let last = there.components().next_back();
                rest.extend(last);
                there = there.parent().ok_or_else(|| Error::not_found(format!("`{}`", path.display())))?;
            }
            Err(e) => return Err(Error::from(e).context(format!("failed to look at `{}`", path.display()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("file"), "").expect("written");
        let check = |path: &str, expect: Option<&str>| {
            let told = file(dir.path().join(path), Path::new(path)).err().map(|e| e.to_string());
            assert_eq!(told.as_deref(), expect, "{path}");
        };
        check("new", None);
        check("file", None);
        check("", Some("destination file  is a directory"));
        check("missing/new", Some("there is no folder for the destination missing/new"));
        check("file/new", Some("there is no folder for the destination file/new"));
    }

    #[test]
    fn only_below_may_be_mirrored() {
        let dir = tempfile::tempdir().expect("a folder");
        let base = dir.path().join("work");
        std::fs::create_dir_all(base.join("out")).expect("made");
        std::fs::create_dir_all(dir.path().join("other")).expect("made");
        std::os::unix::fs::symlink(dir.path().join("other"), base.join("link")).expect("linked");
        let check = |path: &str, expect: bool| {
            assert_eq!(is_below(&base.join(path), &base).expect(path), expect, "{path}");
        };
        check("out", true);
        check("out/new/deep", true);
        check("new", true);
        check(".", false);
        check("..", false);
        check("../other", false);
        check("link", false);
        check("link/new", false);
        check("out/../../other", false);
        check("new/../../other", false);
    }
}
