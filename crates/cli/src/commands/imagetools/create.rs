//! A new image of others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use errdefs::{Error, Result, ResultExt as _};
use futures_util::future::{BoxFuture, try_join_all};
use oci::{Descriptor, Digest, Platform};
use progress::{Sink, Step};
use serde::Serialize;

use super::combine::{Combined, Source, Wishes, combine};
use super::copy::Copying;
use super::location::Location;
use super::tools::Tools;
use crate::args::ImagetoolsCreateArgs;
use crate::console;
use crate::display::{Display, LocalSink, Target};
use crate::environment::Environment;
use crate::flags::Annotation;
use crate::result_files::write_atomic;
use crate::settings::ProgressMode;

/// A source as it was given.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    At(Location),
    Digest(Digest),
    /// What it says counts for more than what a registry says.
    Descriptor(Described),
}

/// A descriptor of which only the digest must be there.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    platform: Option<Platform>,
}

pub(super) async fn create(args: &ImagetoolsCreateArgs, tools: Tools, env: &Environment) -> Result<()> {
    if args.sources.is_empty() && args.files.is_empty() {
        return Err(Error::user("no sources specified"));
    }
    if !args.dry_run && args.tags.is_empty() {
        return Err(Error::user("can't push with no tags specified, please set --tag or --dry-run"));
    }
    let tags: Vec<Location> = args.tags.iter().map(|tag| Location::parse(tag)).collect::<Result<_>>()?;
    let given = given(args, env)?;
    let platforms = platforms(&args.platforms)?;
    let annotations =
        args.annotations.iter().filter(|text| !text.is_empty()).map(|text| Annotation::parse(text));
    let annotations: Vec<_> =
        annotations.collect::<Result<Vec<_>>>().context("failed to parse annotations")?.concat();
    let mode = ProgressMode::choose(&args.progress, false, env)?;
    let sources = sources(&tools, given, &tags).await?;
    let wishes = Wishes { annotations: &annotations, prefer_index: args.prefer_index, platforms: &platforms };
    let made = combine(&tools, sources, &wishes).await?;
    if args.dry_run {
        return console::out([&made.bytes[..], b"\n"].concat());
    }
    let repositories = by_repository(&tags);
    let (display, sender) = Display::plainly(mode, env, Target::Stderr)?;
    let drawing = display.start();
    let sink: Arc<dyn Sink> = Arc::new(LocalSink(sender));
    let tools = Arc::new(tools);
    let pushes = repositories.iter().map(|(name, tags)| {
        let step = Step::start(Arc::clone(&sink), name, format!("[internal] pushing {name}"));
        let (tools, made) = (&tools, &made);
        async move { step.clone().finish(push(tools, made, name, tags, &step).await) }
    });
    let pushed = try_join_all(pushes).await;
    drop(sink);
    drawing.finish().await?;
    pushed?;
    match &args.metadata_file {
        Some(path) => {
            let names = Vec::from_iter(repositories.into_keys()).join(",");
            let metadata = oci::json::to_vec_indent(&Metadata { descriptor: &made.descriptor, names });
            write_atomic(&env.cwd.join(path), &String::from_utf8_lossy(&metadata))
        }
        None => Ok(()),
    }
}

/// What `--metadata-file` is told.
#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(rename = "containerimage.descriptor")]
    descriptor: &'a Descriptor,
    #[serde(rename = "image.name")]
    names: String,
}

fn by_repository(tags: &[Location]) -> BTreeMap<String, Vec<&Location>> {
    let mut repositories: BTreeMap<String, Vec<&Location>> = BTreeMap::new();
    tags.iter().for_each(|tag| repositories.entry(tag.name()).or_default().push(tag));
    repositories
}

/// The sources as they were given: those of files, then the others; what there is of the first tag before all.
fn given(args: &ImagetoolsCreateArgs, env: &Environment) -> Result<Vec<Given>> {
    let mut texts = Vec::new();
    if args.append {
        texts.extend(args.tags.first().cloned());
    }
    for path in &args.files {
        let text = std::fs::read_to_string(env.cwd.join(path));
        texts.push(text.with_context(|| format!("failed to read {}", path.display()))?);
    }
    texts.extend(args.sources.iter().cloned());
    let parse = |text: &String| {
        Given::parse(text).with_context(|| {
            format!("failed to parse source {text:?}, valid sources are digests, references and descriptors")
        })
    };
    texts.iter().map(parse).collect()
}

impl Given {
    fn parse(text: &str) -> Result<Self> {
        if let Ok(digest) = text.parse::<Digest>() {
            return Ok(Given::Digest(digest));
        }
        if text.starts_with("sha256") {
            return Err(Error::user("invalid checksum digest format"));
        }
        match Location::parse(text) {
            Ok(at) => return Ok(Given::At(at)),
            Err(e) if !text.starts_with('{') => return Err(e),
            Err(_) => {}
        }
        let told: Described = serde_json::from_str(text).map_err(|e| Error::user(e.to_string()))?;
        if told.schema_version != 0 {
            return Err(Error::user(format!(
                "expected an OCI content descriptor, got a manifest or index (schemaVersion {})",
                told.schema_version
            )));
        }
        if told.digest.is_empty() {
            return Err(Error::user("invalid descriptor: digest is required"));
        }
        told.digest.parse::<Digest>().map_err(|e| Error::user(format!("invalid descriptor digest: {e}")))?;
        Ok(Given::Descriptor(told))
    }

