use clap::{Args, Subcommand};

/// Look at policies on the sources of builds
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  kiln policy eval docker-image://alpine:3         What Dockerfile.rego makes of an image
  kiln policy eval --print docker-image://alpine   What a policy sees of it
  kiln policy test .                               Run the tests in *_test.rego")]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub command: PolicyCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PolicyCommand {
    Eval(PolicyEvalArgs),
    Test(PolicyTestArgs),
}

/// Ask a policy about a source, without a build
///
/// Fails where the policy denies the source.
#[derive(Debug, Clone, Args)]
pub(crate) struct PolicyEvalArgs {
    /// docker-image://NAME, a URL, a repository, or a folder
    pub source: String,

    /// Take the policy of this Dockerfile, FILE.rego; - is a policy from stdin
    #[arg(short, long, value_name = "FILE", default_value = "Dockerfile", alias = "filename")]
    pub file: String,

    /// Print what a policy sees of the source, as JSON, and ask none
    #[arg(long)]
    pub print: bool,

    /// Find these fields out too, as image.labels
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    pub fields: Vec<String>,

    /// Platform that the source is for [default: that of the engine]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
}

/// Run the tests of a policy
#[derive(Debug, Clone, Args)]
pub(crate) struct PolicyTestArgs {
    /// File, or folder with files, called ..._test.rego
    pub path: String,

    /// Run the tests whose names contain this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub run: String,

    /// Test the policy of this Dockerfile, FILE.rego
    #[arg(long, value_name = "FILE", default_value = "Dockerfile")]
    pub filename: String,
}
