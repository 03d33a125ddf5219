//! A Dockerfile that lies in the web.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use client::{Client, Exporter, SolveRequest};
use errdefs::{Error, Result};
use llb::{Node, Op, OpKind, OpMetadata, SourceOp};
use session::{Attachables, DirMode, Output};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How the file is called where it is put.
pub(super) const NAME: &str = "Dockerfile";

/// Puts the page into a folder. The engine fetches it, as it fetches all else that a build is made from: it knows proxies
/// and certificates, and what it has already.
pub(super) async fn fetch(client: &Client, url: &str, dir: &Path) -> Result<()> {
    let attrs = BTreeMap::from([("http.filename".to_owned(), NAME.to_owned())]);
    let source = SourceOp { identifier: url.to_owned(), attrs };
    let op = Op { kind: OpKind::Source(source), platform: None, constraints: Vec::new() };
    let page = Arc::new(Node::new(op, Vec::new(), OpMetadata::named(format!("load {url}")))).output(0);
    let request = SolveRequest {
        id: client::new_id(),
        definition: Some(page.marshal()),
        exporters: vec![Exporter { kind: "local".into(), attrs: BTreeMap::new() }],
        internal: true,
        ..SolveRequest::default()
    };
    let output = Output::Dir { path: dir.to_owned(), mode: DirMode::Merge };
    // Nobody looks at how it goes.
    let (status, _) = mpsc::channel(1);
    client.solve(&request, Attachables::new().output(0, output), status, &CancellationToken::new()).await?;
    match dir.join(NAME).is_file() {
        true => Ok(()),
        false => Err(Error::environment("the engine sent no file")),
    }
}
