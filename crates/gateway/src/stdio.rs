//! A session on the standard streams of a process.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use errdefs::{Result, ResultExt};
use proto::gateway::llb_bridge_server::LlbBridgeServer;
use proto::health::health_server::HealthServer;
use proto::sized;
use tokio::io::Join;
use tokio::net::unix::pipe;
use tonic::service::Routes;

use crate::service::Service;
use crate::session::Session;

/// Our ends of the pipes, and those of the process: its stdin and its stdout.
pub struct Stdio {
    pub io: Join<pipe::Receiver, pipe::Sender>,
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
}

impl Stdio {
    pub fn open() -> Result<Self> {
        let (sender, stdin) = pipe::pipe().context("failed to make a pipe")?;
        let (stdout, receiver) = pipe::pipe().context("failed to make a pipe")?;
        Ok(Stdio {
            io: tokio::io::join(receiver, sender),
            stdin: stdin.into_blocking_fd().context("failed to make a pipe")?,
            stdout: stdout.into_blocking_fd().context("failed to make a pipe")?,
        })
    }
}

/// Serves the session until the process closes its streams.
pub async fn serve(session: Arc<Session>, io: Join<pipe::Receiver, pipe::Sender>) -> Result<()> {
    let mut routes = Routes::builder();
    routes.add_service(HealthServer::new(::session::AlwaysServing));
    routes.add_service(sized!(LlbBridgeServer::new(Service(session))));
    ::session::serve_routes(routes.routes(), io).await
}
