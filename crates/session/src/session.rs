//! What the engine can ask of one client.

mod agent;
mod content;
mod exporters;
mod send;
mod ssh;

pub use agent::{AgentSocket, SocketOwner};

use std::sync::Arc;

use bytes::Bytes;
use errdefs::{Code, Error, Result, ResultExt};
use futures_util::{Stream, StreamExt, TryStreamExt};
use proto::filesync::auth_client::AuthClient;
use proto::filesync::file_sync_client::FileSyncClient;
use proto::filesync::{CredentialsRequest, FetchTokenRequest};
use proto::policysession::policy_verifier_client::PolicyVerifierClient;
use proto::policysession::{CheckPolicyRequest, CheckPolicyResponse};
use proto::secrets::GetSecretRequest;
use proto::secrets::secrets_client::SecretsClient;
use proto::upload::upload_client::UploadClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::files::{self, Filter, LocalTree, SyncReceiver};
use crate::handover::{Folders, Peer};
use crate::hello::Hello;
use crate::offer::{Credential, MAX_SECRET, Token, TokenRequest};
use crate::{grpcerr, metadata};

pub use content::RemoteContent;
pub(crate) use content::STORE_ID;
pub use send::{BlockingFileSender, FileSender};
pub(crate) use send::{EXPORTER_ID, EXPORTER_MD, FILE, KNOWN_LAYERS, LAYERS, MULTI_PLATFORM, WANTS_FILE};
pub(crate) use ssh::{DEFAULT_ID, SSH_ID};

pub(crate) const DIR_NAME: &str = "dir-name";
pub(crate) const INCLUDE: &str = "include-patterns";
pub(crate) const EXCLUDE: &str = "exclude-patterns";
pub(crate) const FOLLOW: &str = "followpaths";
pub(crate) const URL_PATH: &str = "urlpath";
pub(crate) const URL_HOST: &str = "urlhost";

pub(crate) const DIFF_COPY: &str = "/moby.filesync.v1.FileSync/DiffCopy";
pub(crate) const SEND: &str = "/moby.filesync.v1.FileSend/DiffCopy";

/// One open session. Cheap to clone; calls fail once the client is gone.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    hello: Hello,
    folders: Folders,
    /// The client, where it hands over files.
    owner: Option<Peer>,
    channel: Channel,
    closed: CancellationToken,
}

/// Which files of a named folder of the client are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncRequest {
    /// As `context` or `dockerfile`.
    pub dir: String,
    /// Empty for all.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Symlinks that are included together with what they point at.
    pub follow: Vec<String>,
}

impl Session {
    pub(crate) fn new(
        hello: Hello,
        folders: Folders,
        owner: Option<Peer>,
        channel: Channel,
        closed: CancellationToken,
    ) -> Self {
        Session(Arc::new(Inner { hello, folders, owner, channel, closed }))
    }

    pub fn id(&self) -> &str {
        &self.0.hello.id
    }

    /// Names the place that the files come from, across sessions.
    pub fn shared_key(&self) -> &str {
        &self.0.hello.shared_key
    }

    /// Whether the client offers a method, as `/moby.filesync.v1.FileSync/DiffCopy`.
    pub fn supports(&self, method: &str) -> bool {
        self.0.hello.methods.iter().any(|m| m.eq_ignore_ascii_case(method))
    }

    pub fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    /// Ends the session; the client sees its connection close.
    pub fn close(&self) {
        self.0.closed.cancel();
    }

    /// Ends when the client is gone.
    pub async fn closed(&self) {
        self.0.closed.cancelled().await;
    }

    pub(crate) fn is_same(&self, other: &Session) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn channel(&self) -> Channel {
        self.0.channel.clone()
    }

