//! The client's ssh agent as a socket that a step can open.

use std::path::PathBuf;

use errdefs::Result;
use refs::Refs;
use session::{AgentSocket, Session, SocketOwner};
use snapshot::TreeWriter;

/// A socket in a folder of the store. Both are gone when this is dropped.
pub struct StepAgent {
    socket: AgentSocket,
    #[expect(dead_code, reason = "held, not read")]
    folder: TreeWriter,
}

impl StepAgent {
    /// The agent that `options` name. `None` where the client does not have it and the step can do without.
    pub async fn open(refs: &Refs, session: Session, options: &llb::SshOpt) -> Result<Option<Self>> {
        let folder = refs.new_tree()?;
        let owner = SocketOwner { uid: options.uid, gid: options.gid, mode: options.mode };
        match AgentSocket::open(session, &options.id, &folder.path(), owner).await {
            Ok(socket) => Ok(Some(StepAgent { socket, folder })),
            Err(_) if options.optional => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.socket.path().to_owned()
    }
}
