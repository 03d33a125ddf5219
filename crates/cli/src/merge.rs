//! Makes one image of what several engines have built, each for its own platforms.

mod tarball;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use errdefs::{Error, Result, ResultExt as _};
use oci::manifest::Annotations;
use oci::{Descriptor, Index, Platform, Reference, media};
use progress::{Sink, Step};
use registry::Registry;
use tempfile::TempDir;

use crate::artifact::Artifact;
use crate::environment::Environment;
use crate::flags::{AnnotationKind, parse_bool};
use crate::outputs::{self, Layout, REFERRERS, referrers_of};
use crate::settings::{Destination, OutputSetting, no_list};
use tarball::Tarball;

/// Fields of an exporter's answer.
const DESCRIPTOR: &str = "containerimage.descriptor";
const DIGEST: &str = "containerimage.digest";
const NAME: &str = "image.name";

type Answer = BTreeMap<String, String>;

/// What each engine is to write, and what is left to do then.
pub(crate) struct Merge {
    outputs: Vec<OutputSetting>,
    target: Target,
    annotations: Extra,
    tarballs: Vec<Tarball>,
}

/// Annotations for the index of all, and for what names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Extra {
    index: Annotations,
    descriptor: Annotations,
}

impl Extra {
    /// Those that the attributes of an output ask for. The engines have no index of all.
    fn of(output: &OutputSetting) -> Self {
        let of_kind = |kind: AnnotationKind| {
            let prefix = format!("annotation-{}.", kind.name());
            let named = output
                .attrs
                .iter()
                .filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value.clone())));
            named.collect()
        };
        Extra { index: of_kind(AnnotationKind::Index), descriptor: of_kind(AnnotationKind::IndexDescriptor) }
    }
}

/// Where the image of all goes.
enum Target {
    /// Each engine keeps its own, or writes into a folder of its platform.
    Nowhere,
    /// Into a registry, where the engines have pushed theirs without names.
    Registry { names: Vec<Reference>, insecure: bool },
    /// A folder that takes the blobs of all.
    Layout,
    /// The same, of which an archive is made.
    Archive { _folder: TempDir, dest: Destination },
}

impl Merge {
    /// # Errors
    /// A kind of output cannot be put together.
    pub(crate) fn plan(outputs: &[OutputSetting], env: &Environment) -> Result<Self> {
        let mut merge = Merge {
            outputs: Vec::new(),
            target: Target::Nowhere,
            annotations: Extra::default(),
            tarballs: Vec::new(),
        };
        for output in outputs {
            let mut output = output.clone();
            let target = match output.kind.as_str() {
                "image" => pushed(&mut output)?,
                "oci" if matches!(output.dest, Destination::Containerd(_)) => {
                    return Err(unsupported("type=containerd").hint("push the image, and pull it from there"));
                }
                "oci" => Some(archived(&mut output, env)?),
                "docker" => return Err(no_list(&output.dest)),
                "tar" => {
                    merge.tarballs.push(Tarball::plan(merge.outputs.len(), &output.dest, env)?);
                    None
                }
                "local" if matches!(output.dest, Destination::Dir { mirror: true, .. }) => {
                    return Err(unsupported("mode=delete"));
                }
                _ => None,
            };
            let annotations = Extra::of(&output);
            merge.outputs.push(output);
            let Some(target) = target else { continue };
            if !matches!(merge.target, Target::Nowhere) {
                return Err(unsupported("more than one image that is pushed or archived"));
            }
            (merge.target, merge.annotations) = (target, annotations);
        }
        Ok(merge)
    }

    /// What the engine of a node is to write, and where.
    pub(crate) fn outputs_of(&self, node: usize) -> Vec<OutputSetting> {
        let mut outputs = self.outputs.clone();
        for tarball in &self.tarballs {
            outputs[tarball.output].dest = Destination::File(tarball.part(node));
        }
        outputs
    }

    /// Puts together what the engines have answered, each for some platforms, and gives the answer for all. `registry` is
    /// for those of the image, whichever it is.
    pub(crate) async fn finish(
        self,
        answers: &[(Vec<Platform>, Answer)],
        layout: Option<&Layout>,
        registry: &Registry,
        env: &Environment,
        sink: Arc<dyn Sink>,
    ) -> Result<Answer> {
        let step = |what: String| Step::start(sink.clone(), &format!("merge {}", client::new_id()), what);
        for tarball in self.tarballs {
            step("merging tarballs".into()).finish(tarball.join(answers.len(), env))?;
        }
        match self.target {
            Target::Nowhere => Ok(answers.first().map(|(_, answer)| answer.clone()).unwrap_or_default()),
            Target::Registry { names, insecure } => {
                let told: Vec<_> = names.iter().map(Reference::to_string).collect();
                let step = step(format!("merging manifest list {}", told.join(",")));
                let registry = if insecure { registry.insecure() } else { registry.clone() };
                step.finish(push(&registry, &names, answers, &self.annotations).await)
            }
            Target::Layout => step("merging images".into())
                .finish(layout.map_or_else(no_layout, |to| put(to, answers, &self.annotations))),
            Target::Archive { dest, .. } => {
                let work = layout.map_or_else(no_layout, |to| {
                    let answer = put(to, answers, &self.annotations)?;
                    archive(to, &dest, env).context("failed to write the archive")?;
                    Ok(answer)
                });
                step("merging images".into()).finish(work)
            }
        }
    }
}