    /// Receives a folder of the client, and gives the receiver back when all that it wanted has come. `on_bytes`
    /// hears how many bytes came so far.
    pub async fn sync_dir<R: SyncReceiver>(
        &self,
        request: &SyncRequest,
        receiver: R,
        on_bytes: &mut (dyn FnMut(u64) + Send),
    ) -> Result<R> {
        if !self.supports(DIFF_COPY) {
            return Err(Error::user("no local sources enabled").with_code(Code::FailedPrecondition));
        }
        if let Some(folder) = self.0.folders.get(&request.dir) {
            let SyncRequest { include, exclude, follow, .. } = request.clone();
            let open = move || LocalTree::of(folder, Filter { include, exclude, follow });
            let tree = tokio::task::spawn_blocking(open).await;
            let tree = tree.map_err(|e| Error::internal(format!("failed to open a folder: {e}")))??;
            return files::direct(Arc::new(tree), receiver, on_bytes).await;
        }
        let (replies, outgoing) = mpsc::unbounded_channel();
        let mut call = Request::new(UnboundedReceiverStream::new(outgoing));
        let md = call.metadata_mut();
        metadata::put_list(md, DIR_NAME, std::slice::from_ref(&request.dir));
        metadata::put_list(md, INCLUDE, &request.include);
        metadata::put_list(md, EXCLUDE, &request.exclude);
        metadata::put_list(md, FOLLOW, &request.follow);
        let mut client = proto::sized!(FileSyncClient::new(self.channel()));
        let packets = client.diff_copy(call).await.map_err(grpcerr::from_status)?.into_inner();
        files::receive(packets, replies, receiver, on_bytes).await
    }

    /// The secret of that id; nothing when the client has none, or no secrets at all.
    pub async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>> {
        let mut client = proto::sized!(SecretsClient::new(self.channel()));
        let request = GetSecretRequest { id: id.to_owned(), ..Default::default() };
        let answer = client.get_secret(request).await.map_err(grpcerr::from_status);
        let Some(answer) = none_if(answer, &[Code::NotFound, Code::Unimplemented])? else { return Ok(None) };
        let data = answer.into_inner().data;
        if data.len() > MAX_SECRET {
            return Err(Error::user(format!("invalid secret size {}", data.len())));
        }
        Ok(Some(data))
    }

    /// What the client logs in to a registry with; nothing where it goes anonymously.
    pub async fn credentials(&self, host: &str) -> Result<Option<Credential>> {
        let mut client = proto::sized!(AuthClient::new(self.channel()));
        let answer = client.credentials(CredentialsRequest { host: host.to_owned() }).await;
        let Some(answer) = none_if(answer.map_err(grpcerr::from_status), &[Code::Unimplemented])? else {
            return Ok(None);
        };
        let answer = answer.into_inner();
        let anonymous = answer.username.is_empty() && answer.secret.is_empty();
        Ok((!anonymous).then_some(Credential { username: answer.username, secret: answer.secret }))
    }

    /// Lets the client fetch a registry token itself; nothing when it does not do that.
    pub async fn fetch_token(&self, request: &TokenRequest) -> Result<Option<Token>> {
        let mut client = proto::sized!(AuthClient::new(self.channel()));
        let request = FetchTokenRequest {
            client_id: "buildkit-client".into(),
            host: request.host.clone(),
            realm: request.realm.clone(),
            service: request.service.clone(),
            scopes: request.scopes.clone(),
        };
        let answer = client.fetch_token(request).await.map_err(grpcerr::from_status);
        let answer = none_if(answer, &[Code::Unimplemented])?.map(tonic::Response::into_inner);
        Ok(answer.map(|a| Token { token: a.token, expires_in: a.expires_in, issued_at: a.issued_at }))
    }

    /// Asks the client's policy about a source.
    pub async fn check_policy(&self, request: CheckPolicyRequest) -> Result<CheckPolicyResponse> {
        let mut client = proto::sized!(PolicyVerifierClient::new(self.channel()));
        let answer = client.check_policy(request).await.map_err(grpcerr::from_status)?;
        Ok(answer.into_inner())
    }

    /// Reads a stream that the client offers under `http://<host><path>`, once.
    pub async fn upload(
        &self,
        host: &str,
        path: &str,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + Unpin + use<>> {
        let mut call = Request::new(futures_util::stream::empty());
        for (key, value) in [(URL_HOST, host), (URL_PATH, path)] {
            let value = MetadataValue::try_from(value).map_err(|_| Error::user("invalid upload URL"))?;
            call.metadata_mut().insert(key, value);
        }
        let mut client = proto::sized!(UploadClient::new(self.channel()));
        let stream =
            client.pull(call).await.map_err(grpcerr::from_status).context("failed to open the upload")?;
        Ok(stream.into_inner().map_ok(|m| m.data).map_err(grpcerr::from_status).boxed())
    }
}

/// Turns an answer under one of `codes` into "there is none".
fn none_if<T>(answer: Result<T>, codes: &[Code]) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(e) if codes.contains(&e.code()) => Ok(None),
        Err(e) => Err(e),
    }
}
