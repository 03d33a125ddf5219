use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

/// Build an image, or files, from a Dockerfile
#[derive(Debug, Clone, Default, Args)]
#[command(
    override_usage = "kiln build [OPTIONS] PATH | URL | -",
    after_help = "\
The context is a folder, the URL of a tar archive, or `-` for a Dockerfile or a tar archive on stdin.

Examples:
  kiln build -t app .                             Build, and keep the image as `app`
  kiln build -f dev.Dockerfile --target test .    Another Dockerfile, and only up to one stage
  kiln build --build-arg VERSION=1.2 -t app .     Set an ARG
  kiln build --secret id=token,env=TOKEN .        For RUN --mount=type=secret,id=token
  kiln build -o out .                             Files of the result to a folder
  kiln build -o type=oci,dest=app.tar .           An OCI archive, for skopeo and others
  kiln build --build-context src=../src .         Another folder, for COPY --from=src
  echo 'FROM alpine' | kiln build -t a -          No context at all"
)]
pub(crate) struct BuildArgs {
    /// Context: a folder, a URL, or `-` for stdin
    #[arg(value_name = "PATH | URL | -")]
    pub context: String,

    /// Name of the Dockerfile [default: PATH/Dockerfile]; `-` reads it from stdin
    #[arg(short, long, value_name = "FILE", help_heading = "Input")]
    pub file: Option<String>,

    /// Stop at this stage
    #[arg(long, value_name = "STAGE", help_heading = "Input")]
    pub target: Option<String>,

    /// Set an ARG; a bare NAME takes its value from the environment
    #[arg(long = "build-arg", value_name = "NAME=VALUE", help_heading = "Input")]
    pub build_args: Vec<String>,

    /// Another context for FROM and COPY --from: a folder, docker-image://REF, oci-layout://DIR[:TAG] or a URL
    #[arg(long = "build-context", value_name = "NAME=SOURCE", help_heading = "Input")]
    pub build_contexts: Vec<String>,

    /// Give a secret to RUN --mount=type=secret: id=NAME[,src=FILE|,env=VAR]
    #[arg(long = "secret", value_name = "SPEC", help_heading = "Input")]
    pub secrets: Vec<String>,

    /// Give an SSH agent or keys to RUN --mount=type=ssh: default|ID[=SOCKET|KEY]
    #[arg(long = "ssh", value_name = "SPEC", help_heading = "Input")]
    pub ssh: Vec<String>,

