//! The client's ssh agents.

use errdefs::{Error, Result};
use futures_util::{TryFutureExt, TryStreamExt};
use proto::sshforward::ssh_client::SshClient;
use proto::sshforward::{BytesMessage, CheckAgentRequest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::session::Session;
use crate::{grpcerr, tunnel};

pub(crate) const SSH_ID: &str = "buildkit.ssh.id";
pub(crate) const DEFAULT_ID: &str = "default";
/// Messages on their way to the agent.
const QUEUE: usize = 4;

impl Session {
    /// Whether the client forwards agent `id`; the empty id is `default`.
    ///
    /// # Errors
    /// What the client says where it does not, with code `Unimplemented` where it forwards none at all.
    pub async fn check_ssh_agent(&self, id: &str) -> Result<()> {
        let mut client = proto::sized!(SshClient::new(self.channel()));
        let request = CheckAgentRequest { id: or_default(id).to_owned() };
        client.check_agent(request).await.map(drop).map_err(grpcerr::from_status)
    }

    /// Opens a connection to agent `id`.
    pub fn ssh_agent(&self, id: &str) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        let id = MetadataValue::try_from(or_default(id))
            .map_err(|_| Error::user(format!("invalid ssh id `{}`", id.escape_default())))?;
        let (outgoing, messages) = mpsc::channel(QUEUE);
        let mut call = Request::new(ReceiverStream::new(messages));
        call.metadata_mut().insert(SSH_ID, id);
        let mut client = proto::sized!(SshClient::new(self.channel()));
        // The agent is spoken to first, and until then nothing comes back, not even headers.
        let answer = async move { client.forward_agent(call).await };
        let incoming = answer.map_ok(tonic::Response::into_inner).try_flatten_stream().map_ok(|m| m.data);
        Ok(tunnel::join(Box::pin(incoming), outgoing, |data| BytesMessage { data }))
    }
}

fn or_default(id: &str) -> &str {
    if id.is_empty() { DEFAULT_ID } else { id }
}
