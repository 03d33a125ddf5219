//! Names of images in Kiln's own store.

use std::sync::Arc;

use errdefs::Result;
use jiff::Timestamp;
use oci::Descriptor;
use redb::{Database, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::table::{begin, begin_lazy, begin_read, failed};

const IMAGES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("refs.images.v1");

/// A named image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// With its tag or digest, such as `docker.io/library/x:latest`.
    pub name: String,
    /// The manifest or index.
    pub target: Descriptor,
    /// When the name first came to be.
    pub created_at: Timestamp,
    /// When it last changed its target.
    pub updated_at: Timestamp,
}

/// The table of names. An image keeps its blobs in the content store.
pub struct Images(Arc<Database>);

impl Images {
    pub(crate) fn open(db: Arc<Database>) -> Result<Self> {
        let txn = begin_lazy(&db)?;
        txn.open_table(IMAGES).map(drop).map_err(failed)?;
        txn.commit().map_err(failed)?;
        Ok(Images(db))
    }

    pub fn get(&self, name: &str) -> Result<Option<Image>> {
        let txn = begin_read(&self.0)?;
        let table = txn.open_table(IMAGES).map_err(failed)?;
        let row = table.get(name).map_err(failed)?;
        Ok(row.and_then(|row| read(row.value())))
    }

    /// All images, by name.
    pub fn list(&self) -> Result<Vec<Image>> {
        let txn = begin_read(&self.0)?;
        let table = txn.open_table(IMAGES).map_err(failed)?;
        let mut images = Vec::new();
        for row in table.iter().map_err(failed)? {
            images.extend(read(row.map_err(failed)?.1.value()));
        }
        Ok(images)
    }

    /// Gives a name to an image, away from another one if need be. Durable when it returns.
    pub fn tag(&self, name: &str, target: &Descriptor) -> Result<Image> {
        // Most builds come to what was there, and no name was ever given without waiting for the disk.
        if let Some(known) = self.get(name)?.filter(|known| known.target == *target) {
            return Ok(known);
        }
        let now = Timestamp::now();
        let txn = begin(&self.0)?;
        let image = {
            let mut table = txn.open_table(IMAGES).map_err(failed)?;
            let known = table.get(name).map_err(failed)?.and_then(|row| read(row.value()));
            let created_at = known.map_or(now, |known| known.created_at);
            let image = Image { name: name.to_owned(), target: target.clone(), created_at, updated_at: now };
            let json = serde_json::to_vec(&image).map_err(|e| errdefs::Error::internal(e.to_string()))?;
            table.insert(name, &*json).map_err(failed)?;
            image
        };
        txn.commit().map_err(failed)?;
        Ok(image)
    }

    /// Takes a name away; `false` where there was none.
    pub fn remove(&self, name: &str) -> Result<bool> {
        let txn = begin(&self.0)?;
        let removed = txn.open_table(IMAGES).map_err(failed)?.remove(name).map_err(failed)?.is_some();
        txn.commit().map_err(failed)?;
        Ok(removed)
    }
}

fn read(json: &[u8]) -> Option<Image> {
    serde_json::from_slice(json).inspect_err(|e| tracing::warn!("an image name cannot be read: {e}")).ok()
}
