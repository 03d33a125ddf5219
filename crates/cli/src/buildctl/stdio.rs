use std::path::Path;

use client::Address;
use errdefs::{Error, Result, ResultExt as _};
use tokio::io::{AsyncWriteExt as _, copy, stdin, stdout};
use tokio::net::UnixStream;

use crate::buildctl::args::Global;

/// Joins standard input and output to the engine's socket, until the engine closes it.
pub(super) async fn dial(global: &Global) -> Result<()> {
    match global.addr.parse()? {
        Address::Unix(path) => join(&path).await,
        other => Err(Error::user(format!("cannot dial `{other}`"))
            .hint("the engine has to listen on a socket of this machine: give `--addr unix://PATH`")),
    }
}

async fn join(path: &Path) -> Result<()> {
    let stream = UnixStream::connect(path).await;
    let stream = stream.with_context(|| format!("failed to connect to `{}`", path.display()))?;
    let (mut from, mut to) = stream.into_split();
    let upward = async {
        let copied = copy(&mut stdin(), &mut to).await;
        // The engine sees the end of the input and can still answer.
        let closed = to.shutdown().await;
        copied.map(drop).and(closed)
    };
    let downward = async {
        let mut out = stdout();
        copy(&mut from, &mut out).await?;
        out.flush().await
    };
    tokio::pin!(upward, downward);
    tokio::select! {
        // A terminal never ends its input, so the engine's end is enough.
        done = &mut downward => done,
        sent = &mut upward => match sent {
            Ok(()) => downward.await,
            Err(e) => Err(e),
        },
    }
    .context("the connection broke")
}
