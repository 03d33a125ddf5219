//! A view into the engine's doings over HTTP, under the paths that tools ask buildkitd for.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use errdefs::{Result, ResultExt as _};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// Serves at `HOST:PORT` or `unix://PATH`, from now on.
pub async fn serve(address: &str) -> Result<()> {
    let began = Instant::now();
    let failed = || format!("failed to listen on `{address}`");
    if let Some(path) = address.strip_prefix("unix://") {
        if let Some(parent) = Path::new(path).parent() {
            std::fs::create_dir_all(parent).with_context(failed)?;
        }
        // One that is there is of an engine that has ended.
        let _nothing_there = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).with_context(failed)?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, began));
            }
        });
        return Ok(());
    }
    let listener = TcpListener::bind(address.trim_start_matches("tcp://")).await.with_context(failed)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, began));
        }
    });
    Ok(())
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, began: Instant) {
    let answer = service_fn(move |request: Request<Incoming>| async move {
        Ok::<_, Infallible>(page(request.uri().path(), began))
    });
    let served =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
    if let Err(e) = served {
        tracing::debug!("a reader of the debug pages left: {e}");
    }
}

fn page(path: &str, began: Instant) -> Response<Full<Bytes>> {
    let text = match path {
        "/debug/vars" => vars(began),
        "/debug/pprof/goroutine" => threads(),
        _ => {
            let mut response =
                Response::new(Full::from("there are /debug/vars and /debug/pprof/goroutine\n"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
    };
    Response::new(Full::from(text))
}

fn vars(began: Instant) -> String {
    let metrics = tokio::runtime::Handle::current().metrics();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).map_or("", str::trim);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": began.elapsed().as_secs(),
        "workers": metrics.num_workers(),
        "tasks": metrics.num_alive_tasks(),
        "queued_tasks": metrics.global_queue_depth(),
        "resident_memory": memory,
    })
    .to_string()
}

/// What each thread waits for.
fn threads() -> String {
    let mut text = format!("tasks: {}\n", tokio::runtime::Handle::current().metrics().num_alive_tasks());
    for entry in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let (name, waits) = (read("comm"), read("wchan"));
        let _ = writeln!(text, "{} {} {waits}", entry.file_name().display(), name.trim());
    }
    text
}