fn unsupported(what: &str) -> Error {
    Error::user(format!("{what} for multi-node builds currently not supported"))
}

fn no_layout() -> Result<Answer> {
    Err(Error::internal("there is no folder for the images"))
}

/// Lets each engine push without a name.
fn pushed(output: &mut OutputSetting) -> Result<Option<Target>> {
    let is = |key: &str| output.attrs.get(key).and_then(|value| parse_bool(value)) == Some(true);
    if !is("push") {
        return Ok(None);
    }
    let insecure = is("registry.insecure");
    let names = output.attrs.get("name").map_or("", String::as_str);
    let name = |text: &str| -> Result<Reference> {
        let parsed = text.parse::<Reference>();
        Ok(parsed.map_err(|e| Error::user(format!("invalid tag {text:?}: {e}")))?.with_default_tag())
    };
    let names: Vec<_> = names.split(',').filter(|n| !n.is_empty()).map(name).collect::<Result<_>>()?;
    let mut repositories: Vec<_> = names.iter().map(Reference::repository).collect();
    repositories.sort();
    repositories.dedup();
    output.attrs.insert("name".into(), repositories.join(","));
    output.attrs.insert("push-by-digest".into(), "true".into());
    Ok(Some(Target::Registry { names, insecure }))
}

/// Lets each engine put its blobs into one folder.
fn archived(output: &mut OutputSetting, env: &Environment) -> Result<Target> {
    if matches!(output.dest, Destination::Layout(_)) {
        return Ok(Target::Layout);
    }
    let folder = folder_for(&output.dest, env)?;
    output.attrs.insert("tar".into(), "false".into());
    let dest = std::mem::replace(&mut output.dest, Destination::Layout(folder.path().to_owned()));
    Ok(Target::Archive { _folder: folder, dest })
}

/// A folder for the parts of what goes to `dest`: next to it, where there is room for it.
///
/// # Errors
/// It cannot be written.
fn folder_for(dest: &Destination, env: &Environment) -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let folder = match dest {
        Destination::File(path) => {
            let path = outputs::file(env.cwd.join(path), path)?;
            match path.exists() && !path.is_file() {
                // There are better places than where devices are.
                true => builder.prefix("kiln-").tempdir(),
                false => builder.prefix(".kiln-").tempdir_in(path.parent().unwrap_or(&env.cwd)),
            }
        }
        _ => builder.prefix("kiln-").tempdir(),
    };
    folder.context("failed to make a temporary folder")
}

/// What is written as one file or to stdout.
fn artifact(dest: &Destination, env: &Environment) -> Result<Artifact> {
    match dest {
        Destination::File(path) => Artifact::file(&env.cwd.join(path)),
        _ => Ok(Artifact::Stdout),
    }
}

/// What an engine says of its image.
fn descriptor(answer: &Answer) -> Result<Descriptor> {
    let none = || Error::environment("an engine tells of no image");
    let text = answer.get(DESCRIPTOR).ok_or_else(none)?;
    let json = STANDARD.decode(text).map_err(|_| none())?;
    serde_json::from_slice(&json).map_err(|_| none())
}

async fn push(
    registry: &Registry,
    names: &[Reference],
    answers: &[(Vec<Platform>, Answer)],
    annotations: &Extra,
) -> Result<Answer> {
    let first = names.first().ok_or_else(|| Error::user("tag is needed when pushing to registry"))?;
    let mut parts = Vec::new();
    for (platforms, answer) in answers {
        let descriptor = descriptor(answer)?;
        let bytes = registry.manifest(&first.clone().without_digest(), &descriptor).await?;
        parts.push(Part { platforms, descriptor, bytes: bytes.to_vec() });
    }
    let (descriptor, bytes) = combine(parts, annotations)?;
    for name in names {
        registry.push_manifest(name, &descriptor.media_type, Bytes::from(bytes.clone())).await?;
    }
    let names: Vec<_> = names.iter().map(Reference::to_string).collect();
    Ok(answer(&descriptor, names.join(",")))
}

