//! Pushing an image to a registry.

use std::collections::BTreeSet;
use std::sync::Arc;

use archive::reachable;
use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use oci::{Descriptor, Reference, media};
use refs::Refs;
use registry::{BlobSource, ByteStream, Credential, Credentials, PushBlob, Registry, Token, TokenRequest};
use session::Session;
use tokio::sync::OnceCell;

use crate::commit::{Image, Referrer};
use crate::context::ExportContext;
use crate::layout::parse;

/// Blobs on their way at once.
const PARALLEL: usize = 4;
/// Label of a blob with the repositories of a registry that have it.
const SOURCE: &str = "containerd.io/distribution.source.";

/// The push of one image to some names.
pub struct Push<'a> {
    content: content::Store,
    registry: Registry,
    image: Arc<Blobs>,
    root: Descriptor,
    /// Manifests, the root first.
    manifests: Vec<Descriptor>,
    blobs: Vec<Descriptor>,
    /// Manifests that hang on those.
    referrers: Vec<Referrer>,
    cx: &'a ExportContext,
}

impl<'a> Push<'a> {
    pub async fn new(
        refs: &Refs,
        registry: &Registry,
        insecure: bool,
        mut image: Image,
        cx: &'a ExportContext,
    ) -> Result<Self> {
        let registry = registry.with_credentials(Arc::new(Login(cx.session().await?))).shown_in(&cx.step);
        let registry = if insecure { registry.insecure() } else { registry };
        let (content, root) = (refs.content().clone(), image.descriptor.clone());
        let referrers = std::mem::take(&mut image.referrers);
        let all = {
            let content = content.clone();
            let hanging = referrers.iter().map(|referrer| referrer.manifest.clone());
            let roots: Vec<_> = std::iter::once(root.clone()).chain(hanging).collect();
            cx.blocking(move |_| reachable(&content, &roots)).await?
        };
        let is_manifest =
            |d: &Descriptor| media::is_manifest(&d.media_type) || media::is_index(&d.media_type);
        let (mut manifests, blobs): (Vec<_>, _) = all.into_iter().partition(is_manifest);
        let hangs = |d: &Descriptor| referrers.iter().any(|referrer| referrer.manifest.digest == d.digest);
        manifests.retain(|manifest| !hangs(manifest));
        let image = Arc::new(Blobs { content: content.clone(), image, fetched: OnceCell::new() });
        Ok(Push { content, registry, image, root, manifests, blobs, referrers, cx })
    }

    /// Pushes to the repository of `name`, under its tag, or under no name but the digest.
    pub async fn image(&self, name: &str, by_digest: bool) -> Result<()> {
        let target = match by_digest {
            true => parse(name)?.with_tag(None).without_digest(),
            false => parse(name)?.without_digest().with_default_tag(),
        };
        self.cx.step.part("pushing layers", self.push_blobs(&target)).await?;
        let shown = match by_digest {
            true => target.repository(),
            false => target.clone().with_digest(self.root.digest.clone()).to_string(),
        };
        self.cx.step.part(&format!("pushing manifest for {shown}"), self.push_manifests(&target)).await
    }

    async fn push_blobs(&self, target: &Reference) -> Result<()> {
        let pushes: Vec<_> = self.blobs.iter().map(|blob| self.push_blob(target, blob)).collect();
        stream::iter(pushes).buffer_unordered(PARALLEL).try_collect().await
    }

    async fn push_blob(&self, target: &Reference, blob: &Descriptor) -> Result<()> {
        let label = format!("{SOURCE}{}", target.host());
        let known = self.repositories(&label, blob)?;
        let push = PushBlob {
            reference: target.clone(),
            descriptor: blob.clone(),
            source: self.image.clone(),
            mount_from: known.iter().filter(|from| *from != target.path()).cloned().collect(),
            on_bytes: Arc::new(|_| {}),
        };
        self.registry.push_blob(&push).await?;
        self.remember(&label, known, target, blob)
    }

    /// The repositories of the registry that have a blob, as far as is known.
    fn repositories(&self, label: &str, blob: &Descriptor) -> Result<BTreeSet<String>> {
        let labels = self.content.labels(&blob.digest)?;
        let told =
            self.image.image.layers.iter().flat_map(|layers| &layers.blobs).map(|layer| &layer.descriptor);
        let told = told.filter(|d| d.digest == blob.digest).filter_map(|d| d.annotations.get(label));
        let lists = labels.get(label).into_iter().chain(told);
        Ok(lists.flat_map(|list| list.split(',')).filter(|r| !r.is_empty()).map(str::to_owned).collect())
    }

    /// Notes that a repository has a layer now, so that others can take it from there.
    fn remember(
        &self,
        label: &str,
        mut known: BTreeSet<String>,
        target: &Reference,
        blob: &Descriptor,
    ) -> Result<()> {
        if !media::is_layer(&blob.media_type) || !self.content.contains(&blob.digest) {
            return Ok(());
        }
        if known.insert(target.path().to_owned()) {
            let list = known.into_iter().collect::<Vec<_>>().join(",");
            self.content.set_labels(&blob.digest, &[(label, Some(&list))])?;
        }
        Ok(())
    }

    /// The root comes last, so that nobody sees an image that is not whole.
    async fn push_manifests(&self, target: &Reference) -> Result<()> {
        let read = |manifest: &Descriptor| self.content.read(&manifest.digest).map(Bytes::from);
        let (root, others): (Vec<_>, Vec<_>) =
            self.manifests.iter().partition(|manifest| manifest.digest == self.root.digest);
        for manifest in others.into_iter().rev() {
            let name = target.clone().with_tag(None).with_digest(manifest.digest.clone());
            self.registry.push_manifest(&name, &manifest.media_type, read(manifest)?).await?;
        }
        for Referrer { subject, manifest } in &self.referrers {
            self.registry.push_referrer(target, subject, manifest, read(manifest)?).await?;
        }
        for manifest in root {
            self.registry.push_manifest(target, &manifest.media_type, read(manifest)?).await?;
        }
        Ok(())
    }
}

/// The blobs of an image. Layers that are still to be fetched are, once the registry wants one of them.
struct Blobs {
    content: content::Store,
    image: Image,
    fetched: OnceCell<()>,
}

#[async_trait]
impl BlobSource for Blobs {
    async fn open(&self, blob: &Descriptor, offset: u64) -> Result<ByteStream> {
        if !self.content.contains(&blob.digest) {
            self.fetched.get_or_try_init(|| self.image.fetch()).await?;
        }
        BlobSource::open(&self.content, blob, offset).await
    }
}

/// The client's logins.
struct Login(Session);

#[async_trait]
impl Credentials for Login {
    async fn credentials(&self, host: &str) -> Result<Option<Credential>, Error> {
        self.0.credentials(host).await
    }

    async fn token(&self, request: &TokenRequest) -> Result<Option<Token>, Error> {
        self.0.fetch_token(request).await
    }
}
