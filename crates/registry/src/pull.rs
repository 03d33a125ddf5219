//! Blobs (distribution-spec, "Pulling blobs").

mod stream;

use std::pin::Pin;

use bytes::Bytes;
use content::Hasher;
use errdefs::{Class, Code, Error, Result};
use futures_util::{Stream, TryStreamExt as _, stream as streams};
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use oci::{Descriptor, Digest, Reference, media};
use url::Url;

use crate::call::Call;
use crate::endpoint::scope;
use crate::registry::{Registry, url};
use stream::{Place, Source};

/// Bytes as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Most bytes of a blob that is held in memory.
const SMALL: u64 = 16 << 20;
/// Blobs up to this size are checked before the first byte is given.
const AT_ONCE: u64 = 64 << 10;

impl Registry {
    /// Opens a blob. A connection that breaks is taken up where it broke, at another server where one gives no more.
    ///
    /// # Errors
    /// The stream is as long as the descriptor says, or ends with an error. Whether it has its digest, who takes it knows:
    /// see [`Registry::came_wrong`]. Blobs of up to 64 KiB are checked here.
    pub async fn blob(&self, reference: &Reference, descriptor: &Descriptor) -> Result<ByteStream> {
        if descriptor.size > AT_ONCE {
            return self.open(reference, descriptor).await;
        }
        let bytes = self.small_blob(reference, descriptor).await?;
        Ok(Box::pin(streams::iter([Ok(bytes)])))
    }

    /// The bytes of a small blob, as a config, checked. Wrong ones are asked for once more.
    pub async fn small_blob(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Bytes> {
        if descriptor.size > SMALL {
            let (digest, size) = (&descriptor.digest, descriptor.size);
            return Err(Error::user(format!("blob {digest} of {reference} is too large: {size} bytes")));
        }
        match self.collect(reference, descriptor).await {
            Err(e) if e.code() == Code::DataLoss => self.collect(reference, descriptor).await,
            other => other,
        }
    }

    async fn collect(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Bytes> {
        let chunks: Vec<Bytes> = self.open(reference, descriptor).await?.try_collect().await?;
        let (bytes, digest) = (chunks.concat(), &descriptor.digest);
        let mut hasher = Hasher::like(Some(digest));
        hasher.update(&bytes);
        let found = hasher.finish();
        if found != *digest {
            let hosts = self.came_wrong(digest).unwrap_or_default();
            return Err(wrong(format!(
                "unexpected digest {found} of blob {digest} of {reference} from {hosts}"
            )));
        }
        Ok(Bytes::from(bytes))
    }

    async fn open(&self, reference: &Reference, descriptor: &Descriptor) -> Result<ByteStream> {
        for foreign in descriptor.urls.iter().filter(|_| media::is_foreign(&descriptor.media_type)) {
            let Ok(url) = Url::parse(foreign) else { continue };
            let place = Place { endpoint: self.push_endpoint(reference), url };
            if let Ok(Some(stream)) = Source::new(self, reference, descriptor, vec![place]).open().await {
                return Ok(stream);
            }
        }
        let path = format!("blobs/{}", descriptor.digest);
        let mut places = Vec::new();
        for endpoint in self.blob_endpoints(reference, &descriptor.digest) {
            places.push(Place { url: url(&endpoint, reference, &path)?, endpoint });
        }
        let hosts: Vec<_> = places.iter().map(|place| place.endpoint.clone()).collect();
        let opened = self.first_of(reference, hosts, |endpoint| {
            // Those after it may go on where it ends.
            let from = places.iter().position(|place| place.endpoint == endpoint).unwrap_or(0);
            Source::new(self, reference, descriptor, places[from..].to_vec()).open()
        });
        opened.await.map_err(|e| missing(e, &descriptor.digest, reference))
    }

    /// The size of a blob of which the digest alone is known.
    pub async fn blob_size(&self, reference: &Reference, digest: &Digest) -> Result<u64> {
        let path = format!("blobs/{digest}");
        let asked = self.first(reference, |endpoint| {
            let address = url(&endpoint, reference, &path);
            async move {
                let reply =
                    self.send(&endpoint, Call::new(Method::HEAD, address?, vec![scope(reference, false)]));
                let reply = reply.await?;
                if reply.status() == StatusCode::NOT_FOUND {
                    return Ok(None);
                }
                let reply = reply.success().await?;
                let size = reply.header(CONTENT_LENGTH).and_then(|v| v.parse().ok());
                size.map(Some).ok_or_else(|| {
                    Error::environment(format!(
                        "a registry does not tell the size of {digest} of {reference}"
                    ))
                })
            }
        });
        asked.await.map_err(|e| missing(e, digest, reference))
    }
}

fn missing(error: Error, digest: &Digest, reference: &Reference) -> Error {
    match error.is_not_found() {
        true => Error::not_found(format!("blob {digest} of {reference}: not found")),
        false => error,
    }
}

/// What came is not what was asked for.
pub(crate) fn wrong(message: String) -> Error {
    Error::new(Class::Environment, Code::DataLoss, message).hint("try again, or ask another registry")
}
