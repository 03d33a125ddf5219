use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Work on Dockerfiles: format them, serve editors
#[derive(Debug, Clone, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct DockerfileArgs {
    #[command(subcommand)]
    pub command: DockerfileCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum DockerfileCommand {
    Fmt(FmtArgs),
    Lsp(LspArgs),
}

/// Format Dockerfiles in place, without a change to what they mean
///
/// Keywords become upper case, instructions begin their line, continuation lines have four spaces in front, and stages
/// one empty line between them. Comments, heredocs, parser directives and the words of instructions stay as they are, so
/// no step runs again for it. A file with faults is left alone, and its faults are told.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  kiln dockerfile fmt                      Format `Dockerfile` here
  kiln dockerfile fmt a.Dockerfile b/Dockerfile
  kiln dockerfile fmt --check              In CI: show what would change, and fail if anything would
  kiln dockerfile fmt - <Dockerfile        From stdin to stdout, as editors want it

Names of files that changed are printed. The exit code is 1 if a file has faults, or --check found one to format.")]
pub(crate) struct FmtArgs {
    /// Files to format; `-` reads stdin and writes stdout
    #[arg(value_name = "FILE", default_value = "Dockerfile")]
    pub files: Vec<PathBuf>,

    /// Write nothing; print a diff of each file that is not formatted, and exit with 1 if there is one
    #[arg(long)]
    pub check: bool,

    /// Indent the lines of shell commands too; steps whose lines move run once more
    #[arg(long)]
    pub commands: bool,
}

/// Serve an editor over stdin and stdout (Language Server Protocol)
///
/// Faults and build checks as you type, completion, what words mean, definitions, references, stages, renaming and
/// formatting. docs/editors.md tells how to set up editors.
#[derive(Debug, Clone, Args)]
pub(crate) struct LspArgs {
    /// There is no other way; editors ask for it
    #[arg(long, hide = true)]
    pub stdio: bool,
}
