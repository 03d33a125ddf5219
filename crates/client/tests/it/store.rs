use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Address, Client, PruneRequest};
use errdefs::Code;

use crate::engine::{Script, start};

fn idle() -> Script {
    Arc::new(|_, _, _| Box::pin(async { Ok(BTreeMap::new()) }))
}

#[tokio::test]
async fn questions_are_answered() {
    let (client, _, _dir) = start(idle()).await;
    let records = client.disk_usage(&["type==regular".to_owned()]).await.expect("answered");
    assert_eq!(records[0].id, "type==regular");
    assert_eq!(records[0].created_at.map(|t| t.as_second()), Some(7));
    let workers = client.workers().await.expect("answered");
    assert_eq!((workers[0].id.as_str(), &workers[0].platforms[..]), ("w", &["linux/amd64".to_owned()][..]));
    assert_eq!(client.version().await.expect("no fault"), None);
}

#[tokio::test]
async fn what_is_pruned_is_told_one_by_one() {
    let (client, _, _dir) = start(idle()).await;
    let mut removed = Vec::new();
    let request = PruneRequest { all: true, ..PruneRequest::default() };
    client.prune(&request, |r| removed.push(r.id)).await.expect("pruned");
    assert_eq!(removed, ["r0", "r1"]);
}

#[tokio::test]
async fn a_refusal_keeps_its_hint() {
    let (client, _, _dir) = start(idle()).await;
    let e = client.disk_usage(&["bad".to_owned()]).await.expect_err("refused");
    assert_eq!(e.to_string(), "failed to call diskusage: bad filter");
    assert_eq!(e.hints(), ["try another"]);
}

#[tokio::test]
async fn nobody_at_home_is_unavailable() {
    let dir = tempfile::tempdir().expect("a folder");
    let address = Address::Unix(dir.path().join("none.sock"));
    let e = Client::connect(&address).await.err().expect("nobody listens");
    assert_eq!(e.code(), Code::Unavailable);
    assert!(e.to_string().ends_with("No such file or directory (os error 2)"), "{e}");
}
