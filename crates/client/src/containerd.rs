//! Images for containerd: blobs go from the engine into its store, which keeps and unpacks them.

use std::path::Path;

use errdefs::{Code, Error, Result, ResultExt as _};
use hyper_util::rt::TokioIo;
use oci::{ChainId, Descriptor, ImageConfig, Index, Manifest, Platform, media};
use proto::containerd::diff::ApplyRequest;
use proto::containerd::diff::diff_client::DiffClient;
use proto::containerd::images::images_client::ImagesClient;
use proto::containerd::images::{CreateImageRequest, Image, UpdateImageRequest};
use proto::containerd::leases::leases_client::LeasesClient;
use proto::containerd::leases::{CreateRequest, DeleteRequest};
use proto::containerd::snapshots::snapshots_client::SnapshotsClient;
use proto::containerd::snapshots::{
    CommitSnapshotRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest,
};
use proto::containerd::types;
use proto::content::{Info, ReadContentRequest, UpdateRequest};
use session::{StoreElsewhere, grpcerr};
use tokio::net::UnixStream;
use tonic::Status;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Uri;

/// Manifests, indexes and configs are no longer than that.
const LARGEST: i64 = 16 << 20;
/// What a client that is killed leaves is collected then.
const LEASE_HOURS: i64 = 24;

/// What takes one image, by a lease that keeps its blobs until it has a name.
pub struct Containerd {
    store: StoreElsewhere,
    lease: String,
}

impl Containerd {
    /// Connects to its socket.
    ///
    /// # Errors
    /// Where nobody listens, or whoever does is not containerd.
    pub async fn connect(socket: &Path, namespace: &str) -> Result<Self> {
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let unreachable = || format!("failed to reach containerd at `{}`", socket.display());
        let channel = proto::transport::endpoint().connect_with_connector(connector).await;
        let channel = channel.map_err(|e| Error::environment(chain(&e))).with_context(unreachable)?;
        let header = |value: &str| {
            AsciiMetadataValue::try_from(value)
                .map_err(|_| Error::user(format!("`{namespace}` is no namespace of containerd")))
        };
        let headers = vec![("containerd-namespace", header(namespace)?)];
        let mut containerd =
            Containerd { store: StoreElsewhere { channel, headers }, lease: crate::new_id() };
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(LEASE_HOURS);
        let labels = [("containerd.io/gc.expire".to_owned(), end.to_string())].into();
        let request = containerd.store.request(CreateRequest { id: containerd.lease.clone(), labels });
        LeasesClient::new(containerd.store.channel.clone())
            .create(request)
            .await
            .map_err(failed)
            .with_context(unreachable)?;
        containerd.store.headers.push(("containerd-lease", header(&containerd.lease)?));
        Ok(containerd)
    }

    /// Its blobs, for a session.
    pub fn store(&self) -> StoreElsewhere {
        self.store.clone()
    }

    /// Gives names to an image whose blobs are there, or takes them from others.
    pub async fn name(&self, image: &Descriptor, names: &[String]) -> Result<()> {
        self.refer(image).await?;
        let mut images = ImagesClient::new(self.store.channel.clone());
        for name in names {
            let image = Image { name: name.clone(), target: Some(descriptor(image)), ..Image::default() };
            let request = self.store.request(CreateImageRequest { image: Some(image.clone()) });
            let named = images.create(request).await.map(drop).map_err(failed);
            let named = match named {
                Err(e) if e.code() == Code::AlreadyExists => {
                    let request = self.store.request(UpdateImageRequest { image: Some(image) });
                    images.update(request).await.map(drop).map_err(failed)
                }
                other => other,
            };
            named.with_context(|| format!("failed to name the image {name}"))?;
        }
        Ok(())
    }

