//! From arguments to a running engine, and its end.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use errdefs::{Class, Error, Result, ResultExt};
use futures_util::future::try_join_all;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::config::Config;
use crate::idle::{Clients, give_back_memory, keep_large_pieces_apart};
use crate::listen::{Listener, Options, Owner, listen};
use crate::place::Name;
use crate::stores::Stores;
use crate::tls::Tls;
use crate::wiring::Wired;
use crate::{check, debug, foreign, group, lock, log, notify, told, wiring};

/// The exit code of a check that found damage.
const DAMAGED: u8 = 3;
/// After builds were cancelled, clients have this long to leave.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs the engine until it is told to stop. `args` begin with the name of the program.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let name = Name::of(args.first().map(OsString::as_os_str));
    if name == Name::Buildkitd && args.get(1).is_some_and(|word| word == "--version" || word == "-v") {
        // Tools that start one look for the version in the third of four words.
        let revision = option_env!("KILN_REVISION").unwrap_or("unknown");
        let version = format!("buildkitd kiln v{} {revision}\n", env!("CARGO_PKG_VERSION"));
        let _nobody_reads = std::io::stdout().write_all(version.as_bytes());
        return ExitCode::SUCCESS;
    }
    let (args, ignored) = foreign::without(args);
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(e) => e.exit(),
    };
    keep_large_pieces_apart();
    match run(name, &args, &ignored) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DAMAGED),
        Err(e) => {
            tell(&e);
            ExitCode::FAILURE
        }
    }
}

/// The daemon's errors go to its log, which is its standard error. Where the disk has no room for it, whoever started the
/// daemon may still listen at its standard output.
fn tell(e: &Error) {
    let mut text = format!("ERROR: {e}\n");
    for hint in e.hints() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    if e.class() == Class::Internal {
        text.push_str("this is a fault of Kiln: please report it\n");
    }
    if std::io::stderr().write_all(text.as_bytes()).is_err() {
        let _nobody_listens = std::io::stdout().write_all(text.as_bytes());
    }
}

