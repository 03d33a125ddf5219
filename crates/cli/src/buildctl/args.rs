use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// BuildKit's command line.
#[derive(Debug, Parser)]
#[command(
    name = "buildctl",
    bin_name = "buildctl",
    about = "Talk to a BuildKit engine, or to Kiln's",
    version = concat!("kiln v", env!("CARGO_PKG_VERSION")),
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "\
Examples:
  buildctl build --frontend dockerfile.v0 --local context=. --local dockerfile=. \\
    --output type=image,name=reg.io/me/app,push=true
  buildctl du -v
  buildctl debug workers"
)]
pub(super) struct Buildctl {
    #[command(flatten)]
    pub global: Global,

    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Engine")]
pub(super) struct Global {
    /// The engine: unix://PATH, tcp://HOST:PORT, ssh://[USER@]HOST, docker-container://NAME, podman-container://NAME,
    /// nerdctl-container://NAME or kube-pod://NAME
    #[arg(
        long,
        global = true,
        env = "BUILDKIT_HOST",
        default_value = "unix:///run/buildkit/buildkitd.sock",
        value_name = "ADDRESS",
        hide_env_values = true
    )]
    pub addr: String,

    /// Name that the engine's certificate shows, where it is not that of the address
    #[arg(long = "tlsservername", global = true, value_name = "NAME")]
    pub tls_server_name: Option<String>,

    /// Authority that the engine's certificate has to come from
    #[arg(long = "tlscacert", global = true, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,

    /// Certificate of the client
    #[arg(long = "tlscert", global = true, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Key of the client's certificate
    #[arg(long = "tlskey", global = true, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Folder with all three, as ca.pem, cert.pem and key.pem or as ca.crt, tls.crt and tls.key
    #[arg(long = "tlsdir", global = true, value_name = "DIR")]
    pub tls_dir: Option<PathBuf>,

    /// Give up when there is no connection after so many seconds; 0 never does
    #[arg(long, global = true, default_value_t = 5, value_name = "SECONDS")]
    pub timeout: u64,

    /// Wait for an engine that does not answer yet, for as long as --timeout says
    #[arg(long, global = true)]
    pub wait: bool,

    /// Say more about what goes on
    #[arg(long, global = true)]
    pub debug: bool,

    /// Taken for BuildKit's sake: the log is text
    #[arg(long = "log-format", global = true, hide = true)]
    pub log_format: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what takes up disk
    Du(DuArgs),
    /// Remove build cache that is not in use
    Prune(PruneArgs),
    /// Forget the builds that are over and not pinned
    PruneHistories(FormatArgs),
    #[command(visible_alias = "b")]
    Build(Box<BuildArgs>),
    /// Look inside of the engine
    #[command(arg_required_else_help = true)]
    Debug(DebugArgs),
    /// Connect standard input and output with the engine, for others that reach it through this program
    #[command(hide = true)]
    DialStdio,
}

