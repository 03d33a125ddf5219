//! The client against Debian's docker-registry, and against small servers for what that one cannot be made to do.

mod downloads;
mod faults;
mod login;
mod real;
mod referrers;
mod server;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use errdefs::Result;
use futures_util::TryStreamExt as _;
use oci::{Descriptor, Reference, media};
use registry::{Anonymous, ByteStream, Config, Credentials, PushBlob, Registry, Retry};

/// Settings that do not make tests wait.
fn config() -> Config {
    let (first_wait, longest_wait) = (Duration::from_millis(1), Duration::from_millis(5));
    let retry = Retry { attempts: 3, first_wait, longest_wait, patience: Duration::from_secs(60) };
    Config { retry, ..Config::default() }
}

fn anonymous() -> Registry {
    Registry::new(config(), Arc::new(Anonymous))
}

fn as_user(credentials: impl Credentials) -> Registry {
    Registry::new(config(), Arc::new(credentials))
}

fn reference(host: &str, rest: &str) -> Reference {
    format!("{host}/{rest}").parse().expect("valid")
}

fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::of(media::OCI_LAYER, bytes)
}

async fn read(stream: Result<ByteStream>) -> Result<Bytes> {
    let chunks: Vec<Bytes> = stream?.try_collect().await?;
    Ok(Bytes::from(chunks.concat()))
}

/// Bytes that are not all the same.
fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Bytes in memory as something to push.
struct Memory(Bytes);

#[async_trait::async_trait]
impl registry::BlobSource for Memory {
    async fn open(&self, _: &Descriptor, offset: u64) -> Result<ByteStream> {
        let rest = self.0.slice(offset as usize..);
        Ok(Box::pin(futures_util::stream::iter(
            rest.chunks(60_000).map(Bytes::copy_from_slice).map(Ok).collect::<Vec<_>>(),
        )))
    }
}

fn push(reference: &Reference, bytes: &[u8]) -> PushBlob {
    PushBlob {
        reference: reference.clone(),
        descriptor: layer(bytes),
        source: Arc::new(Memory(Bytes::copy_from_slice(bytes))),
        mount_from: Vec::new(),
        unasked: false,
        on_bytes: Arc::new(|_| {}),
    }
}
