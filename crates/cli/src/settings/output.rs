//! Where the result goes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use errdefs::{Error, Result};

use crate::args::BuildArgs;
use crate::containerd::ContainerdSetting;
use crate::environment::Environment;
use crate::flags::{Annotation, OutputFlag, parse_bool};
use crate::names::check_tag;
use crate::settings::ProgressMode;
use crate::settings::attestations::wants_no_artifact;

/// One exporter of the request, and what the client does with what it sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputSetting {
    pub kind: String,
    pub attrs: BTreeMap<String, String>,
    pub dest: Destination,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The engine keeps or pushes it.
    Engine,
    Stdout,
    File(PathBuf),
    /// `mirror` removes what was there and was not sent.
    Dir {
        path: PathBuf,
        mirror: bool,
    },
    /// A folder in the form of an OCI layout.
    Layout(PathBuf),
    /// Docker's image store, if Docker answers. `context` names a Docker context.
    Docker {
        context: Option<String>,
    },
    Containerd(ContainerdSetting),
}

/// What the user has to know about the outputs that were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    None,
    /// Nobody said where to, so the image was put into Kiln's own store.
    KeptByDefault,
    /// Nobody said where to, and there was no name to keep it by.
    Nowhere,
}

/// All outputs of a build.
pub(crate) fn outputs(
    args: &BuildArgs,
    mode: ProgressMode,
    env: &Environment,
) -> Result<(Vec<OutputSetting>, Notice)> {
    let flags: Vec<OutputFlag> =
        args.outputs.iter().filter(|o| !o.is_empty()).map(|o| OutputFlag::parse(o)).collect::<Result<_>>()?;
    if args.iidfile.is_some() && flags.iter().any(|f| f.kind == "local" || f.kind == "tar") {
        return Err(Error::user("local and tar exporters are incompatible with image ID file"));
    }
    let mut outputs = flags.into_iter().map(OutputSetting::from_flag).collect::<Result<Vec<_>>>()?;
    check_stdout(&outputs, env)?;
    if args.push {
        push(&mut outputs);
    }
    // As with Docker's own driver: what `docker build` makes is Docker's.
    let is_dockers = env.is_plugin && outputs.is_empty() && !wants_no_load(env);
    let is_load = |o: &OutputSetting| matches!(o.dest, Destination::Docker { .. });
    if (args.load || is_dockers) && !outputs.iter().any(is_load) {
        let dest = Destination::Docker { context: None };
        outputs.push(OutputSetting { kind: "docker".into(), attrs: BTreeMap::new(), dest });
    }
    if outputs.iter().any(is_load) && !outputs.iter().any(|o| o.kind == "image") {
        outputs.insert(0, OutputSetting::image());
    }
    let notice = if outputs.is_empty() { by_default(args, mode, env, &mut outputs) } else { Notice::None };
    name(&mut outputs, &args.tags)?;
    annotate(&mut outputs, &args.annotations)?;
    if wants_no_artifact(env)? {
        for output in outputs.iter_mut().filter(|o| matches!(o.kind.as_str(), "image" | "oci")) {
            output.attrs.entry("oci-artifact".into()).or_insert_with(|| "false".into());
        }
    }
    outputs.retain(|o| o.kind != "cacheonly");
    Ok((outputs, notice))
}

impl OutputSetting {
    fn image() -> Self {
        OutputSetting { kind: "image".into(), attrs: BTreeMap::new(), dest: Destination::Engine }
    }

    fn from_flag(flag: OutputFlag) -> Result<Self> {
        let is_dir = matches!(flag.kind.as_str(), "oci" | "docker")
            && flag.attrs.get("tar").and_then(|v| parse_bool(v)) == Some(false);
        let OutputFlag { kind, dest, mut attrs } = flag;
        if kind == "containerd" {
            return to_containerd(attrs);
        }
        let dest = match (kind.as_str(), dest) {
            ("local", None) => return Err(Error::user("dest is required for local exporter")),
            ("local", Some(d)) if d == "-" => {
                return Err(Error::user("dest cannot be stdout for local exporter"));
            }
            ("local", Some(path)) => Destination::Dir { path: path.into(), mirror: mirrors(&attrs)? },
            ("oci" | "docker", None) if is_dir => {
                return Err(Error::user(format!("dest is required for {kind} exporter with tar=false")));
            }
            ("oci" | "docker", Some(d)) if is_dir && d == "-" => {
                return Err(Error::user(format!("dest cannot be stdout for {kind} exporter with tar=false")));
            }
            ("oci" | "docker", Some(path)) if is_dir => Destination::Layout(path.into()),
            ("docker", None) => Destination::Docker { context: attrs.remove("context") },
            ("tar" | "oci" | "docker", Some(path)) if path != "-" => Destination::File(path.into()),
            ("tar" | "oci" | "docker", _) => Destination::Stdout,
            (_, Some(path)) => {
                attrs.insert("dest".into(), path);
                Destination::Engine
            }
            (_, None) => Destination::Engine,
        };
        if kind == "registry" {
            attrs.insert("push".into(), "true".into());
            attrs.entry("unpack".into()).or_insert_with(|| "false".into());
            return Ok(OutputSetting { kind: "image".into(), attrs, dest });
        }
        Ok(OutputSetting { kind, attrs, dest })
    }
}

