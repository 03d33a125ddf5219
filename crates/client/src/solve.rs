//! One build: Session, Status and Solve side by side.

use std::sync::Arc;
use std::time::Duration;

use errdefs::{Error, Result, ResultExt as _};
use progress::SolveStatus;
use proto::control as pb;
use session::{Attachables, grpcerr};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::IntoStreamingRequest as _;

use crate::address::Address;
use crate::bridge::{Made, Metadata};
use crate::client::Client;
use crate::request::{SolveRequest, SolveResponse, new_id};
use crate::status::solve_status;

/// Takes status messages as they come. When it is full, the stream waits.
pub type StatusSink = mpsc::Sender<SolveStatus>;

/// The status stream may go on for this long without a word after the build is over.
const STATUS_SILENCE: Duration = Duration::from_secs(5);
/// After a cancel, the engine has this long to tell how its steps ended.
const FAREWELL: Duration = Duration::from_millis(500);
/// Tunnel messages under way. Each carries at most a few frames.
const TUNNEL_DEPTH: usize = 64;

impl Client {
    /// Runs a build to its end. The engine reaches the client through `attachables` meanwhile, and `status` gets all
    /// that it tells; `status` is dropped at the end. Cancelling ends the build in the engine too.
    pub async fn solve(
        &self,
        request: &SolveRequest,
        attachables: Attachables,
        status: StatusSink,
        cancel: &CancellationToken,
    ) -> Result<SolveResponse> {
        if request.ask_frontend {
            return self.solve_between(request, attachables, status, cancel, |_| async { Ok(()) }).await;
        }
        self.solve_asking(request, attachables, status, cancel, None).await
    }

    /// As [`Client::solve`], for a request that asks its frontend: `between` has what that made before the build has it.
    /// Its error ends the build.
    pub async fn solve_between<F: Future<Output = Result<()>> + Send + 'static>(
        &self,
        request: &SolveRequest,
        attachables: Attachables,
        status: StatusSink,
        cancel: &CancellationToken,
        between: impl FnOnce(Arc<Made>) -> F + Send + 'static,
    ) -> Result<SolveResponse> {
        let (client, asked) = (self.clone(), request.clone());
        let asking = async move {
            client
                .ask_frontend(asked, |made| async move {
                    let made = Arc::new(made);
                    between(Arc::clone(&made)).await?;
                    Ok(made.metadata.clone())
                })
                .await
        };
        let asking = AbortOnDropHandle::new(tokio::spawn(asking));
        self.solve_asking(request, attachables, status, cancel, Some(asking)).await
    }

    async fn solve_asking(
        &self,
        request: &SolveRequest,
        attachables: Attachables,
        status: StatusSink,
        cancel: &CancellationToken,
        asking: Option<AbortOnDropHandle<Result<Metadata>>>,
    ) -> Result<SolveResponse> {
        let session_id = new_id();
        let done = CancellationToken::new();
        let _done = done.clone().drop_guard();

        let mut wire = request.to_wire(&session_id);
        if attachables.has_judge() {
            wire.source_policy_session.clone_from(&session_id);
        }
        let session = self.open_session(&session_id, &request.shared_key, attachables, done.clone());
        let follow = self.clone().follow(request.id.clone(), status, done.clone(), cancel.clone());
        let follow = tokio::spawn(follow);
        let mut answer = self.run(wire, cancel, session).await;
        if let (Ok(answer), Some(asking)) = (&mut answer, asking) {
            let asked = asking.await.map_err(|e| Error::internal(e.to_string()))?;
            answer.metadata = asked.context("failed to solve")?;
        }

        let answer = match answer {
            Err(e) => Err(self.with_last_words(e).await),
            fine => fine,
        };
        done.cancel();
        if cancel.is_cancelled() {
            let _ = tokio::time::timeout(FAREWELL, follow).await;
        } else {
            let _ = follow.await;
        }
        answer
    }

    /// Serves a session that several builds refer to by its id, as `local-sessionid:NAME`, until the handle is dropped.
    pub fn share_session(
        &self,
        id: &str,
        shared_key: &str,
        attachables: Attachables,
    ) -> AbortOnDropHandle<Result<()>> {
        AbortOnDropHandle::new(self.open_session(id, shared_key, attachables, CancellationToken::new()))
    }

    /// Sends the request, and waits for the answer, a cancel, or the end of the session.
    async fn run(
        &self,
        wire: pb::SolveRequest,
        cancel: &CancellationToken,
        mut session: JoinHandle<Result<()>>,
    ) -> Result<SolveResponse> {
        let mut control = self.control();
        let solve = control.solve(wire);
        tokio::pin!(solve);
        let mut session_over = false;
        loop {
            tokio::select! {
                answer = &mut solve => {
                    let answer = answer.map_err(grpcerr::from_status).context("failed to solve")?;
                    let exporter_response = answer.into_inner().exporter_response;
                    return Ok(SolveResponse { exporter_response, ..SolveResponse::default() });
                }
                () = cancel.cancelled() => return Err(Error::canceled().context("failed to solve")),
                // The engine notices too, and its answer says more; so only remember it.
                ended = &mut session, if !session_over => {
                    session_over = true;
                    tracing::debug!(?ended, "the session ended before the build");
                }
            }
        }
    }

    /// Opens the tunnel and serves it until `done`.
    pub(crate) fn open_session(
        &self,
        id: &str,
        shared_key: &str,
        attachables: Attachables,
        done: CancellationToken,
    ) -> JoinHandle<Result<()>> {
        let (outgoing, messages) = mpsc::channel(TUNNEL_DEPTH);
        let mut call = ReceiverStream::new(messages).into_streaming_request();
        let attachables = match self.address() {
            Address::Unix(_) => attachables.hand_over(),
            Address::Tcp(_) | Address::Program(_) => attachables,
        };
        attachables.hello(id, "kiln", shared_key).to_metadata(call.metadata_mut());
        let mut control = self.control();
        let serve = async move {
            let incoming = control.session(call).await;
            let incoming = incoming.map_err(grpcerr::from_status).context("failed to open a session")?;
            attachables.serve(session::tunnel(incoming.into_inner(), outgoing)).await
        };
        tokio::spawn(async move { done.run_until_cancelled(serve).await.unwrap_or(Ok(())) })
    }

    /// Passes on status messages. Once the build is `over` it stays as long as the engine has something to say: the
    /// stream of a build ends by itself, but a build that was refused at the door has none.
    pub(crate) async fn follow(
        self,
        id: String,
        sink: StatusSink,
        over: CancellationToken,
        cancel: CancellationToken,
    ) -> Result<()> {
        let call = self.control().status(pb::StatusRequest { r#ref: id }).await;
        let mut stream = call.map_err(grpcerr::from_status).context("failed to get status")?.into_inner();
        let mut spoke = false;
        loop {
            let silence = async {
                over.cancelled().await;
                let patience = if spoke && !cancel.is_cancelled() { STATUS_SILENCE } else { FAREWELL };
                tokio::time::sleep(patience).await;
            };
            let message = tokio::select! {
                message = stream.message() => {
                    message.map_err(grpcerr::from_status).context("failed to receive status")?
                }
                () = silence => None,
            };
            let Some(message) = message else { return Ok(()) };
            spoke = true;
            if sink.send(solve_status(message)).await.is_err() {
                return Ok(());
            }
        }
    }
}
