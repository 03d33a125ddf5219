//! `kiln dockerfile`: what needs a Dockerfile alone, and no engine.

use std::process::ExitCode;

use errdefs::Result;

use crate::args::DockerfileCommand;

mod fmt;
mod lsp;

/// Does it and gives the exit code.
pub(crate) fn dockerfile(command: &DockerfileCommand) -> Result<ExitCode> {
    match command {
        DockerfileCommand::Fmt(args) => fmt::fmt(args),
        DockerfileCommand::Lsp(_) => lsp::lsp(),
    }
}