    /// Build for this platform, as linux/arm64
    #[arg(
        long = "platform",
        env = "DOCKER_DEFAULT_PLATFORM",
        hide_env_values = true,
        value_name = "PLATFORM",
        help_heading = "Input"
    )]
    pub platforms: Vec<String>,

    /// Name the image, as app or registry/me/app:1.0
    #[arg(short, long = "tag", value_name = "NAME", help_heading = "Result")]
    pub tags: Vec<String>,

    /// Where the result goes: a folder, `-`, or type=image|local|tar|oci|docker|registry[,dest=PATH][,KEY=VALUE]
    #[arg(short, long = "output", value_name = "SPEC", help_heading = "Result")]
    pub outputs: Vec<String>,

    /// Push the image under its tags
    #[arg(long, help_heading = "Result")]
    pub push: bool,

    /// Keep the image in Kiln's store, and load it into Docker where Docker answers
    #[arg(long, help_heading = "Result")]
    pub load: bool,

    /// Set a label of the image
    #[arg(long = "label", value_name = "NAME=VALUE", help_heading = "Result")]
    pub labels: Vec<String>,

    /// Set an annotation of the image
    #[arg(long = "annotation", value_name = "[TYPE:]NAME=VALUE", help_heading = "Result")]
    pub annotations: Vec<String>,

    /// Say more of the result: type=sbom|provenance[,disabled=true][,KEY=VALUE]
    #[arg(long = "attest", value_name = "SPEC", help_heading = "Result")]
    pub attestations: Vec<String>,

    /// Say what the result was made from: true, false, or mode=min|max[,KEY=VALUE]
    #[arg(long, value_name = "SPEC", help_heading = "Result")]
    pub provenance: Option<String>,

    /// Say what is in the result: true, false, or KEY=VALUE
    #[arg(long, value_name = "SPEC", help_heading = "Result")]
    pub sbom: Option<String>,

    /// Write the image ID to a file
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub iidfile: Option<PathBuf>,

    /// Write what is known of the result to a file, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub metadata_file: Option<PathBuf>,

    /// Run every step anew
    #[arg(long, help_heading = "Cache", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub no_cache: bool,

    /// Run the steps of this stage anew
    #[arg(long, value_name = "STAGE", help_heading = "Cache")]
    pub no_cache_filter: Vec<String>,

    /// Ask registries for newer images, even where an older one is at hand
    #[arg(long, help_heading = "Cache", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub pull: bool,

    /// Use a remote cache: REF, or type=registry|local|…
    #[arg(long = "cache-from", value_name = "SPEC", help_heading = "Cache")]
    pub cache_from: Vec<String>,

    /// Fill a remote cache: REF, or type=registry|local|inline|…
    #[arg(long = "cache-to", value_name = "SPEC", help_heading = "Cache")]
    pub cache_to: Vec<String>,

    /// Network of RUN: default, none or host
    #[arg(
        long,
        value_name = "MODE",
        default_value = "default",
        hide_default_value = true,
        help_heading = "Steps"
    )]
    pub network: String,

    /// Add a host to /etc/hosts of RUN: HOST:IP
    #[arg(long = "add-host", value_name = "HOST:IP", help_heading = "Steps")]
    pub add_hosts: Vec<String>,

    /// Size of /dev/shm in RUN, as 64m
    #[arg(long, value_name = "SIZE", help_heading = "Steps")]
    pub shm_size: Option<String>,

    /// Set a limit of RUN: NAME=SOFT[:HARD]
    #[arg(long = "ulimit", value_name = "LIMIT", help_heading = "Steps")]
    pub ulimits: Vec<String>,

    /// Limit what RUN may use: memory=2g, cpu-quota=50000, cpuset-cpus=0-3, …
    #[arg(long = "resource", value_name = "NAME=VALUE", help_heading = "Steps")]
    pub resources: Vec<String>,

    /// Parent cgroup of RUN
    #[arg(long, value_name = "CGROUP", help_heading = "Steps")]
    pub cgroup_parent: Option<String>,

    /// Let steps have more than the sandbox: network.host, security.insecure, device[=NAME]
    #[arg(long = "allow", value_name = "ENTITLEMENT", help_heading = "Steps")]
    pub allow: Vec<String>,

    /// Build again without cache and tell what is not the same
    #[arg(long, help_heading = "Result")]
    pub verify: bool,

    /// How to tell what goes on: auto, plain, tty, quiet, none or rawjson
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Progress"
    )]
    pub progress: String,

    /// Say nothing but the image ID
    #[arg(short, long, help_heading = "Progress")]
    pub quiet: bool,

    /// Ask about the Dockerfile instead of building it: check, outline or targets[,format=json]
    #[arg(
        long,
        value_name = "METHOD",
        default_value = "build",
        hide_default_value = true,
        help_heading = "Questions"
    )]
    pub call: String,

    /// Short for --call=check
    #[arg(long, help_heading = "Questions", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub check: bool,

    /// Policy on sources: filename=FILE[,filename=FILE][,reset=BOOL][,disabled=BOOL][,strict=BOOL][,log-level=LEVEL];
    /// the file DOCKERFILE.rego beside the Dockerfile counts without it
    #[arg(long = "policy", value_name = "SPEC", help_heading = "Policies")]
    pub policies: Vec<String>,

    #[command(flatten)]
    pub legacy: LegacyArgs,

    /// The Dockerfile itself, as a bake file may have it.
    #[arg(skip)]
    pub dockerfile_text: Option<String>,

    /// Graphs that stand for contexts, by their names, as a bake file in an archive of the web has them.
    #[arg(skip)]
    pub graphs: BTreeMap<String, llb::Definition>,
}

/// Flags of `docker build` of old. Resources are passed on, the rest is taken and has no effect.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LegacyArgs {
    #[arg(short = 'm', long, hide = true)]
    pub memory: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    pub memory_swap: Option<String>,
    #[arg(short = 'c', long, hide = true)]
    pub cpu_shares: Option<String>,
    #[arg(long, hide = true)]
    pub cpu_period: Option<String>,
    #[arg(long, hide = true)]
    pub cpu_quota: Option<String>,
    #[arg(long, hide = true)]
    pub cpuset_cpus: Option<String>,
    #[arg(long, hide = true)]
    pub cpuset_mems: Option<String>,
    #[arg(long, hide = true)]
    pub compress: bool,
    #[arg(long, hide = true)]
    pub isolation: Option<String>,
    #[arg(long, hide = true)]
    pub security_opt: Vec<String>,
    #[arg(long, hide = true)]
    pub squash: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub rm: Option<bool>,
    #[arg(long, hide = true)]
    pub force_rm: bool,
}
