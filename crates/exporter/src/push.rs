//! Pushing an image to a registry.

use std::collections::BTreeSet;
use std::sync::Arc;

use archive::reachable;
use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Code, Error, Result};
use futures_util::future::try_join;
use futures_util::{StreamExt, TryStreamExt, stream};
use oci::{Descriptor, Reference, media};
use refs::Refs;
use registry::{BlobSource, ByteStream, Credential, Credentials, PushBlob, Registry, Token, TokenRequest};
use session::Session;
use tokio::sync::OnceCell;

use crate::commit::{Image, Referrer};
use crate::context::ExportContext;
use crate::layout::parse;

/// Requests for blobs and manifests at once.
const PARALLEL: usize = 8;
/// Bytes of a blob that is sent sooner than asked for, if nobody is known to have it.
const SMALL: u64 = 64 << 10;
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
        match self.all(&target).await {
            // The registry may have lost a blob that it had a moment ago.
            Err(e) if matches!(e.code(), Code::NotFound | Code::Unknown) && self.registry.forget(&target) => {
                self.all(&target).await
            }
            pushed => pushed,
        }
    }

    async fn all(&self, target: &Reference) -> Result<()> {
        let blobs_and_look = try_join(self.push_blobs(target), self.missing_manifests(target));
        let (_, missing) = self.cx.step.part("pushing layers", blobs_and_look).await?;
        let shown = match target.tag() {
            None => target.repository(),
            Some(_) => target.clone().with_digest(self.root.digest.clone()).to_string(),
        };
        let manifests = self.push_manifests(target, missing);
        self.cx.step.part(&format!("pushing manifest for {shown}"), manifests).await
    }

    async fn push_blobs(&self, target: &Reference) -> Result<()> {
        let unseen = self.blobs.iter().filter(|blob| !self.registry.saw_blob(target, &blob.digest));
        let pushes: Vec<_> = unseen.map(|blob| self.push_blob(target, blob)).collect();
        stream::iter(pushes).buffer_unordered(PARALLEL).try_collect().await
    }

    async fn push_blob(&self, target: &Reference, blob: &Descriptor) -> Result<()> {
        let label = format!("{SOURCE}{}", target.host());
        let known = self.repositories(&label, blob)?;
        let unasked = known.is_empty() && blob.size <= SMALL;
        let push = PushBlob {
            reference: target.clone(),
            descriptor: blob.clone(),
            source: self.image.clone(),
            mount_from: known.iter().filter(|from| *from != target.path()).cloned().collect(),
            unasked,
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

    /// What a manifest is called in the repository: the root has the tag.
    fn name(&self, target: &Reference, manifest: &Descriptor) -> Reference {
        match manifest.digest == self.root.digest {
            true => target.clone(),
            false => target.clone().with_tag(None).with_digest(manifest.digest.clone()),
        }
    }

    /// The manifests that the repository lacks, the root first.
    async fn missing_manifests(&self, target: &Reference) -> Result<Vec<&Descriptor>> {
        let asked = Vec::from_iter(self.manifests.iter().map(|manifest| async move {
            let name = self.name(target, manifest);
            let there = self.registry.has_manifest(&name, &manifest.media_type, &manifest.digest).await?;
            Ok::<_, Error>((!there).then_some(manifest))
        }));
        stream::iter(asked)
            .buffered(PARALLEL)
            .try_filter_map(|missing| async move { Ok(missing) })
            .try_collect()
            .await
    }

    /// What names others comes after them, and the root last, so that nobody sees an image that is not whole.
    async fn push_manifests(&self, target: &Reference, missing: Vec<&Descriptor>) -> Result<()> {
        let read = |manifest: &Descriptor| self.content.read(&manifest.digest).map(Bytes::from);
        let put = |manifest: &Descriptor| {
            let (name, bytes) = (self.name(target, manifest), read(manifest));
            let media_type = manifest.media_type.clone();
            async move { self.registry.put_manifest(&name, &media_type, bytes?).await.map(drop) }
        };
        let (of_images, indexes): (Vec<_>, Vec<_>) = missing.into_iter().partition(|manifest| {
            media::is_manifest(&manifest.media_type) && manifest.digest != self.root.digest
        });
        let puts = Vec::from_iter(of_images.into_iter().map(put));
        stream::iter(puts).buffer_unordered(PARALLEL).try_collect::<()>().await?;
        for Referrer { subject, manifest } in &self.referrers {
            self.registry.push_referrer(target, subject, manifest, read(manifest)?).await?;
        }
        for manifest in indexes.into_iter().rev() {
            put(manifest).await?;
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
