//! Docker's image store as a place for an image: what it has is not sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;
use errdefs::{Error, Result, ResultExt as _};
use futures_util::{StreamExt as _, stream};
use oci::Reference;
use serde_json::Value;
use session::{ImagePlace, Lack};

use super::Docker;
use super::body::{Known, LoadWriter};

/// Images that are looked at for their layers.
const LOOK_AT: usize = 64;
/// At once.
const PARALLEL: usize = 8;

/// Takes one image.
pub(crate) struct Place {
    docker: Docker,
    writer: Mutex<Option<LoadWriter>>,
}

impl Place {
    pub(super) fn new(docker: Docker, writer: LoadWriter) -> Self {
        Place { docker, writer: Mutex::new(Some(writer)) }
    }

    fn writer(&self) -> Result<LoadWriter> {
        let writer = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        writer.ok_or_else(|| Error::internal("a second image for Docker"))
    }

    /// Gives the image its names if Docker has it. Ids are digests of configs, or of manifests where containerd keeps the
    /// images.
    async fn is_there(&self, offered: &BTreeMap<String, String>, names: &[Reference]) -> Result<bool> {
        for key in ["containerimage.config.digest", "containerimage.digest"] {
            let Some(id) = offered.get(key) else { continue };
            let Some(image) = self.docker.image(id).await? else { continue };
            let known = BTreeSet::from_iter(texts(&image["RepoTags"]));
            for name in names.iter().filter(|name| !known.contains(name.familiar().as_str())) {
                self.docker.tag(id, &name.familiar_name(), name.tag().unwrap_or_default()).await?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// How many of the lowest layers Docker has. It finds them by what lies below, so they must be the lowest of one image.
    async fn known(&self, names: &[Reference], layers: &[String]) -> Result<usize> {
        let names = names.iter().map(Reference::familiar);
        let ids = self.docker.ids().await?;
        let looked = names.chain(ids).take(LOOK_AT).map(|id| async move { self.docker.image(&id).await });
        let mut images = stream::iter(looked).buffered(PARALLEL);
        let mut known = 0;
        while let Some(image) = images.next().await {
            // Another may have removed it.
            let Some(image) = image? else { continue };
            // Where containerd keeps the images, an archive has to be whole.
            if image.get("Descriptor").is_some_and(|d| !d.is_null()) {
                return Ok(0);
            }
            let same = texts(&image["RootFS"]["Layers"]).zip(layers).take_while(|(a, b)| a == b).count();
            known = known.max(same);
            if known == layers.len() {
                break;
            }
        }
        Ok(known)
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[async_trait]
impl ImagePlace for Place {
    async fn lacks(&self, offered: &BTreeMap<String, String>, layers: &[String]) -> Result<Lack> {
        let names = offered.get("image.name").map_or("", String::as_str).split(',').filter(|n| !n.is_empty());
        let names: Vec<Reference> = names
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()
            .map_err(|e| Error::user(format!("{e}")))?;
        let writer = self.writer()?;
        let gone = "failed to load into Docker";
        if self.is_there(offered, &names).await? {
            writer.there().await.context(gone)?;
            return Ok(Lack::Nothing);
        }
        let known = if layers.is_empty() { 0 } else { self.known(&names, layers).await? };
        writer.begin(Known { layers: known, of: layers.len() }).await.context(gone)?;
        Ok(Lack::Layers { known, to: Box::new(writer) })
    }
}
