//! From a name to a manifest (distribution-spec, "Pulling manifests").

use bytes::Bytes;
use content::Hasher;
use errdefs::{Class, Code, Error, Result};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use oci::{Descriptor, Digest, Reference, media};

use crate::call::{Call, Reply};
use crate::endpoint::{Endpoint, scope};
use crate::pull::wrong;
use crate::registry::{Registry, url};

/// Most bytes of a manifest, as in other clients.
const LIMIT: usize = 8 << 20;

const DIGEST: &str = "docker-content-digest";

impl Registry {
    /// What a name stands for now. Mirrors are asked first.
    ///
    /// # Errors
    /// `<reference>: not found` where every server says so; else the error of the server that got furthest.
    pub async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        let path = format!("manifests/{}", reference.object());
        self.first(reference, |endpoint| self.head(endpoint, reference, &path)).await
    }

    /// The bytes of a manifest or an index, checked against its descriptor.
    pub async fn manifest(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Bytes> {
        let path = format!("manifests/{}", descriptor.digest);
        let ask = |endpoint| self.checked_manifest(endpoint, reference, &path, &descriptor.digest);
        match self.first(reference, ask).await {
            // Something on the way may have been at fault.
            Err(e) if e.code() == Code::DataLoss => self.first(reference, ask).await,
            other => other,
        }
    }

    async fn checked_manifest(
        &self,
        endpoint: Endpoint,
        reference: &Reference,
        path: &str,
        digest: &Digest,
    ) -> Result<Option<Bytes>> {
        let host = endpoint.host.clone();
        let Some((_, bytes)) = self.get(endpoint, reference, path).await? else { return Ok(None) };
        let mut hasher = Hasher::like(Some(digest));
        hasher.update(&bytes);
        let found = hasher.finish();
        if found != *digest {
            let message =
                format!("unexpected digest {found} of manifest {digest} of {reference} from `{host}`");
            return Err(wrong(message));
        }
        Ok(Some(bytes))
    }

    /// Asks one server after the other. "Not found" counts for more than a server that gives no answer, and a refusal
    /// for more than both.
    pub(crate) async fn first<T, F>(&self, reference: &Reference, ask: impl Fn(Endpoint) -> F) -> Result<T>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        self.first_of(reference, self.pull_endpoints(reference), ask).await
    }

    pub(crate) async fn first_of<T, F>(
        &self,
        reference: &Reference,
        endpoints: Vec<Endpoint>,
        ask: impl Fn(Endpoint) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        let mut worst: Option<(u8, Error)> = None;
        for endpoint in endpoints {
            let host = endpoint.host.clone();
            let (weight, error) = match ask(endpoint).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => (1, not_found(reference)),
                Err(e) if e.is_canceled() => return Err(e),
                Err(e) if e.code() == Code::Unavailable => (0, e),
                Err(e) => (2, e),
            };
            tracing::debug!(%reference, host, "a registry does not help: {error}");
            if worst.as_ref().is_none_or(|(w, _)| *w < weight) {
                worst = Some((weight, error));
            }
        }
        Err(worst.map_or_else(|| not_found(reference), |(_, e)| e))
    }

    async fn head(
        &self,
        endpoint: Endpoint,
        reference: &Reference,
        path: &str,
    ) -> Result<Option<Descriptor>> {
        let reply = self.ask(Method::HEAD, &endpoint, reference, path).await?;
        let status = reply.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let size = reply.header(CONTENT_LENGTH).and_then(|v| v.parse().ok());
        let named = reply.header(DIGEST).and_then(|v| v.parse::<Digest>().ok());
        let digest = reference.digest().cloned().or(named);
        match (digest, size) {
            (Some(digest), Some(size)) if status.is_success() && !reply.is_page() => {
                if size > LIMIT as u64 {
                    let message = format!("rejecting {size} byte manifest for {reference}: not found");
                    return Err(Error::environment(message));
                }
                Ok(Some(Descriptor::new(media_type(&reply)?, digest, size)))
            }
            // It says too little, does not know HEAD, or gives its reasons only to GET.
            _ => {
                let got = self.get(endpoint, reference, path).await?;
                Ok(got.map(|(media_type, bytes)| Descriptor::of(media_type, &bytes)))
            }
        }
    }

    pub(crate) async fn get(
        &self,
        endpoint: Endpoint,
        reference: &Reference,
        path: &str,
    ) -> Result<Option<(String, Bytes)>> {
        let reply = self.ask(Method::GET, &endpoint, reference, path).await?;
        if reply.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let reply = reply.success().await?;
        reply.refuse_page()?;
        let media_type = media_type(&reply)?;
        let body = Limited::new(reply.response.into_body(), LIMIT).collect().await;
        let body = body.map_err(|e| {
            let message = format!("failed to read the manifest of {reference}: {e}");
            Error::new(Class::Environment, Code::Unavailable, message)
        })?;
        Ok(Some((media_type, body.to_bytes())))
    }

    async fn ask(
        &self,
        method: Method,
        endpoint: &Endpoint,
        reference: &Reference,
        path: &str,
    ) -> Result<Reply> {
        let accept =
            [media::DOCKER_MANIFEST, media::DOCKER_LIST, media::OCI_MANIFEST, media::OCI_INDEX, "*/*"]
                .join(", ");
        let call = Call::new(method, url(endpoint, reference, path)?, vec![scope(reference, false)]);
        self.send(endpoint, call.header(ACCEPT, &accept)).await
    }
}

fn not_found(reference: &Reference) -> Error {
    Error::not_found(format!("{reference}: not found")).hint("check the name and the tag")
}

/// # Errors
/// Docker's first form of manifests is not read any more.
fn media_type(reply: &Reply) -> Result<String> {
    let full = reply.header(CONTENT_TYPE).unwrap_or_default();
    let media_type = full.split(';').next().unwrap_or_default().trim();
    if media_type == media::DOCKER_SCHEMA1 || media_type == "text/plain" {
        return Err(Error::user(
            "support Docker Image manifest version 2, schema 1 has been removed. More information at \
             https://docs.docker.com/go/deprecated-image-specs/",
        ));
    }
    Ok(media_type.to_owned())
}