#[derive(Debug, Args)]
pub(super) struct DebugArgs {
    #[command(subcommand)]
    pub command: DebugCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum DebugCommand {
    /// Print the graph of an LLB definition
    DumpLlb(DumpLlbArgs),
    #[command(hide = true)]
    DumpMetadata(DumpMetadataArgs),
    /// Show the engine's workers: platforms, labels, limits of the cache
    Workers(WorkersArgs),
    /// Show what builds tell about themselves, as it happens
    Monitor(MonitorArgs),
    /// Show what a build told
    Logs(LogsArgs),
    /// Pin, unpin or delete the record of a build
    Ctl(CtlArgs),
    /// Print a blob of the engine
    Get(GetArgs),
    /// List the records of builds
    Histories(FormatArgs),
    /// Show the engine's version
    Info(FormatArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct FormatArgs {
    /// Go template for each entry, as '{{json .}}', or `json`
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct DuArgs {
    /// Only what matches, as type==regular; several of them add up
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,

    /// Tell all of each
    #[arg(short, long)]
    pub verbose: bool,

    #[command(flatten)]
    pub format: FormatArgs,
}

#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// Keep what was used in this time, as 24h
    #[arg(long, value_name = "TIME", default_value = "0s", hide_default_value = true)]
    pub keep_duration: String,

    /// Keep at most so many megabytes
    #[arg(long, value_name = "MB", default_value_t = 0.0, hide_default_value = true)]
    pub keep_storage: f64,

    /// Keep so many megabytes in any case
    #[arg(long, value_name = "MB", default_value_t = 0.0, hide_default_value = true)]
    pub keep_storage_min: f64,

    /// Remove until so many megabytes of the disk are free
    #[arg(long, value_name = "MB", default_value_t = 0.0, hide_default_value = true)]
    pub free_storage: f64,

    /// Only what matches; several of them add up
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,

    /// Also what is internal or belongs to frontends
    #[arg(long)]
    pub all: bool,

    /// Tell all of each
    #[arg(short, long)]
    pub verbose: bool,

    #[command(flatten)]
    pub format: FormatArgs,
}

#[derive(Debug, Args)]
pub(super) struct WorkersArgs {
    /// Only workers that match, as id==NAME
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,

    /// Tell all of each
    #[arg(short, long)]
    pub verbose: bool,

    #[command(flatten)]
    pub format: FormatArgs,
}

#[derive(Debug, Args)]
pub(super) struct DumpLlbArgs {
    /// File with the definition; `-` or nothing reads standard input
    pub file: Option<PathBuf>,

    /// Print it for Graphviz
    #[arg(long)]
    pub dot: bool,
}

#[derive(Debug, Args)]
pub(super) struct DumpMetadataArgs {
    #[arg(long)]
    pub root: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct MonitorArgs {
    /// Also builds that are over
    #[arg(long)]
    pub completed: bool,

    /// Only this build
    #[arg(long = "ref", value_name = "BUILD")]
    pub id: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The build
    #[arg(value_name = "BUILD")]
    pub id: String,

    /// How to draw it: auto, plain, tty, quiet or rawjson
    #[arg(long, default_value = "auto", value_name = "MODE")]
    pub progress: String,

    /// Print its trace instead
    #[arg(long)]
    pub trace: bool,
}

#[derive(Debug, Args)]
pub(super) struct CtlArgs {
    /// The build
    #[arg(value_name = "BUILD")]
    pub id: String,

    /// Keep the record whatever the limits say
    #[arg(long, conflicts_with_all = ["unpin", "delete"])]
    pub pin: bool,

    /// Let the record go when the limits say so
    #[arg(long, conflicts_with = "delete")]
    pub unpin: bool,

    /// Delete the record
    #[arg(long)]
    pub delete: bool,
}

#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// As sha256:…
    pub digest: String,
}

/// Build
#[derive(Debug, Args)]
#[command(after_help = "\
Without --frontend the graph comes from standard input, as an LLB definition.

Examples:
  buildctl build --frontend dockerfile.v0 --local context=. --local dockerfile=. --opt target=test
  buildctl build --frontend dockerfile.v0 --local context=. --local dockerfile=. \\
    --opt build-arg:VERSION=1.2 --output type=local,dest=out
  my-frontend | buildctl build --local src=. --output type=image,name=reg.io/me/app,push=true")]
pub(super) struct BuildArgs {
    /// Where the result goes: type=image|local|tar|oci|docker[,dest=PATH][,KEY=VALUE]
    #[arg(short, long, value_name = "SPEC")]
    pub output: Vec<String>,

    /// How progress is told: auto, plain, tty, quiet or rawjson
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub progress: String,

    /// Append all that the engine tells to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// Let the build read a folder
    #[arg(long, value_name = "NAME=DIR")]
    pub local: Vec<String>,

    /// Let the build read images of an OCI layout
    #[arg(long, value_name = "NAME=DIR")]
    pub oci_layout: Vec<String>,

    /// Frontend that makes the graph, as dockerfile.v0 or gateway.v0
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub frontend: String,

    /// Option for the frontend, as target=test; build-arg:NAME alone takes the value from the environment
    #[arg(long, value_name = "KEY=VALUE")]
    pub opt: Vec<String>,

    /// Run all steps anew
    #[arg(long)]
    pub no_cache: bool,

    /// Fill a remote cache: type=registry|local|inline|…[,KEY=VALUE]
    #[arg(long, value_name = "SPEC")]
    pub export_cache: Vec<String>,

    /// Use a remote cache: type=registry|local|…[,KEY=VALUE]
    #[arg(long, value_name = "SPEC")]
    pub import_cache: Vec<String>,

    /// Give a secret to the build: id=NAME[,src=FILE|,env=VAR]
    #[arg(long, value_name = "SPEC")]
    pub secret: Vec<String>,

    /// Grant what steps may not do by themselves: network.host, security.insecure, device
    #[arg(long, value_name = "NAME")]
    pub allow: Vec<String>,

    /// Give an SSH agent, keys or a socket to the build: default|ID[=SOCKET|KEY[,KEY]]
    #[arg(long, value_name = "SPEC")]
    pub ssh: Vec<String>,

    /// Write what is known of the result to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,

    /// Policy on sources, as JSON
    #[arg(long, value_name = "FILE")]
    pub source_policy_file: Option<PathBuf>,

    /// Let steps reach the network only through a proxy that keeps account
    #[arg(long)]
    pub proxy_network: bool,

    /// Write the name of the build to a file
    #[arg(long, value_name = "FILE")]
    pub ref_file: Option<PathBuf>,

    /// TLS for logins at a registry: host=URL[,ca=FILE][,cert=FILE,key=FILE][,insecure=BOOL]
    #[arg(long, value_name = "SPEC")]
    pub registry_auth_tlscontext: Vec<String>,

    /// Count what was in the cache, into a file, `stdout` or `stderr`
    #[arg(long, value_name = "FILE")]
    pub debug_json_cache_metrics: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Buildctl::command().debug_assert();
    }
}
