//! The services behind [`Attachables`].

mod auth;
mod content;
mod exporters;
mod filesync;
mod health;
mod judge;
mod outputs;
mod secrets;
mod ssh;
mod store;
mod strict;
mod upload;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use errdefs::{Error, Result};
use futures_util::StreamExt;
pub use health::AlwaysServing;
use proto::content::content_server::ContentServer;
use proto::exporter::exporter_server::ExporterServer;
use proto::filesend::file_send_server::FileSendServer;
use proto::filesync::auth_server::AuthServer;
use proto::filesync::file_sync_server::FileSyncServer;
use proto::health::health_server::HealthServer;
use proto::policysession::policy_verifier_server::PolicyVerifierServer;
use proto::secrets::secrets_server::SecretsServer;
use proto::sized;
use proto::sshforward::ssh_server::SshServer;
use proto::upload::upload_server::UploadServer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::Connected;

use crate::offer::Attachables;
use crate::session::{DIFF_COPY, SEND};
use crate::tunnel::Watched;

/// The methods that `offers` answers, as the engine is told.
pub(crate) fn methods(offers: &Attachables) -> Vec<String> {
    let groups: [(bool, &[&str]); 10] = [
        (true, &["/grpc.health.v1.Health/Check"]),
        (!offers.dirs.is_empty(), &[DIFF_COPY]),
        (!offers.outputs.is_empty(), &[SEND]),
        (offers.secrets.is_some(), &["/moby.buildkit.secrets.v1.Secrets/GetSecret"]),
        (
            offers.auth.is_some(),
            &[
                "/moby.filesync.v1.Auth/Credentials",
                "/moby.filesync.v1.Auth/FetchToken",
                "/moby.filesync.v1.Auth/GetTokenAuthority",
                "/moby.filesync.v1.Auth/VerifyTokenAuthority",
            ],
        ),
        (
            offers.exporters.is_some(),
            &["/moby.exporter.v1.Exporter/FindExporters", "/moby.exporter.v1.Exporter/FinalizeExport"],
        ),
        (
            offers.judge.is_some(),
            &["/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy"],
        ),
        (
            !offers.agents.is_empty(),
            &["/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"],
        ),
        (!offers.uploads.is_empty(), &["/moby.upload.v1.Upload/Pull"]),
        (
            !offers.stores.is_empty(),
            &[
                "/containerd.services.content.v1.Content/Info",
                "/containerd.services.content.v1.Content/Read",
                "/containerd.services.content.v1.Content/Write",
            ],
        ),
    ];
    groups.iter().filter(|g| g.0).flat_map(|g| g.1).map(|m| (*m).to_owned()).collect()
}

fn routes(offers: Attachables) -> Routes {
    let mut routes = Routes::builder();
    routes.add_service(HealthServer::new(health::AlwaysServing));
    if !offers.dirs.is_empty() {
        routes.add_service(sized!(FileSyncServer::new(filesync::Dirs(offers.dirs))));
    }
    if !offers.outputs.is_empty() {
        routes
            .add_service(strict::Strict(sized!(FileSendServer::new(outputs::Outputs::new(offers.outputs)))));
    }
    if let Some(store) = offers.secrets {
        routes.add_service(sized!(SecretsServer::new(secrets::Secrets(store))));
    }
    if let Some(source) = offers.auth {
        routes.add_service(sized!(AuthServer::new(auth::Auth::new(source))));
    }
    if let Some(source) = offers.exporters {
        routes.add_service(sized!(ExporterServer::new(exporters::Exporters(source))));
    }
    if let Some(judge) = offers.judge {
        routes.add_service(sized!(PolicyVerifierServer::new(judge::Judges(judge))));
    }
    if !offers.agents.is_empty() {
        routes.add_service(sized!(SshServer::new(ssh::Agents(offers.agents))));
    }
    if !offers.uploads.is_empty() {
        routes.add_service(sized!(UploadServer::new(upload::Uploads::new(offers.uploads))));
    }
    if !offers.stores.is_empty() {
        routes.add_service(sized!(ContentServer::new(content::Stores(Arc::new(offers.stores)))));
    }
    routes.routes()
}

/// Answers on `io` until it ends; dropping the future ends it.
pub(crate) async fn serve(
    mut offers: Attachables,
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<()> {
    // The engine may open them at any time until then.
    let _open_till_the_end = std::mem::take(&mut offers.handed);
    serve_routes(routes(offers), io).await
}

/// Answers calls of `routes` on one connection until it ends; dropping the future ends it.
pub async fn serve_routes(
    routes: Routes,
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<()> {
    let closed = CancellationToken::new();
    let _close_at_end = closed.clone().drop_guard();
    let io = Connection(Watched::new(io, closed.clone()));
    // The server would leave once there are no more connections to come.
    let incoming =
        futures_util::stream::iter([Ok::<_, std::io::Error>(io)]).chain(futures_util::stream::pending());
    let server = proto::transport::server().add_routes(routes).serve_with_incoming(incoming);
    tokio::select! {
        () = closed.cancelled() => Ok(()),
        ended = server => ended.map_err(|e| Error::environment(format!("connection ended: {e}"))),
    }
}

/// One connection, in the form that tonic takes.
struct Connection<Io>(Watched<Io>);

impl<Io> Connected for Connection<Io> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl<Io: AsyncRead + Unpin> AsyncRead for Connection<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Connection<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
