//! What is told while a layer comes.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::Result;
use futures_util::StreamExt;
use jiff::Timestamp;
use oci::Descriptor;
use progress::Step;

use crate::lazy::{BlobProvider, BlobStream};

/// How often progress is told.
const TELL_EVERY_MS: i128 = 100;

/// Tells how far each blob has come, in the vertex that it is fetched for.
pub struct Watched {
    pub provider: Arc<dyn BlobProvider>,
    pub step: Step,
}

#[async_trait]
impl BlobProvider for Watched {
    async fn open(&self, blob: &Descriptor) -> Result<BlobStream> {
        let stream = self.provider.open(blob).await?;
        let mut transfer = Transfer::start(&self.step, blob);
        Ok(Box::pin(stream.inspect(move |chunk| {
            if let Ok(chunk) = chunk {
                transfer.add(chunk);
            }
        })))
    }

    fn came_wrong(&self, blob: &Descriptor) -> Option<String> {
        self.provider.came_wrong(blob)
    }

    fn is_gone(&self) -> bool {
        self.provider.is_gone()
    }
}

/// One blob on its way. A layer is unpacked as it comes, so both are told side by side; the end of the stream, which
/// drops this, is the end of both.
struct Transfer {
    step: Step,
    id: String,
    current: i64,
    total: i64,
    started: Timestamp,
    told: Timestamp,
}

impl Transfer {
    fn start(step: &Step, blob: &Descriptor) -> Self {
        let (id, total) = (blob.digest.to_string(), blob.size as i64);
        let now = Timestamp::now();
        step.status(&id, 0, total, now, false);
        step.status(&format!("extracting {id}"), 0, 0, now, false);
        Transfer { step: step.clone(), id, current: 0, total, started: now, told: now }
    }

    fn add(&mut self, chunk: &Bytes) {
        self.current += chunk.len() as i64;
        let now = Timestamp::now();
        let whole = self.current >= self.total;
        if whole || now.duration_since(self.told).as_millis() >= TELL_EVERY_MS {
            self.told = now;
            self.step.status(&self.id, self.current, self.total, self.started, whole);
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.step.status(&format!("extracting {}", self.id), 0, 0, self.started, true);
    }
}
