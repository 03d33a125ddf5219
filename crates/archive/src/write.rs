//! Images as one archive: an OCI image layout (OCI image-spec, image-layout.md), for Docker with a `manifest.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use errdefs::{Error, Result, ResultExt};
use fsutil::tar::{Entry, EntryKind, Writer};
use oci::json::to_vec;
use oci::{Descriptor, Digest, Index, Manifest, Platform, Reference, media};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{DOCKER_MANIFEST, IMAGE_NAME, INDEX, LAYOUT};

/// Whom an archive is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Oci,
    /// Those that read layouts, and Docker.
    Docker,
}

/// An image with all its names; it may have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The manifest or index.
    pub root: Descriptor,
    /// What hangs on it.
    pub referrers: Vec<Descriptor>,
    pub names: Vec<Reference>,
}

/// Writes images to `out`, without the blobs that whoever reads it knows.
pub fn write(
    content: &content::Store,
    images: &[Named],
    variant: Variant,
    known: &BTreeSet<Digest>,
    out: impl Write,
    cancel: &CancellationToken,
) -> Result<()> {
    let mut files =
        BTreeMap::from([(LAYOUT.to_owned(), File::small(0o444, oci::manifest::LAYOUT_FILE.into()))]);
    files.insert(INDEX.to_owned(), File::small(0o644, index(images)));
    if variant == Variant::Docker {
        let images = images.iter().map(|image| docker_image(content, image)).collect::<Result<Vec<_>>>()?;
        files.insert(DOCKER_MANIFEST.to_owned(), File::small(0o644, to_vec(&images)));
    }
    let roots: Vec<_> = images
        .iter()
        .flat_map(|image| std::iter::once(&image.root).chain(&image.referrers))
        .cloned()
        .collect();
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

/// The layout's index: each image once, or once per name, then what hangs on it.
fn index(images: &[Named]) -> Vec<u8> {
    let entries = images.iter().flat_map(|image| {
        let mut entries = match &image.names[..] {
            [] => vec![image.root.clone()],
            names => names.iter().map(|name| entry(&image.root, name)).collect(),
        };
        entries.extend_from_slice(&image.referrers);
        entries
    });
    to_vec(&Index::new(media::OCI_INDEX, entries.collect()))
}

fn entry(root: &Descriptor, name: &Reference) -> Descriptor {
    let mut entry = root.clone();
    entry.annotations.insert(IMAGE_NAME.into(), name.to_string());
    let short = match (name.tag(), name.digest()) {
        (Some(tag), None) => tag.to_owned(),
        (Some(tag), Some(digest)) => format!("{tag}@{digest}"),
        (None, _) => name.to_string(),
    };
    entry.annotations.insert(oci::manifest::REF_NAME.into(), short);
    entry
}

/// What `docker load` looks at.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// Of an index it is the image that suits this machine, or else the first: images stand before what is said of them.
fn docker_image(content: &content::Store, image: &Named) -> Result<DockerImage> {
    let chosen = match media::is_index(&image.root.media_type) {
        true => {
            let index: Index = parse(content, &image.root.digest)?;
            index.select_image(&Platform::host()).or(index.manifests.first()).cloned()
        }
        false => None,
    };
    let manifest: Manifest = parse(content, &chosen.as_ref().unwrap_or(&image.root).digest)?;
    // Go's empty lists are `null`.
    let list = |list: Vec<String>| (!list.is_empty()).then_some(list);
    Ok(DockerImage {
        config: blob_path(&manifest.config.digest),
        repo_tags: list(image.names.iter().map(Reference::familiar).collect()),
        layers: list(manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect()),
    })
}