/// Blobs go as to a folder, attestations as into a registry.
fn to_containerd(mut attrs: BTreeMap<String, String>) -> Result<OutputSetting> {
    let unpack = attrs.remove("unpack").map(|value| {
        parse_bool(&value).ok_or_else(|| Error::user(format!("non-bool value specified for unpack: {value}")))
    });
    let snapshotter = attrs.remove("snapshotter").unwrap_or_else(|| "overlayfs".into());
    let setting = ContainerdSetting {
        address: attrs.remove("address"),
        namespace: attrs.remove("namespace"),
        snapshotter: unpack.transpose()?.unwrap_or(true).then_some(snapshotter),
    };
    attrs.insert("tar".into(), "false".into());
    attrs.entry("attestation-inline".into()).or_insert_with(|| "true".into());
    Ok(OutputSetting { kind: "oci".into(), attrs, dest: Destination::Containerd(setting) })
}

fn mirrors(attrs: &BTreeMap<String, String>) -> Result<bool> {
    let mode = attrs.get("mode").map_or("", String::as_str);
    match mode.trim().to_lowercase().as_str() {
        "" | "copy" => Ok(false),
        "delete" => Ok(true),
        _ => Err(Error::user(format!("invalid local exporter mode {mode:?}"))),
    }
}

fn check_stdout(outputs: &[OutputSetting], env: &Environment) -> Result<()> {
    let mut to_stdout = outputs.iter().filter(|o| o.dest == Destination::Stdout);
    let Some(first) = to_stdout.next() else { return Ok(()) };
    if to_stdout.next().is_some() {
        return Err(Error::user("multiple outputs configured to write to stdout"));
    }
    if env.stdout_is_terminal {
        let kind = &first.kind;
        return Err(Error::user(format!(
            "dest file is required for {kind} exporter. refusing to write to console"
        )));
    }
    Ok(())
}

fn push(outputs: &mut Vec<OutputSetting>) {
    if !outputs.iter().any(|o| o.kind == "image") {
        outputs.push(OutputSetting::image());
    }
    for output in outputs.iter_mut().filter(|o| o.kind == "image") {
        output.attrs.insert("push".into(), "true".into());
        output.attrs.entry("unpack".into()).or_insert_with(|| "false".into());
    }
}

fn wants_no_load(env: &Environment) -> bool {
    env.get("BUILDX_NO_DEFAULT_LOAD").and_then(parse_bool) == Some(true)
}

/// A name is a wish to keep the image; so is a wish for its ID.
fn by_default(
    args: &BuildArgs,
    mode: ProgressMode,
    env: &Environment,
    outputs: &mut Vec<OutputSetting>,
) -> Notice {
    if wants_no_load(env) {
        return Notice::Nowhere;
    }
    if !args.tags.is_empty() {
        outputs.push(OutputSetting::image());
        return Notice::KeptByDefault;
    }
    if args.iidfile.is_some() || mode == ProgressMode::Quiet {
        outputs.push(OutputSetting::image());
        return Notice::None;
    }
    Notice::Nowhere
}

fn name(outputs: &mut [OutputSetting], tags: &[String]) -> Result<()> {
    if !tags.is_empty() {
        let names = tags.iter().map(|t| check_tag(t)).collect::<Result<Vec<_>>>()?.join(",");
        for output in outputs.iter_mut().filter(|o| matches!(o.kind.as_str(), "image" | "oci" | "docker")) {
            output.attrs.insert("name".into(), names.clone());
        }
        return Ok(());
    }
    let is_true = |o: &OutputSetting, key: &str| o.attrs.get(key).and_then(|v| parse_bool(v)) == Some(true);
    let unnamed = |o: &OutputSetting| o.attrs.get("name").is_none_or(String::is_empty);
    match outputs.iter().any(|o| o.kind == "image" && unnamed(o) && is_true(o, "push")) {
        true => Err(Error::user("tag is needed when pushing to registry").hint("name the image with `-t`")),
        false => Ok(()),
    }
}

fn annotate(outputs: &mut [OutputSetting], annotations: &[String]) -> Result<()> {
    for text in annotations.iter().filter(|a| !a.is_empty()) {
        for annotation in Annotation::parse(text)? {
            for output in outputs.iter_mut() {
                output.attrs.insert(annotation.attribute(), annotation.value.clone());
            }
        }
    }
    Ok(())
}
