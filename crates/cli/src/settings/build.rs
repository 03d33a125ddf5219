use std::collections::BTreeMap;
use std::path::PathBuf;

use errdefs::{Error, Result};
use policy::PolicyFlag;

use crate::args::BuildArgs;
use crate::environment::Environment;
use crate::flags::{SecretFlag, SshFlag, parse_bool};
use crate::names::context_name;
use crate::policies;
use crate::settings::attestations::{MetadataProvenance, attestations};
use crate::settings::attrs::{FrontendSettings, frontend};
use crate::settings::caches::CacheSettings;
use crate::settings::call::CallSetting;
use crate::settings::output::{Destination, Notice, OutputSetting, outputs};
use crate::settings::progress::ProgressMode;
use crate::settings::refuse::warn_legacy;

/// A build as it was asked for.
#[derive(Debug)]
pub(crate) struct BuildSettings {
    /// As given: a folder, a URL or `-`.
    pub context: String,
    /// As given; nothing for the Dockerfile of the context.
    pub dockerfile: Option<String>,
    /// In place of that file.
    pub dockerfile_text: Option<String>,
    /// Graphs that stand for contexts, `context` and `dockerfile` among them.
    pub graphs: BTreeMap<String, llb::Definition>,
    /// Named contexts as given, by normalized name.
    pub contexts: BTreeMap<String, String>,
    pub frontend: FrontendSettings,
    /// What is asked in place of a build. There is no result then.
    pub call: Option<CallSetting>,
    pub outputs: Vec<OutputSetting>,
    /// It is built twice and compared.
    pub verify: bool,
    pub caches: CacheSettings,
    pub notice: Notice,
    pub tags: Vec<String>,
    pub secrets: Vec<SecretFlag>,
    pub ssh: Vec<SshFlag>,
    pub policies: Vec<PolicyFlag>,
    pub progress: ProgressMode,
    pub iidfile: Option<PathBuf>,
    pub metadata_file: Option<PathBuf>,
    pub metadata_provenance: MetadataProvenance,
    pub metadata_warnings: bool,
    pub warnings: Vec<String>,
}

impl BuildSettings {
    /// `proxies` are build arguments that Docker's configuration asks for.
    pub(crate) fn new(
        args: &BuildArgs,
        env: &Environment,
        proxies: &BTreeMap<String, String>,
    ) -> Result<Self> {
        if args.context.is_empty() {
            return Err(Error::user("please specify build context (e.g. \".\" for the current directory)"));
        }
        let progress = ProgressMode::choose(&args.progress, args.quiet, env)?;
        let (mut outputs, mut notice) = outputs(args, progress, env)?;
        let mut caches = CacheSettings::new(args)?;
        let attestations = attestations(args, env)?;
        let mut frontend = frontend(args, env, proxies)?;
        let call = CallSetting::new(args)?;
        match &call {
            Some(_) if args.verify => {
                return Err(Error::user("`--verify` has nothing to verify with `--call` or `--check`"));
            }
            Some(call) => {
                call.ask(&mut frontend.attrs);
                outputs.clear();
                caches.to.clear();
                notice = Notice::None;
            }
            None => {
                let has_several = frontend.attrs.get("platform").is_some_and(|p| p.contains(','));
                if attestations.asked || has_several {
                    check_single(&outputs)?;
                }
                frontend.attrs.extend(attestations.attrs);
            }
        }
        Ok(BuildSettings {
            context: args.context.clone(),
            dockerfile: args.file.clone().filter(|f| !f.is_empty()),
            dockerfile_text: args.dockerfile_text.clone(),
            graphs: args.graphs.clone(),
            contexts: named_contexts(&args.build_contexts)?,
            frontend,
            call,
            outputs,
            verify: args.verify,
            caches,
            notice,
            tags: args.tags.clone(),
            secrets: secrets(&args.secrets)?,
            ssh: args
                .ssh
                .iter()
                .filter(|v| !v.is_empty())
                .map(|v| SshFlag::parse(v))
                .collect::<Result<_>>()?,
            policies: policies::flags(&args.policies)?,
            progress,
            iidfile: args.iidfile.clone(),
            metadata_file: args.metadata_file.clone(),
            metadata_provenance: MetadataProvenance::of(env),
            metadata_warnings: env.get("BUILDX_METADATA_WARNINGS").and_then(parse_bool) == Some(true),
            warnings: warnings(args, env),
        })
    }
}

/// What Docker loads is one image, without anything beside it.
fn check_single(outputs: &[OutputSetting]) -> Result<()> {
    let docker = outputs.iter().find(|o| o.kind == "docker");
    docker.map_or(Ok(()), |output| Err(no_list(&output.dest)))
}

/// Why an archive of Docker's takes no images for several platforms, and none that something is said of.
pub(crate) fn no_list(dest: &Destination) -> Error {
    match dest {
        Destination::Docker { .. } => Error::user(
            "docker exporter does not currently support exporting manifest lists",
        )
        .hint("load one platform without attestations, or push the image and let Docker pull it from there"),
        _ => Error::user(
            "docker exporter does not support exporting manifest lists, use the oci exporter instead",
        ),
    }
}

/// `--build-context NAME=SOURCE`. Names are image references, so that one of them can stand for a base image.
fn named_contexts(flags: &[String]) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for flag in flags.iter().filter(|f| !f.is_empty()) {
        let (name, source) = flag
            .split_once('=')
            .ok_or_else(|| Error::user(format!("invalid context value: {flag}, expected key=value")))?;
        out.insert(context_name(name)?, source.to_owned());
    }
    Ok(out)
}

/// `--secret`; the last of an id wins.
fn secrets(flags: &[String]) -> Result<Vec<SecretFlag>> {
    let mut out: Vec<SecretFlag> = Vec::new();
    for flag in flags.iter().filter(|f| !f.is_empty()) {
        let secret = SecretFlag::parse(flag)?;
        if secret.id.is_empty() {
            return Err(Error::user("secret missing ID").hint("write it as `id=NAME,src=FILE`"));
        }
        match out.iter_mut().find(|s| s.id == secret.id) {
            Some(known) => *known = secret,
            None => out.push(secret),
        }
    }
    Ok(out)
}

/// What of the flags and the environment does not do what it seems to.
fn warnings(args: &BuildArgs, env: &Environment) -> Vec<String> {
    let mut warnings = warn_legacy(args);
    if env.get("BUILDX_DEFAULT_POLICY").and_then(parse_bool) == Some(true) {
        warnings.push(
            "BUILDX_DEFAULT_POLICY is not applied: it judges images that buildx loads by itself, and Kiln loads none"
                .into(),
        );
    }
    warnings
}
