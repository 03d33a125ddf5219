//! Calls that bring back one value or one stream.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use errdefs::{Class, Code, Detail, Error, Result, SourceInfo, SourceLocation};
use futures_util::TryStreamExt;
use oci::Digest;
use session::{
    Attachables, AuthSource, Credential, ExporterSource, MAX_SECRET, Output, Peer, PickedExporter,
    SecretStore, Session, Sessions, Token, TokenRequest,
};

use tokio::io::AsyncWrite;
use tokio::sync::oneshot;

use crate::wire;

struct Store;

#[async_trait]
impl SecretStore for Store {
    async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>> {
        match id {
            "good" => Ok(Some(b"s3cret\xff".to_vec())),
            "big" => Ok(Some(vec![0; MAX_SECRET + 1])),
            "broken" => Err(Error::environment("no keyring").hint("unlock it")),
            "long story" => {
                let info = SourceInfo { data: vec![b'x'; 2 << 20], ..SourceInfo::default() };
                Err(Error::user("no")
                    .with_detail(Detail::Source(SourceLocation { info, ranges: Vec::new() })))
            }
            _ => Ok(None),
        }
    }
}

#[async_trait]
impl AuthSource for Store {
    async fn credentials(&self, host: &str) -> Result<Option<Credential>> {
        Ok((host == "r.io").then(|| Credential { username: "me".into(), secret: "pw".into() }))
    }

    async fn token(&self, request: &TokenRequest) -> Result<Option<Token>> {
        let token = Token { token: request.scopes.join(","), expires_in: 60, issued_at: 7 };
        Ok((request.host == "r.io").then_some(token))
    }

    fn is_authority(&self, host: &str) -> bool {
        host == "r.io"
    }
}

#[tokio::test]
async fn secrets_come_or_do_not() {
    let session = wire::open(Attachables::new().secrets(Arc::new(Store))).await.session;
    assert_eq!(session.secret("good").await.expect("comes"), Some(b"s3cret\xff".to_vec()));
    assert_eq!(session.secret("none").await.expect("is no error"), None);
    let big = session.secret("big").await.expect_err("is refused");
    assert_eq!(big.message(), "invalid secret size 512001");
    let broken = session.secret("broken").await.expect_err("fails");
    assert_eq!((broken.class(), broken.hints()), (Class::Environment, &["unlock it".to_owned()][..]));
}

#[tokio::test]
async fn long_error_details_come_whole() {
    let session = wire::open(Attachables::new().secrets(Arc::new(Store))).await.session;
    let error = session.secret("long story").await.expect_err("fails");
    assert_eq!(error.source_location().map(|l| l.info.data.len()), Some(2 << 20));
}

#[tokio::test]
async fn what_is_not_offered_is_not_there() {
    let session = wire::open(Attachables::new()).await.session;
    assert_eq!(session.secret("good").await.expect("is no error"), None);
    assert!(session.credentials("r.io").await.expect("is no error").is_none());
    assert!(session.fetch_token(&TokenRequest::default()).await.expect("is no error").is_none());
    assert!(session.find_exporters(&BTreeMap::new(), Vec::new()).await.expect("is no error").is_empty());
    session.finalize_export(&BTreeMap::new()).await.expect("is no error");
    let error = session.send_file(0, &BTreeMap::new()).await.err().expect("is refused");
    assert_eq!(error.message(), "method /moby.filesync.v1.FileSend/DiffCopy not supported by the client");
}

#[tokio::test]
async fn logins_and_tokens() {
    let session = wire::open(Attachables::new().auth(Arc::new(Store))).await.session;
    let login = session.credentials("r.io").await.expect("comes").expect("is there");
    assert_eq!((login.username.as_str(), login.secret.as_str()), ("me", "pw"));
    assert!(session.credentials("other").await.expect("comes").is_none());
    let request =
        TokenRequest { host: "r.io".into(), scopes: vec!["a".into(), "b".into()], ..Default::default() };
    let token = session.fetch_token(&request).await.expect("comes").expect("is there");
    assert_eq!((token.token.as_str(), token.expires_in, token.issued_at), ("a,b", 60, 7));
}

/// Picks one exporter, by what it is told of the result.
struct Picks;

#[async_trait]
impl ExporterSource for Picks {
    async fn exporters(
        &self,
        metadata: BTreeMap<String, Vec<u8>>,
        refs: Vec<String>,
    ) -> Result<Vec<PickedExporter>> {
        let attrs = metadata.into_iter().map(|(k, v)| (k, String::from_utf8_lossy(&v).into_owned()));
        Ok(vec![PickedExporter { kind: refs.join("+"), attrs: attrs.collect() }])
    }

