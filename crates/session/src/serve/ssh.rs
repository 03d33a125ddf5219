//! The client's ssh agents, as a service.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use futures_util::StreamExt as _;
use proto::sshforward::ssh_server::Ssh;
use proto::sshforward::{BytesMessage, CheckAgentRequest, CheckAgentResponse};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::session::{DEFAULT_ID, SSH_ID};
use crate::tunnel;

/// Messages on their way to the engine.
const QUEUE: usize = 4;
/// Most bytes of a message between a program and its agent (OpenSSH's own limit).
const MOST: usize = 256 << 10;
/// What an agent answers to what it does not do (draft-ietf-sshm-ssh-agent, SSH_AGENT_FAILURE).
const FAILURE: &[u8] = &[0, 0, 0, 1, 5];
const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;

/// Agents by id: where each listens.
pub(super) struct Agents(pub BTreeMap<String, PathBuf>);

#[tonic::async_trait]
impl Ssh for Agents {
    type ForwardAgentStream = ReceiverStream<Result<BytesMessage, Status>>;

    async fn check_agent(
        &self,
        request: Request<CheckAgentRequest>,
    ) -> Result<Response<CheckAgentResponse>, Status> {
        self.find(&request.get_ref().id).map(|_| Response::new(CheckAgentResponse {}))
    }

    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        let id = request.metadata().get(SSH_ID).and_then(|id| id.to_str().ok()).unwrap_or(DEFAULT_ID);
        let agent = UnixStream::connect(self.find(id)?).await;
        let agent = agent.map_err(|e| Status::unavailable(format!("failed to reach ssh agent {id}: {e}")))?;
        let (outgoing, messages) = mpsc::channel(QUEUE);
        let (answers, mut ready) = mpsc::channel::<BytesMessage>(QUEUE);
        let incoming = request.into_inner().map(|message| message.map(|m| m.data));
        let program = tunnel::join(incoming.boxed(), answers, |data| BytesMessage { data });
        tokio::spawn(async move {
            while let Some(message) = ready.recv().await {
                if outgoing.send(Ok(message)).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            if let Err(e) = attend(program, agent).await {
                tracing::debug!("a connection to an ssh agent broke: {e}");
            }
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

impl Agents {
    fn find(&self, id: &str) -> Result<&PathBuf, Status> {
        let id = if id.is_empty() { DEFAULT_ID } else { id };
        self.0.get(id).ok_or_else(|| Status::unknown(format!("unset ssh forward key {id}")))
    }
}

/// Lets a program of the build list keys and sign with them, and nothing else: it neither adds keys nor takes them away.
async fn attend(
    mut program: impl AsyncRead + AsyncWrite + Unpin,
    mut agent: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    while let Some(asked) = message(&mut program).await? {
        let answer = match asked.first() {
            Some(&(REQUEST_IDENTITIES | SIGN_REQUEST)) => {
                agent.write_all(&framed(&asked)).await?;
                message(&mut agent).await?.map(|answer| framed(&answer))
            }
            _ => Some(FAILURE.to_vec()),
        };
        program.write_all(&answer.ok_or(io::ErrorKind::UnexpectedEof)?).await?;
        program.flush().await?;
    }
    Ok(())
}

/// The next message without its length; `None` at the end.
async fn message(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let len = match from.read_u32().await {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        len => len? as usize,
    };
    if len > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {len} bytes")));
    }
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

fn framed(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes()[..], message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_are_listed_and_used_and_not_changed() {
        let (program, mut user) = tokio::io::duplex(1024);
        let (agent, mut keys) = tokio::io::duplex(1024);
        tokio::spawn(attend(program, agent));
        // Remove all identities; then list them.
        user.write_all(&framed(&[19])).await.unwrap();
        assert_eq!(message(&mut user).await.unwrap().unwrap(), [5]);
        user.write_all(&framed(&[REQUEST_IDENTITIES])).await.unwrap();
        assert_eq!(message(&mut keys).await.unwrap().unwrap(), [REQUEST_IDENTITIES]);
        keys.write_all(&framed(&[12, 0, 0, 0, 0])).await.unwrap();
        assert_eq!(message(&mut user).await.unwrap().unwrap(), [12, 0, 0, 0, 0]);
        drop(user);
        assert_eq!(message(&mut keys).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_huge_message_ends_the_connection() {
        let (program, mut user) = tokio::io::duplex(64);
        let (agent, _keys) = tokio::io::duplex(64);
        user.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        assert!(attend(program, agent).await.is_err());
    }
}
