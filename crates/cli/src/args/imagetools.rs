use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};

/// Work on images in registries
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  kiln imagetools inspect reg.io/me/app
  kiln imagetools inspect --format '{{json .Provenance}}' reg.io/me/app
  kiln imagetools create -t reg.io/me/app:1 reg.io/me/app:1-amd64 reg.io/me/app:1-arm64")]
pub(crate) struct ImagetoolsArgs {
    #[command(subcommand)]
    pub command: ImagetoolsCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ImagetoolsCommand {
    Create(ImagetoolsCreateArgs),
    Inspect(ImagetoolsInspectArgs),
}

/// Make an image of others
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ImagetoolsCreateArgs {
    /// Names, digests in the repository of the result, or descriptors as JSON
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<String>,

    /// File with a source
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Name of the result
    #[arg(short, long = "tag", value_name = "NAME")]
    pub tags: Vec<String>,

    /// Print the result, and push nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Add to what has the first name
    #[arg(long)]
    pub append: bool,

    /// Set an annotation of the result: `index:` or `manifest-descriptor:`
    #[arg(long = "annotation", value_name = "TYPE:NAME=VALUE")]
    pub annotations: Vec<String>,

    /// Make an index also of a single image, rather than to copy it as it is
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "true", default_missing_value = "true", hide_default_value = true)]
    pub prefer_index: bool,

    /// Take these platforms alone
    #[arg(short, long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<String>,

    /// Write what was made to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,

    /// How to show progress: auto, plain, tty, quiet, none or rawjson
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub progress: String,
}

/// Tell of an image in a registry
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ImagetoolsInspectArgs {
    pub name: String,

    /// Form of the output: a template over .Name, .Manifest, .Image, .SBOM and .Provenance
    #[arg(long, value_name = "FORM", default_value = "", hide_default_value = true)]
    pub format: String,

    /// Print the manifest as it is
    #[arg(long)]
    pub raw: bool,
}
