//! Arguments to settings to request; draws progress.
//!
//! A command goes three steps: `args` (words, as clap reads them), `settings` (what they mean together with the
//! environment), `commands` (do it). `engine` finds or starts the engine, `inputs` and `outputs` tie the user's files
//! to the session, `display` draws, `report` tells errors.
//!
//! Never: links the engine.

mod args;
mod artifact;
mod attach;
pub mod buildctl;
mod caches;
mod commands;
mod console;
mod containerd;
mod display;
mod docker;
mod engine;
mod environment;
mod flags;
mod inputs;
mod interrupt;
mod job;
mod layout;
mod links;
mod merge;
mod names;
mod nodes;
mod outputs;
pub mod plugin;
mod policies;
mod provenance;
mod report;
mod result_files;
mod secrets;
mod settings;
mod source_policy;
mod ssh;
mod table;
mod template;
mod terminal;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use errdefs::{Error, Result, ResultExt as _};

use args::{Cli, Command, GlobalArgs};
use engine::{Builder, Place};
use environment::Environment;

/// Runs the program with these arguments, its own name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    run_cli(args, Environment::here())
}

fn run_cli(args: impl IntoIterator<Item = OsString>, env: Environment) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => return report::usage(&e),
    };
    log(cli.global.debug);
    let Some(command) = cli.command else {
        let _ = Cli::command().print_help();
        return ExitCode::SUCCESS;
    };
    match dispatch(command, &cli.global, &env) {
        Ok(code) => code,
        Err(e) => report::error(&e),
    }
}

fn dispatch(command: Command, global: &GlobalArgs, env: &Environment) -> Result<ExitCode> {
    match command {
        Command::Version => console::out(format!("{}\n", commands::version()))?,
        Command::Completion { shell } => console::out(commands::completion(shell))?,
        Command::Dockerfile(args) => return commands::dockerfile(&args.command),
        // The binary goes to the daemon before it comes here.
        Command::Daemon { .. } => {
            return Err(Error::user("`daemon` must be the first word").hint("write `kiln daemon [OPTIONS]`"));
        }
        command => {
            let runtime = runtime()?;
            let code = runtime.block_on(dispatch_async(command, global, env));
            // A read from a terminal may still wait; nobody waits for it.
            runtime.shutdown_background();
            return code;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn dispatch_async(command: Command, global: &GlobalArgs, env: &Environment) -> Result<ExitCode> {
    match command {
        Command::Build(args) => return commands::build(&args, global, env).await,
        Command::Bake(args) => return commands::bake(&args, global, env).await,
        Command::History(args) => return commands::history(&args, global, env).await,
        Command::Run(args) => return commands::run(&args, &Place::find(global, env)?, env).await,
        Command::Image(args) => commands::image(&args, &Builder::find(global, env)?, env).await?,
        Command::Imagetools(args) => commands::imagetools(&args.command, global, env).await?,
        Command::Images(args) => commands::images(&args, &Builder::find(global, env)?).await?,
        Command::Policy(args) => return commands::policy(&args.command, global, env).await,
        Command::Du(args) => console::out(commands::du(&args, &Builder::find(global, env)?).await?)?,
        Command::Prune(args) => commands::prune(&args, &Builder::find(global, env)?, env).await?,
        Command::Builder(args) => return commands::builder(&args.command, global, env).await,
        Command::Engine(args) => return commands::engine(&args.command, &Place::find(global, env)?).await,
        Command::Version | Command::Completion { .. } | Command::Dockerfile(_) | Command::Daemon { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("failed to start the runtime")
}

/// The program's own log goes to stderr; `--debug` or KILN_LOG asks for it.
fn log(debug: bool) {
    let level = if debug { "debug,h2=info,hyper=info,tower=info" } else { "error" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("KILN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
