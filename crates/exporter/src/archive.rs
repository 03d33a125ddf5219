//! An image as one archive: an OCI image layout (OCI image-spec, image-layout.md), for Docker with a `manifest.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use errdefs::{Error, Result, ResultExt};
use fsutil::tar::{Entry, EntryKind, Writer};
use oci::json::to_vec;
use oci::{Descriptor, Digest, Index, Manifest, Reference, media};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::layout::Variant;

/// Annotation with the full name of an image.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// An image that is to be an archive.
pub struct Archive<'a> {
    pub root: &'a Descriptor,
    /// What hangs on it.
    pub referrers: &'a [Descriptor],
    pub names: &'a [Reference],
    pub variant: Variant,
    /// Blobs that whoever reads it has.
    pub known: &'a BTreeSet<Digest>,
}

/// Writes an image to `out`.
pub fn write(
    content: &content::Store,
    image: &Archive<'_>,
    out: impl Write,
    cancel: &CancellationToken,
) -> Result<()> {
    let Archive { root, referrers, names, variant, known } = *image;
    let mut files =
        BTreeMap::from([("oci-layout".to_owned(), File::small(0o444, oci::manifest::LAYOUT_FILE.into()))]);
    files.insert("index.json".to_owned(), File::small(0o644, index(root, referrers, names)));
    if variant == Variant::Docker {
        files.insert("manifest.json".to_owned(), File::small(0o644, docker_manifest(content, root, names)?));
    }
    let roots: Vec<_> = std::iter::once(root).chain(referrers).cloned().collect();
    for blob in reachable(content, &roots)?.into_iter().filter(|blob| !known.contains(&blob.digest)) {
        let path = blob_path(&blob.digest);
        for end in path.match_indices('/').map(|(end, _)| end) {
            files.entry(path[..=end].to_owned()).or_insert(File::Dir);
        }
        files.insert(path, File::Blob { digest: blob.digest, size: blob.size });
    }
    let mut archive = Writer::new(out);
    for (path, file) in files {
        file.write(&path, content, &mut archive, cancel)?;
    }
    archive.finish().context("failed to write archive")?;
    Ok(())
}

enum File {
    Dir,
    Small { mode: u32, bytes: Vec<u8> },
    Blob { digest: Digest, size: u64 },
}

impl File {
    fn small(mode: u32, bytes: Vec<u8>) -> Self {
        File::Small { mode, bytes }
    }

    fn write<W: Write>(
        self,
        path: &str,
        content: &content::Store,
        archive: &mut Writer<W>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let entry = |mode, size| Entry { path: path.into(), mode, size, ..Entry::default() };
        let write = "failed to write archive";
        match self {
            File::Dir => {
                archive.ustar_header(&Entry { kind: EntryKind::Dir, ..entry(0o755, 0) }).context(write)
            }
            File::Small { mode, bytes } => {
                archive.ustar_header(&entry(mode, bytes.len() as u64)).context(write)?;
                archive.write_all(&bytes).context(write)
            }
            File::Blob { digest, size } => {
                let mut reader = content.open_verified(&digest)?;
                archive.ustar_header(&entry(0o444, size)).context(write)?;
                copy(&mut reader, archive, cancel).with_context(|| format!("failed to write blob `{digest}`"))
            }
        }
    }
}

/// Copies to the end, or until nobody wants it any more.
pub fn copy(from: &mut dyn Read, to: &mut dyn Write, cancel: &CancellationToken) -> Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        if cancel.is_cancelled() {
            return Err(Error::canceled());
        }
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => to.write_all(&buffer[..n])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// The blobs of images, manifests first named before what they name.
pub fn reachable(content: &content::Store, roots: &[Descriptor]) -> Result<Vec<Descriptor>> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut todo: Vec<_> = roots.iter().rev().cloned().collect();
    while let Some(next) = todo.pop() {
        // Blobs that are fetched from elsewhere are not part of the image.
        if media::is_foreign(&next.media_type) || !seen.insert(next.digest.clone()) {
            continue;
        }
        if media::is_index(&next.media_type) {
            todo.extend(parse::<Index>(content, &next.digest)?.manifests.into_iter().rev());
        } else if media::is_manifest(&next.media_type) {
            let manifest: Manifest = parse(content, &next.digest)?;
            todo.extend(manifest.layers.into_iter().rev());
            todo.push(manifest.config);
        }
        found.push(next);
    }
    Ok(found)
}

fn parse<T: serde::de::DeserializeOwned>(content: &content::Store, digest: &Digest) -> Result<T> {
    let bytes = content.read(digest)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::internal(format!("invalid manifest `{digest}`: {e}")))
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// The layout's index: the image once, or once per name, then what hangs on it.
fn index(root: &Descriptor, referrers: &[Descriptor], names: &[Reference]) -> Vec<u8> {
    let named = names.iter().map(|name| {
        let mut entry = root.clone();
        entry.annotations.insert(IMAGE_NAME.into(), name.to_string());
        let short = match (name.tag(), name.digest()) {
            (Some(tag), None) => tag.to_owned(),
            (Some(tag), Some(digest)) => format!("{tag}@{digest}"),
            (None, _) => name.to_string(),
        };
        entry.annotations.insert(oci::manifest::REF_NAME.into(), short);
        entry
    });
    let mut manifests: Vec<_> = named.collect();
    if manifests.is_empty() {
        manifests.push(root.clone());
    }
    manifests.extend_from_slice(referrers);
    to_vec(&Index::new(media::OCI_INDEX, manifests))
}

/// What `docker load` looks at. Of an index it is the one image, which stands before what is said of it.
fn docker_manifest(content: &content::Store, root: &Descriptor, names: &[Reference]) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Image {
        config: String,
        repo_tags: Option<Vec<String>>,
        layers: Option<Vec<String>>,
    }
    let image = match media::is_index(&root.media_type) {
        true => parse::<Index>(content, &root.digest)?.manifests.into_iter().next(),
        false => None,
    };
    let manifest: Manifest = parse(content, &image.as_ref().unwrap_or(root).digest)?;
    // Go's empty lists are `null`.
    let list = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let image = Image {
        config: blob_path(&manifest.config.digest),
        repo_tags: list(names.iter().map(Reference::familiar).collect()),
        layers: list(manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect()),
    };
    Ok(to_vec(&[image]))
}
