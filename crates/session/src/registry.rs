//! The engine's table of open sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use errdefs::{Class, Code, Error, Result, ResultExt};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::handover::{Folders, Peer};
use crate::health::{self, Policy};
use crate::hello::Hello;
use crate::session::Session;
use crate::tunnel::Watched;

/// All open sessions. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Inner>);

#[derive(Default)]
struct Inner {
    open: Mutex<HashMap<String, Session>>,
    opened: Notify,
}

impl Sessions {
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a session open on `io` until the client leaves or stops answering. An error means that it did not end
    /// of its own will.
    pub async fn serve(
        &self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        hello: Hello,
    ) -> Result<()> {
        self.serve_peer(io, hello, None).await
    }

    /// The same for a client of which the kernel told who it is. One of this user may hand folders and files over.
    pub async fn serve_peer(
        &self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        hello: Hello,
        peer: Option<Peer>,
    ) -> Result<()> {
        if hello.id.is_empty() {
            return Err(Error::user("session has no id"));
        }
        let closed = CancellationToken::new();
        let _close_at_end = closed.clone().drop_guard();
        let channel = connect(Watched::new(io, closed.clone())).await?;
        let policy = Policy::new(hello.health_timeout);
        let id = hello.id.clone();
        let folders = Folders::take(&hello.folders, peer);
        let own = peer.filter(Peer::is_own).filter(|_| hello.files);
        let session = Session::new(hello, folders, own, channel.clone(), closed.clone());
        let _entry = Entry::insert(self.0.clone(), id, session);
        tokio::select! {
            () = closed.cancelled() => Ok(()),
            failure = health::watch(channel, policy) => Err(failure),
        }
    }

    /// Finds a session, waiting up to `patience` for a client that has not called yet. A `prefix:` in front of the id
    /// tells contexts of one session apart and is no part of its name.
    pub async fn get(&self, id: &str, patience: Duration) -> Result<Session> {
        let id = bare(id);
        let search = async {
            loop {
                let changed = self.0.opened.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(session) = self.find(id) {
                    return session;
                }
                changed.await;
            }
        };
        tokio::time::timeout(patience, search).await.map_err(|_| {
            let message = format!("no active session for {id}: context deadline exceeded");
            Error::new(Class::Environment, Code::DeadlineExceeded, message)
        })
    }

    /// Finds a session that is open now.
    pub fn find(&self, id: &str) -> Option<Session> {
        self.0.open().get(bare(id)).filter(|s| !s.is_closed()).cloned()
    }

    /// How many sessions are open.
    pub fn count(&self) -> usize {
        self.0.open().len()
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the session out of the table when its connection ends, unless a newer one has taken its place.
struct Entry {
    table: Arc<Inner>,
    id: String,
    session: Session,
}

impl Entry {
    fn insert(table: Arc<Inner>, id: String, session: Session) -> Self {
        table.open().insert(id.clone(), session.clone());
        table.opened.notify_waiters();
        Entry { table, id, session }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.table.open();
        if open.get(&self.id).is_some_and(|current| current.is_same(&self.session)) {
            open.remove(&self.id);
        }
    }
}

fn bare(id: &str) -> &str {
    match id.split_once(':') {
        Some((_, rest)) if !rest.is_empty() => rest,
        _ => id,
    }
}

async fn connect(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<tonic::transport::Channel> {
    let mut io = Some(io);
    // There is one connection; a channel that wants another is at its end.
    let connector = service_fn(move |_| {
        let io = io.take().map(TokioIo::new).ok_or(std::io::ErrorKind::ConnectionAborted);
        std::future::ready(io.map_err(std::io::Error::from))
    });
    proto::transport::endpoint()
        .connect_with_connector(connector)
        .await
        .map_err(|e| Error::environment(e.to_string()))
        .context("failed to open the session")
}
