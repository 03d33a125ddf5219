//! A client and an engine in one process, joined as Control.Session joins them.

use std::time::Duration;

use errdefs::Result;
use proto::control::BytesMessage;
use session::{Attachables, Session, Sessions, tunnel};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// An open session; `client` and `engine` end with it.
pub struct Pair {
    pub sessions: Sessions,
    pub session: Session,
    pub client: JoinHandle<Result<()>>,
    pub engine: JoinHandle<Result<()>>,
}

pub async fn open(offers: Attachables) -> Pair {
    let (to_engine, from_client) = mpsc::channel::<BytesMessage>(8);
    let (to_client, from_engine) = mpsc::channel::<BytesMessage>(8);
    let hello = offers.hello("id", "test", "key");
    let client = tokio::spawn(offers.serve(tunnel(ReceiverStream::new(from_engine).map(Ok), to_engine)));
    let sessions = Sessions::new();
    let engine = {
        let (sessions, io) = (sessions.clone(), tunnel(ReceiverStream::new(from_client).map(Ok), to_client));
        tokio::spawn(async move { sessions.serve(io, hello).await })
    };
    let session = sessions.get("id", Duration::from_secs(10)).await.expect("opens");
    Pair { sessions, session, client, engine }
}