    async fn exported(&self, response: BTreeMap<String, String>) -> Result<()> {
        match response.get("image").map(String::as_str) {
            Some("good") => Ok(()),
            Some("away") => Err(Error::user("not now").with_code(Code::Unavailable)),
            _ => Err(Error::user("not what was wanted")),
        }
    }
}

#[tokio::test]
async fn a_client_picks_exporters() {
    let session = wire::open(Attachables::new().exporters(Arc::new(Picks))).await.session;
    let metadata = BTreeMap::from([("k".to_owned(), "v".into())]);
    let picked = session.find_exporters(&metadata, vec!["a".into(), "b".into()]).await.expect("answers");
    let attrs = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    assert_eq!(picked, [PickedExporter { kind: "a+b".into(), attrs }]);
    let response = |image: &str| BTreeMap::from([("image".to_owned(), image.to_owned())]);
    session.finalize_export(&response("good")).await.expect("is taken");
    session.finalize_export(&response("away")).await.expect("is no error");
    let error = session.finalize_export(&response("bad")).await.expect_err("is told");
    assert_eq!(error.message(), "not what was wanted");
}

#[tokio::test]
async fn an_upload_can_be_read_once() {
    let mut offers = Attachables::new();
    let body = vec![7; 3 << 20];
    let url = offers.upload("ctx1", Box::new(std::io::Cursor::new(body.clone()))).expect("is a key");
    assert_eq!(url, "http://buildkit-session/ctx1");
    let session = wire::open(offers).await.session;
    let read = async |session: &Session| -> Result<Vec<u8>> {
        let stream = session.upload("buildkit-session", "/ctx1").await?;
        stream
            .try_fold(Vec::new(), |mut all, part| async move {
                all.extend_from_slice(&part);
                Ok(all)
            })
            .await
    };
    assert_eq!(read(&session).await.expect("comes"), body);
    assert_eq!(read(&session).await.expect_err("is used up").code(), Code::NotFound);
}

#[tokio::test]
async fn blobs_of_a_layout() {
    let dir = tempfile::tempdir().expect("tempdir");
    let blob = vec![5; 2_500_000];
    let digest = Digest::of(&blob);
    let place = dir.path().join("blobs/sha256");
    std::fs::create_dir_all(&place).expect("mkdir");
    std::fs::write(place.join(digest.hex()), &blob).expect("write");
    let session = wire::open(Attachables::new().oci_layout("oci:base", dir.path())).await.session;
    let store = session.content("oci:base").expect("is a name");
    assert_eq!(store.size(&digest).await.expect("answers"), Some(2_500_000));
    assert_eq!(store.size(&Digest::of("x")).await.expect("answers"), None);
    let tail: Vec<_> =
        store.read(&digest, 2_400_000).await.expect("opens").try_collect().await.expect("comes");
    assert_eq!(tail.concat().len(), 100_000);
    let unknown = session.content("oci:other").expect("is a name");
    assert_eq!(unknown.read(&digest, 0).await.err().expect("is refused").code(), Code::NotFound);
}

/// Tells when it gets something, and at its end whether it was shut down.
struct Probe {
    begun: Option<oneshot::Sender<()>>,
    whole: bool,
    told: Option<oneshot::Sender<bool>>,
}

impl AsyncWrite for Probe {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let _nobody_listens = self.begun.take().map(|begun| begun.send(()));
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _nobody_listens = self.told.take().map(|told| told.send(self.whole));
    }
}

#[tokio::test]
async fn what_is_broken_off_is_not_kept() {
    let (begun, begins) = oneshot::channel();
    let (told, whole) = oneshot::channel();
    let probe = Probe { begun: Some(begun), whole: false, told: Some(told) };
    let session = wire::open(Attachables::new().output(0, Output::Stream(Box::new(probe)))).await.session;
    let mut sender = session.send_file(0, &BTreeMap::new()).await.expect("opens");
    sender.write(b"half").await.expect("is taken");
    begins.await.expect("gets something");
    drop(sender);
    assert!(!whole.await.expect("is told"));
}

#[tokio::test]
async fn a_file_comes_whole() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("out.tar");
    let offers = Attachables::new().output(1, Output::File(path.clone()));
    file_comes_whole(&path, &wire::open(offers).await.session).await;
}

