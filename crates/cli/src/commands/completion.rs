use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Cli;

/// The completion script of a shell.
pub(crate) fn completion(shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kiln", &mut out);
    out
}