/// Puts the index of all into the folder that has their blobs, and names it.
fn put(layout: &Layout, answers: &[(Vec<Platform>, Answer)], annotations: &Extra) -> Result<Answer> {
    let folder = layout.folder();
    let mut parts = Vec::new();
    for (platforms, answer) in answers {
        let descriptor = descriptor(answer)?;
        let bytes = folder.manifest(&descriptor);
        let bytes = bytes.with_context(|| format!("failed to read manifest {}", descriptor.digest))?;
        parts.push(Part { platforms, descriptor, bytes });
    }
    let (descriptor, bytes) = combine(parts, annotations)?;
    folder.add(&bytes).context("failed to write the index")?;
    let names = answers.first().and_then(|(_, answer)| answer.get(NAME)).cloned();
    let mut answer = answer(&descriptor, names.unwrap_or_default());
    let mut referrers = Vec::new();
    for (_, part) in answers {
        referrers.extend(referrers_of(part)?);
    }
    if !referrers.is_empty() {
        answer.insert(REFERRERS.into(), STANDARD.encode(oci::json::to_vec(&referrers)));
    }
    layout.finish(&answer)?;
    Ok(answer)
}

fn archive(layout: &Layout, dest: &Destination, env: &Environment) -> Result<()> {
    let mut artifact = artifact(dest, env)?;
    layout.folder().archive(artifact.writer())?;
    artifact.finish()
}

fn answer(descriptor: &Descriptor, names: String) -> Answer {
    let mut answer = Answer::from([
        (DIGEST.to_owned(), descriptor.digest.to_string()),
        (DESCRIPTOR.to_owned(), STANDARD.encode(oci::json::to_vec(descriptor))),
    ]);
    if !names.is_empty() {
        answer.insert(NAME.to_owned(), names);
    }
    answer
}

/// What one engine has built.
struct Part<'a> {
    platforms: &'a [Platform],
    descriptor: Descriptor,
    bytes: Vec<u8>,
}

