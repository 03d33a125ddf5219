//! Taking an archive apart.

use std::io::{self, Read};

use content::Lease;
use errdefs::{Error, Result};
use oci::{Descriptor, Digest, Platform, Reference};

use crate::members::Members;
use crate::{DOCKER_MANIFEST, INDEX, docker, layout};

/// An image of an archive. All its blobs are in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The manifest or index.
    pub target: Descriptor,
    /// Complete; none where the archive gives it none.
    pub names: Vec<Reference>,
}

/// The reading of one archive into a store.
pub struct Reading<'a> {
    pub(crate) content: &'a content::Store,
    pub(crate) lease: &'a Lease,
    came: Vec<Digest>,
}

impl<'a> Reading<'a> {
    /// `lease` holds what comes.
    pub fn new(content: &'a content::Store, lease: &'a Lease) -> Self {
        Reading { content, lease, came: Vec::new() }
    }

    /// Reads an archive, packed in any way that [`fsutil::Compression`] knows or not at all: a layout, or else one of Docker's. With a platform, only
    /// its image is taken of those that are for several.
    ///
    /// # Errors
    /// User errors for what is no archive of images, is damaged, or lacks a blob.
    pub fn read(&mut self, input: impl Read, platform: Option<&Platform>) -> Result<Vec<Image>> {
        let members = Members::unpack(input, self)?;
        let images = if let Some(index) = members.small(INDEX, self.content)? {
            layout::images(self.content, self.lease, &index, platform)?
        } else if let Some(manifest) = members.small(DOCKER_MANIFEST, self.content)? {
            docker::images(self, &members, &manifest, platform)?
        } else {
            let message =
                format!("this is no archive of images: it has neither `{INDEX}` nor `{DOCKER_MANIFEST}`");
            return Err(Error::user(message));
        };
        match images.is_empty() {
            true => Err(Error::user("the archive has no image")),
            false => Ok(images),
        }
    }

    /// Takes a blob into the store: held by the lease, and among those that came.
    pub(crate) fn take(
        &mut self,
        mut input: impl Read,
        expected: Option<(Digest, u64)>,
    ) -> Result<(Digest, u64)> {
        let mut blob = self.lease.ingest(expected)?;
        let size = io::copy(&mut input, &mut blob)?;
        let digest = blob.commit()?;
        self.came.push(digest.clone());
        Ok((digest, size))
    }

    /// All blobs that came so far, also where reading failed, and those that no image has.
    pub fn came(self) -> Vec<Digest> {
        self.came
    }
}

/// A name that an archive gives an image, complete.
pub(crate) fn whole_name(text: &str) -> Result<Reference> {
    let name = text.parse::<Reference>().map(Reference::with_default_tag);
    name.map_err(|e| Error::user(format!("an image of the archive is called {text:?}: {e}")))
}