/// False where a check found damage.
fn run(name: Name, args: &Args, ignored: &[String]) -> Result<bool> {
    let config_file = args.config.clone().unwrap_or_else(|| name.config_file());
    let config = Config::load(&config_file, args.config.is_some())?;
    // A check tells all that it finds by itself.
    if !args.check || args.debug {
        log::start(args, &config)?;
    }
    if !ignored.is_empty() {
        tracing::warn!("flags that have no use here: {}", ignored.join(", "));
    }
    let unused = config.unused();
    if !unused.is_empty() {
        tracing::warn!("keys of `{}` that have no use here: {}", config_file.display(), unused.join(", "));
    }
    let root = name.root(args, &config)?;
    let lock = lock::take(&root)?;
    if args.check {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        return runtime.context("failed to start the check")?.block_on(check::check(&root));
    }
    // Before any other thread: it starts the process that makes containers.
    let executor = wiring::executor(&root, &config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result =
        runtime.context("failed to start the engine")?.block_on(serve(name, args, &config, &root, executor));
    drop(lock);
    result.map(|()| true)
}

async fn serve(
    name: Name,
    args: &Args,
    config: &Config,
    root: &Path,
    executor: executor::Executor,
) -> Result<()> {
    let clients = Clients::default();
    let options = listen_options(args, config, &clients)?;
    let env = told::env(config, name)?;
    let Wired { engine, networks, broken } = wiring::engine(name, args, config, root, executor, env).await?;
    let refs = engine.refs().clone();
    let policies = wiring::policies(args, config, root)?;
    if !policies.is_empty() {
        tokio::spawn(refs::Collector::new(refs.clone(), policies.clone()).run());
    }
    tokio::spawn(engine.history().clone().keep_limits());
    let about = wiring::about(args, config, root, &networks, policies)?;
    let routes = control::routes(engine.clone(), &about);
    let mut listeners = Vec::new();
    for address in name.addresses(args, config, root) {
        let opened = listen(&address, &options).await?;
        // A port that was left to the kernel is told.
        let told = opened.iter().find_map(|l| Some(format!("tcp://{}", l.address()?)));
        tracing::info!("listening on {}", told.unwrap_or(address));
        listeners.extend(opened);
    }
    let debug = args.debug_address.as_deref().unwrap_or(&config.grpc.debug_address);
    if !debug.is_empty() {
        debug::serve(debug).await?;
    }
    notify::tell("READY=1");
    tokio::spawn(give_back_memory(clients.clone()));
    let stop = Stop::default();
    tokio::spawn(until_stopped(stop.clone(), broken.clone(), clients, args.idle_timeout)?);
    let stopped = stop.clone();
    tokio::spawn(async move {
        stopped.asked.cancelled().await;
        notify::tell("STOPPING=1");
        // Builds are waited for. A user's container may run for ever.
        engine.end_containers();
        engine.history().end_listeners();
        stopped.hurried.cancelled().await;
        engine.end_builds();
    });
    let serving = try_join_all(listeners.into_iter().map(|l| one(l, routes.clone(), stop.asked.clone())));
    let served = tokio::select! {
        served = serving => served,
        () = stop.patience_is_over() => Ok(Vec::new()),
    };
    networks.close().await;
    Stores::close(&refs, root).await;
    tracing::info!("stopped");
    if broken.is_cancelled() {
        return Err(Error::environment("the file of the database failed")
            .hint("see what the log says before; the next engine opens it again"));
    }
    served.map(drop)
}

/// What the command line says of sockets counts before what the configuration says.
fn listen_options(args: &Args, config: &Config, clients: &Clients) -> Result<Options> {
    let given = Tls { cert: args.tls_cert.clone(), key: args.tls_key.clone(), ca: args.tls_ca.clone() };
    let configured = &config.grpc.tls;
    let tls = Tls {
        cert: given.cert.or_else(|| configured.cert.clone()),
        key: given.key.or_else(|| configured.key.clone()),
        ca: given.ca.or_else(|| configured.ca.clone()),
    };
    let gid = match &args.group {
        Some(group) => Some(group::number(group)?),
        None => config.grpc.gid,
    };
    let owner = Owner { uid: config.grpc.uid, gid };
    Ok(Options { clients: clients.clone(), tls: tls.acceptor()?, owner })
}

async fn one(listener: Listener, routes: tonic::service::Routes, stop: CancellationToken) -> Result<()> {
    control::server()
        .add_routes(routes)
        .serve_with_incoming_shutdown(listener, stop.cancelled_owned())
        .await
        .map_err(|e| Error::environment(format!("failed to serve: {e}")))
}

/// The two grades of an end.
#[derive(Clone, Default)]
struct Stop {
    /// No new client is let in, and what runs comes to its end.
    asked: CancellationToken,
    /// What runs is cancelled.
    hurried: CancellationToken,
}

impl Stop {
    /// Waits until clients that do not leave after all was cancelled, as one that was stopped, are left behind.
    async fn patience_is_over(&self) {
        self.hurried.cancelled().await;
        tokio::time::sleep(FAREWELL).await;
        tracing::warn!("clients that did not leave are left behind");
    }
}

/// Asks for an end at SIGTERM, SIGINT, when the store is `broken`, or when the engine has been idle for long enough;
/// hurries at the next signal.
fn until_stopped(
    stop: Stop,
    broken: CancellationToken,
    clients: Clients,
    idle: Option<Duration>,
) -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to wait for signals")?;
    Ok(async move {
        let idle = async {
            match idle {
                Some(timeout) => clients.idle_for(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => tracing::info!("told to stop"),
            _ = interrupt.recv() => tracing::info!("told to stop"),
            () = broken.cancelled() => {
                tracing::error!("the engine ends when its builds have; the next one opens the store again");
            }
            () = idle => tracing::info!("idle, stopping"),
        }
        stop.asked.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop again, cancelling builds");
        stop.hurried.cancel();
    })
}
