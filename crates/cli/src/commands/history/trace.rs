//! The trace of a build: as JSON for other tools, or as a page that is served here.

use std::convert::Infallible;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::HistoryChange;
use errdefs::{Error, Result, ResultExt as _};
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::find::{Found, Histories};
use super::jaeger::Trace;
use crate::args::HistoryTraceArgs;
use crate::console;
use crate::environment::Environment;
use crate::interrupt;

/// Draws what it finds below `/api/traces/`.
const PAGE: &str = include_str!("trace.html");
/// The longest trace that is read, in bytes.
const LONGEST: usize = 256 << 20;
/// The last spans of a build may come a moment after its end.
const LATE: Duration = Duration::from_secs(1);

pub(super) async fn trace(args: &HistoryTraceArgs, all: &Histories<'_>) -> Result<()> {
    let env = all.env;
    let mut traces = vec![load(all, &args.build).await?];
    if let Some(other) = &args.compare {
        let failed = || format!("failed to load trace for {other}");
        traces.insert(0, load(all, other).await.with_context(failed)?);
    }
    if !env.stdout_is_terminal && args.compare.is_none() {
        return console::out(format!("{:#}\n", traces[0].json));
    }
    let failed = || format!("failed to listen at `{}`", args.addr);
    let listener = TcpListener::bind(&args.addr).await.with_context(failed)?;
    let ids: Vec<&str> = traces.iter().map(|trace| trace.id.as_str()).collect();
    let url = format!("http://{}/trace/{}", listener.local_addr()?, ids.join("..."));
    console::note(format_args!("Trace available at {url}\n"));
    if env.stdout_is_terminal {
        open(&url, env);
    }
    tokio::select! {
        end = serve(&listener, traces) => end,
        () = interrupt::watch()?.cancelled_owned() => Ok(()),
    }
}

/// The trace of a build, which the engine may have to put together first.
async fn load(all: &Histories<'_>, build: &str) -> Result<Trace> {
    let mut found = completed(all.find(build).await?)?;
    if found.record.trace.is_none() {
        tokio::time::sleep(LATE).await;
        found.client.update_history(&found.record.id, HistoryChange::Finalize).await?;
        found = found.again().await?;
    }
    let Some(blob) = &found.record.trace else {
        return Err(Error::not_found(format!("build record {:?} is missing a trace", found.record.id)));
    };
    Trace::parse(&found.client.blob(&blob.digest, LONGEST).await?)
}

fn completed(found: Found) -> Result<Found> {
    match found.record.completed_at {
        Some(_) => Ok(found),
        None => {
            let message =
                format!("build {:?} is not completed, only completed builds can be traced", found.record.id);
            Err(Error::user(message).hint("wait for its end"))
        }
    }
}

/// Answers browsers, which like to open connections that they may not use.
async fn serve(listener: &TcpListener, traces: Vec<Trace>) -> Result<()> {
    let traces = Arc::new(traces);
    loop {
        let (stream, _) = listener.accept().await.context("failed to wait for a browser")?;
        let traces = Arc::clone(&traces);
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            std::future::ready(Ok::<_, Infallible>(answer(request.uri().path(), &traces)))
        });
        tokio::spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            if let Err(e) = http.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!("a browser went away: {e}");
            }
        });
    }
}

fn answer(path: &str, traces: &[Trace]) -> Response<Full<Bytes>> {
    let json = |id: &str| traces.iter().find(|trace| trace.id == id).map(|trace| trace.json.to_string());
    let (status, kind, body) = match path.strip_prefix("/api/traces/").map(json) {
        Some(Some(json)) => (StatusCode::OK, "application/json", json),
        Some(None) => (StatusCode::NOT_FOUND, "application/json", r#"{"data":null}"#.into()),
        None if path == "/" || path.starts_with("/trace/") => {
            (StatusCode::OK, "text/html; charset=utf-8", PAGE.into())
        }
        None => (StatusCode::NOT_FOUND, "text/plain", "nothing is here\n".into()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}

/// Shows a page to the user, where there is a desktop.
fn open(url: &str, env: &Environment) {
    if env.filled("DISPLAY").is_none() && env.filled("WAYLAND_DISPLAY").is_none() {
        return;
    }
    let mut browser = Command::new("xdg-open");
    browser.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(e) = browser.spawn() {
        tracing::debug!("failed to open a browser: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_traces_are_found() {
        let traces = [Trace { id: "a1".into(), json: serde_json::json!({"data": []}) }];
        let check = |path: &str, status: u16, kind: &str| {
            let response = answer(path, &traces);
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(response.headers()[CONTENT_TYPE], kind, "{path}");
        };
        check("/", 200, "text/html; charset=utf-8");
        check("/trace/a1", 200, "text/html; charset=utf-8");
        check("/trace/a1...b2", 200, "text/html; charset=utf-8");
        check("/api/traces/a1", 200, "application/json");
        check("/api/traces/b2", 404, "application/json");
        check("/favicon.ico", 404, "text/plain");
    }
}
