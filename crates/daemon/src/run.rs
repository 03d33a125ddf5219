//! From arguments to a running engine, and its end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use errdefs::{Class, Error, Result, ResultExt};
use futures_util::future::try_join_all;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::config::Config;
use crate::idle::Clients;
use crate::listen::{Listener, listen};
use crate::{foreign, lock, wiring};

/// Where root's configuration lies.
const CONFIG_FILE: &str = "/etc/kiln/kiln.toml";

/// Runs the engine until it is told to stop. `args` begin with the name of the program.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let (args, ignored) = foreign::without(args);
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(e) => e.exit(),
    };
    match run(&args, &ignored) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tell(&e);
            ExitCode::FAILURE
        }
    }
}

/// The daemon's errors go to its log, which is its standard error.
fn tell(e: &Error) {
    let mut text = format!("ERROR: {e}\n");
    for hint in e.hints() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    if e.class() == Class::Internal {
        text.push_str("this is a fault of Kiln: please report it\n");
    }
    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
}

fn run(args: &Args, ignored: &[String]) -> Result<()> {
    let config_file = args.config.clone().unwrap_or_else(|| PathBuf::from(CONFIG_FILE));
    let config = Config::load(&config_file, args.config.is_some())?;
    start_log(args.debug || config.debug);
    if !ignored.is_empty() {
        tracing::warn!("flags that have no use here: {}", ignored.join(", "));
    }
    for key in config.unused() {
        tracing::warn!("the key `{key}` of `{}` has no use here yet", config_file.display());
    }
    let root = root(args, &config)?;
    let lock = lock::take(&root)?;
    // Before any other thread: it starts the process that makes containers.
    let executor = wiring::executor(&root, &config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result =
        runtime.context("failed to start the engine")?.block_on(serve(args, &config, &root, executor));
    drop(lock);
    result
}

fn root(args: &Args, config: &Config) -> Result<PathBuf> {
    if let Some(root) = args.root.clone().or_else(|| config.root.clone()) {
        return std::path::absolute(&root).with_context(|| format!("failed to find `{}`", root.display()));
    }
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/kiln"));
    }
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share")));
    let data = data
        .ok_or_else(|| Error::environment("neither HOME nor XDG_DATA_HOME is set").hint("give `--root`"))?;
    Ok(data.join("kiln"))
}

fn start_log(debug: bool) {
    let level = if debug { "debug,h2=info,hyper=info,tower=info" } else { "info" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("KILN_LOG").unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

async fn serve(args: &Args, config: &Config, root: &Path, executor: executor::Executor) -> Result<()> {
    let clients = Clients::default();
    let engine = wiring::engine(args, config, root, executor).await?;
    let refs = engine.refs().clone();
    let routes = control::routes(engine.clone(), &wiring::about(args, config, root));
    let mut listeners = Vec::new();
    for address in addresses(args, config, root) {
        listeners.extend(listen(&address, &clients)?);
        tracing::info!("listening on {address}");
    }
    let stop = CancellationToken::new();
    tokio::spawn(until_stopped(stop.clone(), clients, args.idle_timeout)?);
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        stopped.await;
        // Builds are waited for. A user's container may run for ever.
        engine.end_containers();
    });
    let served = try_join_all(listeners.into_iter().map(|l| one(l, routes.clone(), stop.clone()))).await;
    refs.close().await;
    tracing::info!("stopped");
    served.map(drop)
}

fn addresses(args: &Args, config: &Config, root: &Path) -> Vec<String> {
    match (&args.addrs[..], &config.grpc.address[..]) {
        ([], []) => vec![format!("unix://{}", root.join("engine.sock").display())],
        ([], configured) => configured.to_vec(),
        (given, _) => given.to_vec(),
    }
}

async fn one(listener: Listener, routes: tonic::service::Routes, stop: CancellationToken) -> Result<()> {
    control::server()
        .add_routes(routes)
        .serve_with_incoming_shutdown(listener, stop.cancelled_owned())
        .await
        .map_err(|e| Error::environment(format!("failed to serve: {e}")))
}

/// Fires `stop` at SIGTERM, SIGINT, or when the engine has been idle for long enough.
fn until_stopped(
    stop: CancellationToken,
    clients: Clients,
    idle: Option<std::time::Duration>,
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
            () = idle => tracing::info!("idle, stopping"),
        }
        stop.cancel();
    })
}
