//! Images of the store that become archives, and archives that become images.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use archive::{Image, Named, Reading, Variant};
use content::Lease;
use errdefs::{Error, Result, ResultExt as _};
use oci::{Descriptor, Platform, Reference};
use refs::Refs;
use snapshot::View;
use tokio_util::sync::CancellationToken;

use super::{Manifests, blocking, by_name, complete, find, names, one};
use crate::Engine;
use crate::container::files;

/// What goes into an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// By name, or by the beginning of a digest.
    pub images: Vec<String>,
    /// All, unless one is named.
    pub platform: Option<Platform>,
    /// Without what Docker looks at.
    pub oci_only: bool,
}

/// What is taken of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// All, unless one is named.
    pub platform: Option<Platform>,
    /// For the image of an archive that has one, beside the names that it has there.
    pub names: Vec<String>,
}

impl Engine {
    /// Writes images as one archive. A writer that fails ends it.
    pub async fn save_images(
        &self,
        options: SaveOptions,
        mut out: impl Write + Send + 'static,
    ) -> Result<()> {
        let refs = self.refs().clone();
        let cancel = CancellationToken::new();
        let _cancel_when_dropped = cancel.clone().drop_guard();
        blocking(move || {
            let images = chosen(&refs, &options)?;
            let _held = hold(&refs, images.iter().map(|image| &image.root))?;
            let variant = if options.oci_only { Variant::Oci } else { Variant::Docker };
            archive::write(refs.content(), &images, variant, &BTreeSet::new(), &mut out, &cancel)?;
            Ok(out.flush()?)
        })
        .await
    }

    /// Takes the images of an archive into the store, under the names that they have there. What fails leaves nothing.
    pub async fn load_images(
        &self,
        options: LoadOptions,
        input: impl Read + Send + 'static,
    ) -> Result<Vec<Image>> {
        let refs = self.refs().clone();
        blocking(move || {
            let lease = refs.content().lease();
            let mut reading = Reading::new(refs.content(), &lease);
            let images = reading.read(input, options.platform.as_ref()).and_then(|mut images| {
                named(&mut images, &options.names)?;
                // A name that is told outlives a power cut, and so does what it stands for.
                refs.content().flush()?;
                for image in &images {
                    for name in &image.names {
                        refs.images().tag(&name.to_string(), &image.target)?;
                    }
                }
                Ok(images)
            });
            let came = reading.came();
            drop(lease);
            refs.collect_blobs(&came).context("failed to remove what no image has")?;
            images
        })
        .await
    }

    /// Writes the files of an image for one platform as a tar archive. A writer that fails ends it.
    pub async fn export_image(
        &self,
        text: &str,
        platform: Option<Platform>,
        mut out: impl Write + Send + 'static,
    ) -> Result<()> {
        let found = find(self.refs(), text, platform).await?;
        let cancel = CancellationToken::new();
        let _cancel_when_dropped = cancel.clone().drop_guard();
        let reference = files(self.refs(), &found)?;
        let view = match &reference {
            Some(reference) => reference.view().await?,
            None => View::empty(),
        };
        blocking(move || {
            exporter::write_view(view, &mut out, &cancel)?;
            Ok(out.flush()?)
        })
        .await
    }
}

/// The images of a request, each once.
fn chosen(refs: &Refs, options: &SaveOptions) -> Result<Vec<Named>> {
    let stored = refs.images().list()?;
    let mut chosen: Vec<Named> = Vec::new();
    for text in &options.images {
        let image = one(refs, &stored, text)?;
        // By its digest, an image is meant with all its names.
        let names = match by_name(&stored, text) {
            Some(image) => vec![image.name],
            None => names(&stored, &image.target.digest),
        };
        let names = names.iter().filter_map(|name| name.parse::<Reference>().ok());
        let root = root(refs, &image.target, options.platform.as_ref(), text)?;
        match chosen.iter_mut().find(|known| known.root.digest == root.digest) {
            Some(known) => known.names.extend(names),
            None => chosen.push(Named { root, referrers: Vec::new(), names: names.collect() }),
        }
    }
    for image in &mut chosen {
        image.names.sort();
        image.names.dedup();
    }
    Ok(chosen)
}

/// All of an image, or the manifest of one platform.
pub(super) fn root(
    refs: &Refs,
    target: &Descriptor,
    platform: Option<&Platform>,
    name: &str,
) -> Result<Descriptor> {
    match platform {
        None => Ok(target.clone()),
        Some(_) => Ok(Manifests::read(refs, target)?.select(platform, name)?.descriptor.clone()),
    }
}

/// Keeps all blobs of images as long as the lease is there.
///
/// # Errors
/// One is not there: an image of the store has all its blobs, unless one was found damaged and set aside.
pub(super) fn hold<'a>(refs: &Refs, roots: impl Iterator<Item = &'a Descriptor>) -> Result<Lease> {
    let lease = refs.content().lease();
    for blob in archive::reachable(refs.content(), &Vec::from_iter(roots.cloned()))? {
        if !lease.hold(&blob.digest) {
            let message = format!("{} of the image is missing in the store", blob.digest);
            return Err(Error::environment(message)
                .with_code(errdefs::Code::DataLoss)
                .hint("build it again"));
        }
    }
    Ok(lease)
}

/// Gives the only image of an archive more names.
fn named(images: &mut [Image], names: &[String]) -> Result<()> {
    match images {
        [only] => {
            for name in names {
                only.names.push(complete(name)?);
            }
        }
        several if !names.is_empty() => {
            return Err(Error::user(format!(
                "the archive has {} images: no name can be for all",
                several.len()
            )));
        }
        _ => {}
    }
    match images.iter().find(|image| image.names.is_empty()) {
        None => Ok(()),
        Some(image) => Err(Error::user(format!("image {} has no name in the archive", image.target.digest))
            .hint("give it one with `--tag NAME`")),
    }
}
