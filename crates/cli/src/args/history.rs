use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Look back at builds: list them, read their logs, see why they failed
///
/// The engine keeps a record of each build, with all that it told, until it is older than two days and fifty others
/// came after it. `[history]` in the engine's configuration says how many stay.
#[derive(Debug, Clone, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
A BUILD is the ID that `ls` shows, or ^N for the one N builds ago; nothing is the last one.

Examples:
  kiln history ls                             The last builds
  kiln history logs                           All that the last build told
  kiln history inspect ^1                     What the build before it was, and how it ended
  kiln history export -o ci.dockerbuild       A file to look at elsewhere
  kiln history rm --all"
)]
pub(crate) struct HistoryArgs {
    #[command(subcommand)]
    pub command: HistoryCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum HistoryCommand {
    Ls(HistoryLsArgs),
    Inspect(Box<HistoryInspectArgs>),
    Logs(HistoryLogsArgs),
    Open(HistoryOpenArgs),
    Trace(HistoryTraceArgs),
    Rm(HistoryRmArgs),
    Export(HistoryExportArgs),
    Import(HistoryImportArgs),
}

/// List builds
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Filters: ref=, repository=, status=running|completed|error|canceled, each also with !=;
startedAt, completedAt with <, <=, > or >= and a time or a duration ago; duration with the same signs.")]
pub(crate) struct HistoryLsArgs {
    /// Only builds that match, as status=error or startedAt>24h; all have to hold
    #[arg(long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,

    /// Form of the output: table, json, or a Go template
    #[arg(long, value_name = "FORM", default_value = "table")]
    pub format: String,

    /// Only builds of the Git repository here
    #[arg(long)]
    pub local: bool,

    /// Do not cut long names
    #[arg(long)]
    pub no_trunc: bool,
}

/// Show what a build was and how it ended
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct HistoryInspectArgs {
    #[command(subcommand)]
    pub attachment: Option<InspectCommand>,

    /// The build
    #[arg(value_name = "BUILD", default_value = "", hide_default_value = true)]
    pub build: String,

    /// Form of the output: pretty, json, or a Go template
    #[arg(long, value_name = "FORM", default_value = "pretty")]
    pub format: String,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum InspectCommand {
    Attachment(AttachmentArgs),
}

/// Print a blob that belongs to a build: its image's manifest, its log, its error, an attestation
#[derive(Debug, Clone, Args)]
pub(crate) struct AttachmentArgs {
    /// The build
    #[arg(value_name = "BUILD", default_value = "", hide_default_value = true)]
    pub build: String,

    /// The blob, as `inspect` names it
    pub digest: Option<String>,

    /// Kind of blob: index, manifest, image, provenance, sbom, or a media type
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,

    /// Only of this platform, as linux/arm64
    #[arg(long)]
    pub platform: Option<String>,
}

/// Print what a build told
#[derive(Debug, Clone, Args)]
pub(crate) struct HistoryLogsArgs {
    /// The build
    #[arg(value_name = "BUILD", default_value = "", hide_default_value = true)]
    pub build: String,

    /// How to draw it: plain, tty or rawjson
    #[arg(long, value_name = "MODE", default_value = "plain")]
    pub progress: String,
}

/// Show a build in Docker Desktop where that is, else here
#[derive(Debug, Clone, Args)]
pub(crate) struct HistoryOpenArgs {
    /// The build
    #[arg(value_name = "BUILD", default_value = "", hide_default_value = true)]
    pub build: String,
}

/// Show where the time of a build went, as a page here or as JSON for Jaeger
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
At a terminal the page is served until you press Ctrl-C. Elsewhere the trace is printed, as Jaeger's UI takes it in.")]
pub(crate) struct HistoryTraceArgs {
    /// The build
    #[arg(value_name = "BUILD", default_value = "", hide_default_value = true)]
    pub build: String,

    /// Where to serve the page
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub addr: String,

    /// Show another build beside it
    #[arg(long, value_name = "BUILD")]
    pub compare: Option<String>,
}

/// Forget builds
#[derive(Debug, Clone, Args)]
pub(crate) struct HistoryRmArgs {
    /// The builds
    #[arg(value_name = "BUILD", required_unless_present = "all", conflicts_with = "all")]
    pub builds: Vec<String>,

    /// All that are over
    #[arg(long)]
    pub all: bool,
}

/// Write builds to a file, as Docker Desktop and `history import` read it
#[derive(Debug, Clone, Args)]
pub(crate) struct HistoryExportArgs {
    /// The builds
    #[arg(value_name = "BUILD", conflicts_with = "all")]
    pub builds: Vec<String>,

    /// File to write; standard output otherwise
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// All that are over
    #[arg(long)]
    pub all: bool,

    /// Let the engine complete the records first
    #[arg(long)]
    pub finalize: bool,
}

/// Take builds into the engine's history from files that `export` wrote, here or in CI
#[derive(Debug, Clone, Args)]
pub(crate) struct HistoryImportArgs {
    /// `-` reads standard input
    #[arg(value_name = "-", value_parser = ["-"])]
    pub stdin: Option<String>,

    /// File to read; several are taken one after the other
    #[arg(short, long = "file", value_name = "FILE", required_unless_present = "stdin")]
    pub files: Vec<PathBuf>,
}
