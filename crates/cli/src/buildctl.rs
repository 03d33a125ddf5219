//! `buildctl`: BuildKit's own command line, for scripts that call it.

mod args;
mod build;
mod debug;
mod disk;
mod dump;
mod format;
mod histories;
mod place;
mod records;
mod stdio;
mod workers;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use errdefs::{Error, Result};

use crate::environment::Environment;
use crate::{console, log, report, runtime};
use args::{Buildctl, Command, DebugCommand};
pub(crate) use records::record_json;

/// Runs `buildctl` with these arguments, its own name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Buildctl::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => return report::usage(&e),
    };
    let env = Environment::here();
    log(cli.global.debug);
    let Some(command) = cli.command else {
        let _ = Buildctl::command().print_help();
        return ExitCode::SUCCESS;
    };
    let done = runtime().and_then(|runtime| {
        let done = runtime.block_on(run(command, &cli.global, &env));
        // A read from a terminal may still wait; nobody waits for it.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => tell(&e),
    }
}

/// Errors are told as buildctl tells them: it has one exit code for all.
fn tell(e: &Error) -> ExitCode {
    let mut text = String::new();
    if let Some(location) = e.source_location() {
        text.push_str(&progress::source_frame(location));
    }
    for hint in e.hints() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    console::note(format_args!("{text}error: {e}\n"));
    ExitCode::FAILURE
}

async fn run(command: Command, global: &args::Global, env: &Environment) -> Result<()> {
    match command {
        Command::Build(args) => build::build(&args, global, env).await,
        Command::Du(args) => disk::du(&args, global).await,
        Command::Prune(args) => disk::prune(&args, global).await,
        Command::PruneHistories(args) => histories::prune(&args, global).await,
        Command::DialStdio => stdio::dial(global).await,
        Command::Debug(debug) => match debug.command {
            DebugCommand::Workers(args) => workers::workers(&args, global).await,
            DebugCommand::Info(args) => workers::info(&args, global).await,
            DebugCommand::DumpLlb(args) => dump::llb(&args),
            DebugCommand::Logs(args) => debug::logs(&args, global, env).await,
            DebugCommand::Get(args) => debug::get(&args.digest, global).await,
            DebugCommand::Ctl(args) => debug::ctl(&args, global).await,
            DebugCommand::Monitor(args) => debug::monitor(&args, global).await,
            DebugCommand::Histories(args) => histories::list(&args, global).await,
            DebugCommand::DumpMetadata(_) => Err(Error::unimplemented(
                "the engine's database is not one of BuildKit's, so there is nothing to dump",
            )
            .hint("`buildctl du -v` and `buildctl debug histories` tell what is in it")),
        },
    }
}