    fn location(&self) -> Option<&Location> {
        match self {
            Given::At(at) => Some(at),
            Given::Digest(_) | Given::Descriptor(_) => None,
        }
    }
}

/// Platforms, some of which may stand in one word.
fn platforms(words: &[String]) -> Result<Vec<Platform>> {
    let texts = words.iter().flat_map(|word| word.split(','));
    let parse = |text: &str| text.parse().map_err(|e| Error::user(format!("invalid platform {text:?}: {e}")));
    texts.map(parse).collect()
}

/// Where the sources are, and what they are now. What has no place of its own is in the only repository that is named.
async fn sources(tools: &Tools, given: Vec<Given>, tags: &[Location]) -> Result<Vec<Source>> {
    let named = || given.iter().filter_map(Given::location);
    let repositories: BTreeSet<String> = named().chain(tags).map(Location::name).collect();
    if repositories.is_empty() {
        return Err(Error::user("no repositories specified, please set a reference in tag or source"));
    }
    let only = (repositories.len() == 1).then(|| named().next().or(tags.first()).cloned()).flatten();
    let asked = given.iter().map(|given| -> BoxFuture<'_, Result<Source>> {
        let only = only.clone();
        Box::pin(async move {
            let place = || {
                only.ok_or_else(|| {
                    let told = match given {
                        Given::Digest(digest) => digest.to_string(),
                        Given::Descriptor(told) => told.digest.clone(),
                        Given::At(at) => at.to_string(),
                    };
                    Error::user(format!(
                        "multiple repositories specified, cannot infer repository for {told:?}"
                    ))
                })
            };
            let (at, told) = match given {
                Given::At(at) => (at.clone(), None),
                Given::Digest(digest) => (place()?.with_digest(digest), None),
                Given::Descriptor(told) => {
                    let digest = told.digest.parse().map_err(|_| Error::user("invalid descriptor digest"))?;
                    (place()?.with_digest(&digest), Some(told))
                }
            };
            let mut descriptor = tools.resolve(&at).await?;
            if let Some(told) = told {
                told.refine(&mut descriptor)?;
            }
            Ok(Source { at, descriptor })
        })
    });
    try_join_all(asked).await
}

impl Described {
    /// Puts what it says in the place of what a registry says.
    fn refine(&self, found: &mut Descriptor) -> Result<()> {
        if self.size != 0 && self.size != found.size {
            let message =
                format!("invalid size mismatch for {}, {} != {}", found.digest, self.size, found.size);
            return Err(Error::user(message));
        }
        if !self.media_type.is_empty() {
            found.media_type.clone_from(&self.media_type);
        }
        if !self.annotations.is_empty() {
            found.annotations.clone_from(&self.annotations);
        }
        found.platform = self.platform.clone().or(found.platform.take());
        Ok(())
    }
}

/// Copies what the image needs into a repository, and gives the image its names there.
async fn push(
    tools: &Arc<Tools>,
    made: &Combined,
    name: &str,
    tags: &[&Location],
    step: &Step,
) -> Result<()> {
    let Some(to) = tags.first() else { return Ok(()) };
    let named = made.manifests.iter().map(|source| source.descriptor.digest.clone()).collect();
    let named = Mutex::new(named);
    let copying = Copying { tools, to, done: Mutex::default(), named, hanging: Mutex::default() };
    for Source { at, descriptor } in &made.manifests {
        let digest = &descriptor.digest;
        step.log(1, format!("copying {digest} from {at} to {name}\n").into());
        let copied = copying.copy(at, descriptor).await;
        copied.with_context(|| format!("copy {digest} from {at} to {to}"))?;
    }
    copying.hang().await.context("failed to list what hangs on the image")?;
    for tag in tags {
        let digest = &made.descriptor.digest;
        step.log(1, format!("pushing {digest} to {tag}\n").into());
        let put = copying.put(Some(tag), &made.descriptor, made.bytes.clone()).await;
        put.with_context(|| format!("publish {digest} to {tag}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read() {
        let digest = Digest::of("x");
        assert_eq!(Given::parse(digest.as_str()).expect("a digest"), Given::Digest(digest.clone()));
        assert!(matches!(Given::parse("app").expect("a name"), Given::At(Location::Registry(_))));
        let json = format!(r#"{{"digest":"{digest}","platform":{{"os":"linux","architecture":"arm64"}}}}"#);
        let Given::Descriptor(told) = Given::parse(&json).expect("a descriptor") else { panic!("{json}") };
        let mut found = Descriptor::new("t", digest.clone(), 3);
        told.refine(&mut found).expect("it suits");
        assert_eq!(found.platform.map(|p| p.to_string()).as_deref(), Some("linux/arm64"));
        for (text, error) in [
            ("sha256:x", "invalid checksum digest format"),
            ("A", "invalid reference format: repository name (library/A) must be lowercase"),
            (
                r#"{"schemaVersion":2}"#,
                "expected an OCI content descriptor, got a manifest or index (schemaVersion 2)",
            ),
            (r#"{"size":2}"#, "invalid descriptor: digest is required"),
            (r#"{"digest":"x"}"#, "invalid descriptor digest"),
        ] {
            let told = Given::parse(text).expect_err(text).to_string();
            assert!(told.starts_with(error), "{told}");
        }
    }
}
