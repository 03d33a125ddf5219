//! From a stream to code that blocks.

use bytes::Bytes;
use errdefs::{Error, Result};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;

/// Chunks that wait to be taken.
const QUEUE: usize = 16;

/// Gives what comes to `take`, which may block. An error of the stream counts before one of `take`, which takes that for
/// the end.
pub async fn pump<T: Send + 'static>(
    mut stream: impl Stream<Item = Result<Bytes>> + Unpin,
    take: impl FnOnce(&mut dyn Iterator<Item = Bytes>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (chunks, mut queue) = mpsc::channel(QUEUE);
    let taking = tokio::task::spawn_blocking(move || take(&mut std::iter::from_fn(|| queue.blocking_recv())));
    let feed = async {
        while let Some(chunk) = stream.next().await.transpose()? {
            // Where nobody takes it any more, `take` has the error.
            if chunks.send(chunk).await.is_err() {
                break;
            }
        }
        drop(chunks);
        Ok(())
    };
    let fed = feed.await;
    let taken = taking.await.map_err(|e| Error::internal(format!("storing a file ended: {e}")))?;
    fed.and(taken)
}
