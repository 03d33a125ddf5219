//! A client's ssh agent as a socket of this machine.

use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use errdefs::{Code, Error, Result, ResultExt};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Session;

/// The name of the socket in its folder.
const SOCKET: &str = "agent";

/// A socket that leads to an agent. Nobody answers any more when this is dropped.
pub struct AgentSocket {
    path: PathBuf,
    _stop: DropGuard,
}

/// Who may use the socket.
#[derive(Debug, Clone, Copy)]
pub struct SocketOwner {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

impl AgentSocket {
    /// Makes the socket of agent `id` in a folder that holds nothing else.
    ///
    /// # Errors
    /// User errors where the client does not forward it.
    pub async fn open(session: Session, id: &str, folder: &Path, owner: SocketOwner) -> Result<Self> {
        session.check_ssh_agent(id).await.map_err(|e| match e.code() {
            Code::Unimplemented => {
                let id = if id.is_empty() { "default" } else { id };
                Error::user(format!("no SSH key {id:?} forwarded from the client"))
                    .hint(format!("forward one with `--ssh {id}`"))
            }
            _ => e,
        })?;
        let path = folder.join(SOCKET);
        let listener = listen(folder).with_context(|| format!("failed to listen on `{}`", path.display()))?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(owner.mode & 0o777))
            .and_then(|()| chown(&path, Some(owner.uid), Some(owner.gid)))
            .with_context(|| format!("failed to give `{}` away", path.display()))?;
        let stop = CancellationToken::new();
        let (id, stopped) = (id.to_owned(), stop.clone());
        tokio::spawn(async move { stopped.run_until_cancelled(serve(listener, session, id)).await });
        Ok(AgentSocket { path, _stop: stop.drop_guard() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The path of a socket must be short, that of a store need not be.
fn listen(folder: &Path) -> std::io::Result<UnixListener> {
    let dir = std::fs::File::open(folder)?;
    UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
}

async fn serve(listener: UnixListener, session: Session, id: String) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((mut socket, _)) = accepted else { return };
                let agent = session.ssh_agent(&id);
                connections.spawn(async move {
                    if let Ok(mut agent) = agent {
                        // Whoever closes first, the other sees it.
                        let _ = tokio::io::copy_bidirectional(&mut socket, &mut agent).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
