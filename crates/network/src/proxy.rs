//! A proxy for one container: it listens in the container's namespace, opens TLS with certificates that it makes, asks
//! whether each request may be made, makes it from elsewhere, and writes down what came back.
//!
//! What is known of a response is written down before its last byte is handed on: who reads it to its end and exits can
//! be sure that it was.

mod authority;
mod body;
mod egress;
mod serve;
mod traffic;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Result, ResultExt as _};
use executor::Namespace;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use authority::Authority;
pub(crate) use egress::Egress;
use serve::Server;
use traffic::Recorder;
pub use traffic::{Material, Missing, Request, Traffic};

/// Addresses that are reached without the proxy: those of the container itself.
const NOT_PROXIED: &str = "127.0.0.1,localhost,::1";

/// Says what a container may fetch.
#[async_trait]
pub trait Judge: Send + Sync {
    /// What becomes of a request for a URL, which has neither a login nor the port that its scheme stands for.
    async fn judge(&self, url: &str) -> Judgement;
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    Allowed,
    /// Another URL is fetched. Of requests that do more than fetch, none can be made another.
    Replaced(String),
    /// With the reason.
    Denied(String),
}

/// A proxy that runs. Dropping it ends it.
pub(crate) struct Proxy {
    namespace: Namespace,
    address: SocketAddr,
    certificate: String,
    recorder: Arc<Recorder>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

impl Proxy {
    pub fn start(egress: Egress, judge: Arc<dyn Judge>) -> Result<Proxy> {
        let namespace = Namespace::new().context("failed to make a network namespace")?;
        let listen = || std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = namespace.enter(listen).and_then(into_tokio).context("failed to listen for a step")?;
        let address = listener.local_addr().context("failed to listen for a step")?;
        let authority = Authority::new()?;
        let certificate = authority.certificate().to_owned();
        let (recorder, tasks, stop) =
            (Arc::new(Recorder::default()), TaskTracker::new(), CancellationToken::new());
        let server =
            Server::new(egress, judge, authority, Arc::clone(&recorder), tasks.clone(), stop.clone())?;
        tasks.spawn(server.run(listener));
        let _stop_when_dropped = stop.clone().drop_guard();
        Ok(Proxy { namespace, address, certificate, recorder, tasks, stop, _stop_when_dropped })
    }

    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// What programs look at that want to be told of a proxy.
    pub fn env(&self) -> Vec<String> {
        let url = format!("http://{}", self.address);
        let proxied =
            ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].map(|name| format!("{name}={url}"));
        let not = ["NO_PROXY", "no_proxy"].map(|name| format!("{name}={NOT_PROXIED}"));
        proxied.into_iter().chain(not).collect()
    }

    /// In PEM, what stands behind the certificates that the proxy shows.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Ends it, and tells what went through it.
    pub async fn stop(self) -> Traffic {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.recorder.take()
    }
}

fn into_tokio(listener: std::net::TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

#[cfg(test)]
mod tests;
