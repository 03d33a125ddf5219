//! A client that sends every message in a frame of its own, as Go does.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use errdefs::Result;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use proto::fsutil::packet::PacketType;
use proto::fsutil::{Packet, Stat as WireStat};
use session::files::{FileSink, Stat, SyncReceiver};
use session::{Hello, Sessions, SyncRequest};

const ENTRIES: usize = 60_000;

/// A message with gRPC's five bytes in front.
fn framed(packet: &Packet) -> Bytes {
    let mut out = BytesMut::with_capacity(packet.encoded_len() + 5);
    out.put_u8(0);
    out.put_u32(packet.encoded_len() as u32);
    packet.encode(&mut out).expect("there is room");
    out.freeze()
}

fn listing() -> impl Iterator<Item = Packet> {
    let folder = |i| {
        let stat = WireStat { path: format!("{i:06}").into(), mode: 0x8000_01ed, ..Default::default() };
        Packet { r#type: PacketType::PacketStat.into(), stat: Some(stat), ..Default::default() }
    };
    (0..ENTRIES).map(folder).chain([Packet::default()])
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// Sends the listing, tells when it is on its way, and ends well once the receiver has said that it is done.
fn answer(request: Request<Incoming>, sent: Sender<()>) -> Response<Body> {
    let frames = stream::iter(listing()).map(|p| Frame::data(framed(&p)));
    let told = stream::once(async move {
        let _nobody_waits = sent.send(());
        Frame::data(Bytes::new())
    });
    let end = stream::once(async {
        let _fin = request.into_body().frame().await;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", 0.into());
        Frame::trailers(trailers)
    });
    let body = StreamBody::new(frames.chain(told).chain(end).map(Ok));
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(BodyExt::boxed(body)).expect("is valid")
}

struct Stalled {
    until: Option<Receiver<()>>,
    entries: usize,
}

impl SyncReceiver for Stalled {
    fn entry(&mut self, _: Stat) -> Result<Option<Box<dyn FileSink>>> {
        if let Some(until) = self.until.take() {
            // The sender may be held back before its end, which is as good a stall.
            let _told_or_not = until.recv_timeout(Duration::from_secs(2));
        }
        self.entries += 1;
        Ok(None)
    }
}

/// h2 counts small frames that wait and ends a connection that has too many.
#[tokio::test]
async fn small_frames_wait_for_a_stalled_reader() {
    let (client, engine) = tokio::io::duplex(64 << 10);
    let (sent, until) = channel();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let response = answer(request, sent.clone());
        async move { Ok::<_, Infallible>(response) }
    });
    tokio::spawn(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(client), service),
    );
    let sessions = Sessions::new();
    let hello = Hello {
        id: "id".into(),
        methods: vec!["/moby.filesync.v1.FileSync/diffcopy".into()],
        ..Hello::default()
    };
    let serving = sessions.clone();
    tokio::spawn(async move { serving.serve(engine, hello).await });
    let session = sessions.get("id", Duration::from_secs(10)).await.expect("opens");
    let request = SyncRequest { dir: "context".into(), ..Default::default() };
    let receiver = Stalled { until: Some(until), entries: 0 };
    let received = session.sync_dir(&request, receiver, &mut |_| {}).await.map(|r| r.entries);
    assert_eq!(received.expect("comes"), ENTRIES);
}
