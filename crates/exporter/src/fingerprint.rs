//! What an exporter would make of a result, without taking it anywhere.

use std::collections::BTreeMap;

use errdefs::{Error, Result};
use oci::{Digest, DigestWriter};
use refs::Refs;
use snapshot::{Time, Times};

use crate::Exportable;
use crate::attrs::Attrs;
use crate::commit::commit;
use crate::context::ExportContext;
use crate::epoch::Epoch;
use crate::files::{self, FileOptions};
use crate::options::ImageOptions;
use crate::tarball;

/// A way to tell whether two results would be exported as the same bytes. Attestations do not count: they tell when a
/// build ran.
pub struct Fingerprint {
    refs: Refs,
    kind: Kind,
    metadata: BTreeMap<String, bytes::Bytes>,
}

enum Kind {
    Image(Box<ImageOptions>),
    Files(FileOptions),
}

impl Fingerprint {
    /// For an exporter of a type, with its attributes. One that is not known counts as an image.
    pub(crate) fn resolve(refs: &Refs, kind: &str, given: &BTreeMap<String, String>) -> Result<Self> {
        let mut attrs = Attrs::new("verify", given);
        let kind = match kind {
            "local" | "tar" => Kind::Files(FileOptions::take(&mut attrs)?),
            _ => Kind::Image(Box::new(ImageOptions::take(&mut attrs, false)?)),
        };
        // What is left says where the result goes, or is metadata.
        let metadata = attrs.take_all(|key| key.contains('.') && !key.starts_with("registry."));
        let metadata = metadata.into_iter().map(|(key, value)| (key, value.into())).collect();
        Ok(Fingerprint { refs: refs.clone(), kind, metadata })
    }

    /// The time that an image tells it was made at, where one is given; files of a folder have it too.
    pub fn epoch(&self, result: &Exportable) -> Result<Option<i64>> {
        let result = result.with_metadata(&self.metadata);
        let first = result.platforms()?.into_iter().next();
        first.map_or(Ok(None), |platform| self.own_epoch().of(&result, &platform))
    }

    fn own_epoch(&self) -> Epoch {
        match &self.kind {
            Kind::Image(options) => options.epoch,
            Kind::Files(options) => options.epoch,
        }
    }

    /// How times of files count in what is exported.
    pub fn times(&self, result: &Exportable) -> Result<Times> {
        let Some(epoch) = self.epoch(result)? else { return Ok(Times::Exact) };
        Ok(match &self.kind {
            Kind::Files(_) => Times::Ignored,
            Kind::Image(options) if options.rewrite_timestamp => {
                Times::NotAfter(Time { secs: epoch, nanos: 0 })
            }
            Kind::Image(_) => Times::Exact,
        })
    }

    /// The digest of the manifest or index of an image, or of an archive of files. An image without a time of its own is
    /// made at `created`, in seconds since 1970.
    pub async fn of(&self, result: &Exportable, created: i64, cx: &ExportContext) -> Result<Digest> {
        let mut result = result.with_metadata(&self.metadata);
        result.attestations.clear();
        match &self.kind {
            Kind::Image(options) => {
                let mut options = options.clone();
                if self.epoch(&result)?.is_none() {
                    options.epoch = Epoch::At(created);
                    // The times of files were not to be touched.
                    options.rewrite_timestamp = false;
                }
                Ok(commit(&self.refs, &result, &options, cx).await?.descriptor.digest)
            }
            Kind::Files(options) => {
                let parts = files::parts(&result, options, cx).await?;
                let files =
                    if result.is_map() { files::Files::split(parts) } else { files::Files::merged(parts) };
                cx.blocking(move |cancel| {
                    let mut digest = DigestWriter::default();
                    tarball::write(&files, &mut digest, cancel)?;
                    Ok::<_, Error>(digest.finish())
                })
                .await
            }
        }
    }
}