#[tokio::test]
async fn a_file_of_a_neighbour_is_written_in_its_place() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("out.tar");
    let own = rustix::process::geteuid().as_raw();
    let offers = || Attachables::new().output(1, Output::File(path.clone()));
    let session = neighbour(own, offers()).await;
    file_comes_whole(&path, &session).await;
    // Nothing but the number of the file went over the wire: what is not finished is there all the same.
    let other = neighbour(own, offers()).await;
    let mut sender = other.send_file(1, &BTreeMap::new()).await.expect("opens");
    sender.write(b"half").await.expect("is written");
    let beside = |name: &std::ffi::OsStr| std::fs::read(dir.path().join(name)).expect("is there");
    let entries = || std::fs::read_dir(dir.path()).expect("lists").map(|e| e.expect("an entry").file_name());
    assert!(entries().any(|name| beside(&name) == b"half"));
    drop(sender);
    for _ in 0..500 {
        if entries().count() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(entries().collect::<Vec<_>>(), ["out.tar"]);
    // Another user's is sent.
    std::fs::remove_file(&path).expect("was there");
    file_comes_whole(&path, &neighbour(own + 1, offers()).await).await;
}

#[tokio::test]
async fn what_is_no_file_is_sent_to_a_neighbour() {
    let dir = tempfile::tempdir().expect("tempdir");
    let pipe = dir.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    let from = pipe.clone();
    let read = tokio::task::spawn_blocking(move || std::fs::read(from).expect("reads"));
    let own = rustix::process::geteuid().as_raw();
    let session = neighbour(own, Attachables::new().output(0, Output::File(pipe))).await;
    let mut sender = session.send_file(0, &BTreeMap::new()).await.expect("opens");
    sender.write(b"all of it").await.expect("is taken");
    sender.finish().await.expect("is kept");
    assert_eq!(read.await.expect("ends"), b"all of it");
}

/// A session of a client on this machine, of which the kernel says that `uid` runs it.
async fn neighbour(uid: u32, offers: Attachables) -> Session {
    let offers = offers.hand_over();
    let peer = Peer { pid: std::process::id().cast_signed(), uid };
    let (client, engine) = tokio::io::duplex(64 << 10);
    let (sessions, hello) = (Sessions::new(), offers.hello("id", "test", "key"));
    let serving = sessions.clone();
    tokio::spawn(async move { serving.serve_peer(engine, hello, Some(peer)).await });
    tokio::spawn(offers.serve(client));
    sessions.get("id", Duration::from_secs(10)).await.expect("opens")
}

async fn file_comes_whole(path: &Path, session: &Session) {
    let dir = path.parent().expect("a folder");
    let attributes = BTreeMap::from([("a.b".into(), "c".into())]);
    let mut sender = session.send_file(1, &attributes).await.expect("opens").into_blocking();
    let data: Vec<u8> = (0..5_000_000_u32).map(|i| i as u8).collect();
    let written = data.clone();
    let write = tokio::task::spawn_blocking(move || {
        sender.write_all(&written).expect("is taken");
        sender.finish().expect("is kept");
    });
    write.await.expect("writes");
    assert_eq!(std::fs::read(path).expect("is there"), data);
    assert_eq!(std::fs::read_dir(dir).expect("lists").count(), 1);

    let again = async {
        let mut again = session.send_file(1, &BTreeMap::new()).await?;
        let _queued = again.write(b"x").await;
        again.finish().await
    };
    assert_eq!(again.await.expect_err("is used up").message(), "exporter 1 not found");
}

#[tokio::test]
async fn sessions_end_with_their_client() {
    let pair = wire::open(Attachables::new()).await;
    assert_eq!(pair.sessions.count(), 1);
    assert!(pair.sessions.find("some-context:id").is_some());
    pair.client.abort();
    pair.session.closed().await;
    assert!(pair.sessions.find("id").is_none());
    pair.session.secret("good").await.expect_err("has nobody to ask");
}

#[tokio::test]
async fn a_client_ends_with_its_session() {
    let pair = wire::open(Attachables::new()).await;
    pair.session.close();
    pair.client.await.expect("does not panic").expect("ends well");
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let error = Sessions::new().get("p:gone", Duration::from_millis(20)).await.err().expect("is not there");
    assert_eq!(error.message(), "no active session for gone: context deadline exceeded");
    assert_eq!(error.code(), Code::DeadlineExceeded);
}
