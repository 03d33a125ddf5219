use std::collections::BTreeMap;

use errdefs::{Code, Error, Result, ResultExt as _};
use hyper_util::rt::TokioIo;
use proto::control as pb;
use proto::control::control_client::ControlClient;
use session::grpcerr;
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Uri};

use crate::address::Address;
use crate::usage::{PruneRequest, UsageRecord};

/// A connection to an engine. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Client {
    address: Address,
    channel: Channel,
}

/// What an engine says it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineVersion {
    pub package: String,
    pub version: String,
    pub revision: String,
}

/// One worker of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    pub id: String,
    pub labels: BTreeMap<String, String>,
    /// As `linux/amd64`, most wanted first.
    pub platforms: Vec<String>,
}

impl Client {
    /// Connects. Fails with code `Unavailable` when nobody listens.
    pub async fn connect(address: &Address) -> Result<Self> {
        let target = address.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let target = target.clone();
            async move {
                Ok::<_, std::io::Error>(TokioIo::new(match target {
                    Address::Unix(path) => Either::Unix(UnixStream::connect(path).await?),
                    Address::Tcp(host) => Either::Tcp(TcpStream::connect(host).await?),
                }))
            }
        });
        let channel = proto::transport::endpoint().connect_with_connector(connector).await.map_err(|e| {
            let why = root_cause(&e);
            Error::environment(format!("failed to connect to the engine at `{address}`: {why}"))
                .with_code(Code::Unavailable)
        })?;
        Ok(Client { address: address.clone(), channel })
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn control(&self) -> ControlClient<Channel> {
        proto::sized!(ControlClient::new(self.channel()))
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Asks what the engine is. Nothing when it is too old to tell.
    pub async fn version(&self) -> Result<Option<EngineVersion>> {
        match self.control().info(pb::InfoRequest {}).await {
            Ok(answer) => Ok(answer.into_inner().buildkit_version.map(|v| EngineVersion {
                package: v.package,
                version: v.version,
                revision: v.revision,
            })),
            Err(status) if status.code() == tonic::Code::Unimplemented => Ok(None),
            Err(status) => {
                Err(grpcerr::from_status(status)).context("failed to ask for the engine's version")
            }
        }
    }

    pub async fn workers(&self) -> Result<Vec<Worker>> {
        let answer = self.control().list_workers(pb::ListWorkersRequest { filter: Vec::new() }).await;
        let answer = answer.map_err(grpcerr::from_status).context("failed to list workers")?.into_inner();
        Ok(answer
            .record
            .into_iter()
            .map(|w| Worker {
                id: w.id,
                labels: w.labels.into_iter().collect(),
                platforms: w.platforms.iter().map(platform).collect(),
            })
            .collect())
    }

    /// What takes up disk, after `filter` in containerd's syntax.
    pub async fn disk_usage(&self, filter: &[String]) -> Result<Vec<UsageRecord>> {
        let request = pb::DiskUsageRequest { filter: filter.to_vec(), age_limit: 0 };
        let answer = self.control().disk_usage(request).await;
        let answer = answer.map_err(grpcerr::from_status).context("failed to call diskusage")?.into_inner();
        Ok(answer.record.into_iter().map(UsageRecord::from).collect())
    }

    /// Removes what is not in use, and tells every record that went.
    pub async fn prune(&self, request: &PruneRequest, mut removed: impl FnMut(UsageRecord)) -> Result<()> {
        let answer = self.control().prune(request.to_wire()).await;
        let mut stream = answer.map_err(grpcerr::from_status).context("failed to call prune")?.into_inner();
        while let Some(record) = stream.message().await.map_err(grpcerr::from_status)? {
            removed(UsageRecord::from(record));
        }
        Ok(())
    }
}

fn platform(p: &proto::pb::Platform) -> String {
    [&p.os, &p.architecture, &p.variant]
        .into_iter()
        .filter(|s| !s.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join("/")
}

/// tonic says "transport error"; the reason is underneath.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Either kind of connection.
enum Either {
    Unix(UnixStream),
    Tcp(TcpStream),
}

mod io {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Either;

    impl AsyncRead for Either {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.get_mut() {
                Either::Unix(s) => Pin::new(s).poll_read(cx, buf),
                Either::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            }
        }
    }

    impl AsyncWrite for Either {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            match self.get_mut() {
                Either::Unix(s) => Pin::new(s).poll_write(cx, buf),
                Either::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.get_mut() {
                Either::Unix(s) => Pin::new(s).poll_flush(cx),
                Either::Tcp(s) => Pin::new(s).poll_flush(cx),
            }
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.get_mut() {
                Either::Unix(s) => Pin::new(s).poll_shutdown(cx),
                Either::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            }
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            match self.get_mut() {
                Either::Unix(s) => Pin::new(s).poll_write_vectored(cx, bufs),
                Either::Tcp(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            }
        }

        fn is_write_vectored(&self) -> bool {
            match self {
                Either::Unix(s) => s.is_write_vectored(),
                Either::Tcp(s) => s.is_write_vectored(),
            }
        }
    }
}