    /// Unpacks the layers for this machine, where one of the platforms suits it, so that containers start at once.
    pub async fn unpack(&self, image: &Descriptor, snapshotter: &str) -> Result<()> {
        let Some(manifest) = self.manifest_for(image, &Platform::host()).await? else { return Ok(()) };
        let config: ImageConfig = self.json(&manifest.config).await?;
        let mut below: Option<ChainId> = None;
        for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            let chain = match &below {
                None => ChainId(diff_id.0.clone()),
                Some(below) => below.push(diff_id),
            };
            let parent = below.map(|below| below.0.to_string()).unwrap_or_default();
            self.unpack_layer(layer, snapshotter, &parent, chain.0.as_ref())
                .await
                .with_context(|| format!("failed to unpack the layer {}", layer.digest))?;
            below = Some(chain);
        }
        let Some(chain) = below else { return Ok(()) };
        let label = format!("containerd.io/gc.ref.snapshot.{snapshotter}");
        self.label(&manifest.config, vec![(label, chain.0.to_string())]).await
    }

    /// Lets go of what keeps blobs without names.
    pub async fn finish(self) -> Result<()> {
        let request = self.store.request(DeleteRequest { id: self.lease.clone(), sync: false });
        LeasesClient::new(self.store.channel.clone()).delete(request).await.map(drop).map_err(failed)
    }

    async fn unpack_layer(
        &self,
        layer: &Descriptor,
        snapshotter: &str,
        parent: &str,
        chain: &str,
    ) -> Result<()> {
        let mut snapshots = SnapshotsClient::new(self.store.channel.clone());
        let snapshotter = snapshotter.to_owned();
        let stat = StatSnapshotRequest { snapshotter: snapshotter.clone(), key: chain.into() };
        match snapshots.stat(self.store.request(stat)).await.map_err(failed) {
            Ok(_) => return Ok(()),
            Err(e) if e.code() == Code::NotFound => {}
            Err(e) => return Err(e),
        }
        let key = format!("kiln-{} {chain}", self.lease);
        let prepare = PrepareSnapshotRequest {
            snapshotter: snapshotter.clone(),
            key: key.clone(),
            parent: parent.into(),
            labels: [("containerd.io/snapshot.ref".to_owned(), chain.to_owned())].into(),
        };
        let mounts = match snapshots.prepare(self.store.request(prepare)).await.map_err(failed) {
            Ok(prepared) => prepared.into_inner().mounts,
            // Somebody was faster.
            Err(e) if e.code() == Code::AlreadyExists => return Ok(()),
            Err(e) => return Err(e),
        };
        let apply = ApplyRequest { diff: Some(descriptor(layer)), mounts };
        let applied = DiffClient::new(self.store.channel.clone())
            .apply(self.store.request(apply))
            .await
            .map_err(failed);
        let committed = match applied {
            Ok(_) => {
                let name = chain.to_owned();
                let (snapshotter, key) = (snapshotter.clone(), key.clone());
                let commit = CommitSnapshotRequest { snapshotter, name, key, ..Default::default() };
                snapshots.commit(self.store.request(commit)).await.map(drop).map_err(failed)
            }
            Err(e) => Err(e),
        };
        if committed.is_err() {
            let _the_first_failure_is_told =
                snapshots.remove(self.store.request(RemoveSnapshotRequest { snapshotter, key })).await;
        }
        match committed {
            Err(e) if e.code() == Code::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Tells which blobs an image is made of, so that they stay as long as it does.
    async fn refer(&self, image: &Descriptor) -> Result<()> {
        let mut todo = vec![image.clone()];
        while let Some(at) = todo.pop() {
            let children = if media::is_index(&at.media_type) {
                self.json::<Index>(&at).await?.manifests
            } else if media::is_manifest(&at.media_type) {
                let manifest: Manifest = self.json(&at).await?;
                [vec![manifest.config], manifest.layers].concat()
            } else {
                continue;
            };
            let label = |(number, child): (usize, &Descriptor)| {
                (format!("containerd.io/gc.ref.content.{number}"), child.digest.to_string())
            };
            self.label(&at, children.iter().enumerate().map(label).collect()).await?;
            todo.extend(children);
        }
        Ok(())
    }

    /// The manifest that suits a platform best.
    async fn manifest_for(&self, image: &Descriptor, wanted: &Platform) -> Result<Option<Manifest>> {
        if !media::is_index(&image.media_type) {
            let manifest: Manifest = self.json(image).await?;
            let config: ImageConfig = self.json(&manifest.config).await?;
            return Ok(wanted.rank(&config.platform()).map(|_| manifest));
        }
        let manifests = self.json::<Index>(image).await?.manifests;
        let suiting = manifests.iter().filter_map(|m| Some((wanted.rank(m.platform.as_ref()?)?, m)));
        match suiting.min_by_key(|(rank, _)| *rank) {
            Some((_, manifest)) => self.json(manifest).await.map(Some),
            None => Ok(None),
        }
    }

    async fn label(&self, blob: &Descriptor, labels: Vec<(String, String)>) -> Result<()> {
        let paths = labels.iter().map(|(label, _)| format!("labels.{label}")).collect();
        let info =
            Info { digest: blob.digest.to_string(), labels: labels.into_iter().collect(), ..Info::default() };
        let update = UpdateRequest { info: Some(info), update_mask: Some(proto::FieldMask { paths }) };
        self.store.blobs().update(self.store.request(update)).await.map(drop).map_err(failed)
    }

    async fn json<T: serde::de::DeserializeOwned>(&self, blob: &Descriptor) -> Result<T> {
        let read = async {
            let request = ReadContentRequest { digest: blob.digest.to_string(), offset: 0, size: 0 };
            let mut pieces =
                self.store.blobs().read(self.store.request(request)).await.map_err(failed)?.into_inner();
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.message().await.map_err(failed)? {
                bytes.extend_from_slice(&piece.data);
                if bytes.len() as i64 > LARGEST {
                    return Err(Error::user("it is too large"));
                }
            }
            serde_json::from_slice(&bytes).map_err(|e| Error::user(e.to_string()))
        };
        read.await.with_context(|| format!("failed to read {} in containerd", blob.digest))
    }
}

fn failed(status: Status) -> Error {
    grpcerr::from_status(status)
}

/// What a failure of the transport comes from.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => chain(source),
        None => error.to_string(),
    }
}

fn descriptor(of: &Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: of.media_type.clone(),
        digest: of.digest.to_string(),
        size: of.size as i64,
        annotations: of.annotations.clone(),
    }
}