/// One index of all that is in the indexes of the parts, in their order, each manifest once. It has the media type of
/// Docker where all manifests have.
fn combine(parts: Vec<Part<'_>>, extra: &Extra) -> Result<(Descriptor, Vec<u8>)> {
    let mut all: Vec<Descriptor> = Vec::new();
    let mut annotations = Annotations::new();
    for Part { platforms, mut descriptor, bytes } in parts {
        let manifests = if media::is_index(&descriptor.media_type) {
            let index: Index = serde_json::from_slice(&bytes).map_err(|e| {
                Error::environment(format!("failed to read index {}: {e}", descriptor.digest))
            })?;
            annotations.extend(index.annotations);
            index.manifests
        } else {
            // An engine that built one platform may say so with a plain image.
            descriptor.platform = descriptor.platform.or_else(|| platforms.first().cloned());
            descriptor.annotations.clear();
            vec![descriptor]
        };
        for manifest in manifests {
            match all.iter_mut().find(|known| known.digest == manifest.digest) {
                Some(known) => known.annotations.extend(manifest.annotations),
                None => all.push(manifest),
            }
        }
    }
    let is_docker = all.iter().all(|manifest| media::is_docker(&manifest.media_type));
    let media_type = if is_docker { media::DOCKER_LIST } else { media::OCI_INDEX };
    let mut index = Index::new(media_type, all);
    // Docker's list has none.
    if !is_docker {
        index.annotations = annotations;
        index.annotations.extend(extra.index.clone());
    }
    let bytes = oci::json::to_vec_indent(&index);
    let mut descriptor = Descriptor::of(media_type, &bytes);
    descriptor.annotations.clone_from(&extra.descriptor);
    Ok((descriptor, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(kind: &str, attrs: &[(&str, &str)], dest: Destination) -> OutputSetting {
        let attrs = attrs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        OutputSetting { kind: kind.into(), attrs, dest }
    }

    fn env() -> Environment {
        Environment::of(&[])
    }

    #[test]
    fn engines_push_without_names() {
        let names = "reg.io/a:1,reg.io/a:2,reg.io/b";
        let merge = Merge::plan(
            &[output("image", &[("push", "true"), ("name", names)], Destination::Engine)],
            &env(),
        )
        .expect("planned");
        let attrs = &merge.outputs[0].attrs;
        assert_eq!((attrs["name"].as_str(), attrs["push-by-digest"].as_str()), ("reg.io/a,reg.io/b", "true"));
        let Target::Registry { names, insecure: false } = merge.target else { panic!("no push") };
        let names: Vec<_> = names.iter().map(Reference::to_string).collect();
        assert_eq!(names, ["reg.io/a:1", "reg.io/a:2", "reg.io/b:latest"]);
    }

    #[test]
    fn archives_are_made_of_a_folder() {
        let merge = Merge::plan(&[output("oci", &[], Destination::Stdout)], &env()).expect("planned");
        assert!(matches!(&merge.outputs[0].dest, Destination::Layout(path) if path.is_dir()));
        assert_eq!(merge.outputs[0].attrs["tar"], "false");
        assert!(matches!(merge.target, Target::Archive { dest: Destination::Stdout, .. }));
        // What each engine can do alone stays as it is.
        let alone = [
            output("image", &[], Destination::Engine),
            output("local", &[], Destination::Dir { path: "out".into(), mirror: false }),
        ];
        let merge = Merge::plan(&alone, &env()).expect("planned");
        assert!(merge.outputs == alone && matches!(merge.target, Target::Nowhere));
    }

    #[test]
    fn what_cannot_be_put_together_is_told() {
        let check = |outputs: &[OutputSetting], expect: &str| {
            let told = Merge::plan(outputs, &env()).map(|_| ()).expect_err(expect).to_string();
            assert_eq!(told, expect);
        };
        let file = |kind: &str| output(kind, &[], Destination::File("x.tar".into()));
        check(
            &[file("docker")],
            "docker exporter does not support exporting manifest lists, use the oci exporter instead",
        );
        check(
            &[output("docker", &[], Destination::Docker { context: None })],
            "docker exporter does not currently support exporting manifest lists",
        );
        check(
            &[output("local", &[], Destination::Dir { path: "out".into(), mirror: true })],
            "mode=delete for multi-node builds currently not supported",
        );
        check(
            &[file("oci"), file("oci")],
            "more than one image that is pushed or archived for multi-node builds currently not supported",
        );
    }

    #[test]
    fn each_engine_writes_a_tarball_of_its_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let dest = Destination::File(dir.path().join("x.tar"));
        let merge = Merge::plan(&[output("oci", &[], Destination::Stdout), output("tar", &[], dest)], &env());
        let merge = merge.expect("planned");
        let [first, second] = [0, 1].map(|node| match &merge.outputs_of(node)[1].dest {
            Destination::File(path) => path.clone(),
            other => panic!("{other:?}"),
        });
        assert_ne!(first, second);
        // They are on the disk that the tarball will be on, and gone with the build.
        assert!(first.starts_with(dir.path()) && first.parent() == second.parent());
        drop(merge);
        assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 0);
    }

    fn manifest(media_type: &str, platform: &str) -> Descriptor {
        let mut d = Descriptor::of(media_type, platform.as_bytes());
        d.platform = Some(platform.parse().expect("valid"));
        d
    }

    fn part(media_type: &str, manifests: Vec<Descriptor>) -> Part<'static> {
        let bytes = oci::json::to_vec(&Index::new(media_type, manifests));
        Part { platforms: &[], descriptor: Descriptor::of(media_type, &bytes), bytes }
    }

    #[test]
    fn one_index_of_all() {
        let platforms = ["linux/arm64".parse::<Platform>().expect("valid")];
        let amd = manifest(media::OCI_MANIFEST, "linux/amd64");
        let twice = || part(media::OCI_INDEX, vec![amd.clone()]);
        let plain = Part {
            platforms: &platforms,
            descriptor: Descriptor::of(media::OCI_MANIFEST, b"plain"),
            bytes: b"plain".to_vec(),
        };
        let (descriptor, bytes) =
            combine(vec![twice(), plain, twice()], &Extra::default()).expect("combined");
        let index: Index = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(descriptor, Descriptor::of(media::OCI_INDEX, &bytes));
        let told: Vec<_> =
            index.manifests.iter().map(|m| m.platform.as_ref().map(Platform::to_string)).collect();
        assert_eq!(told, [Some("linux/amd64".into()), Some("linux/arm64".into())]);
    }

    #[test]
    fn a_list_of_docker_manifests_is_dockers() {
        let docker = |platform| manifest(media::DOCKER_MANIFEST, platform);
        let list = |platform| part(media::DOCKER_LIST, vec![docker(platform)]);
        let attrs =
            [("annotation-index.a", "1"), ("annotation-index-descriptor.b", "2"), ("annotation.c", "3")];
        let extra = Extra::of(&output("oci", &attrs, Destination::Stdout));
        let (descriptor, bytes) =
            combine(vec![list("linux/amd64"), list("linux/arm64")], &extra).expect("combined");
        assert_eq!(descriptor.media_type, media::DOCKER_LIST);
        // It has no place for annotations; what names it has.
        let index: Index = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!((index.annotations.len(), descriptor.annotations["b"].as_str()), (0, "2"));
        let mixed = part(media::OCI_INDEX, vec![manifest(media::OCI_MANIFEST, "linux/arm64")]);
        let (descriptor, bytes) = combine(vec![list("linux/amd64"), mixed], &extra).expect("combined");
        assert_eq!(descriptor.media_type, media::OCI_INDEX);
        let index: Index = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(index.annotations, Annotations::from([("a".to_owned(), "1".to_owned())]));
    }
}
