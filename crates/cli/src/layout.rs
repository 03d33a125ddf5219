//! Folders in the form of an OCI layout: caches, and images that are no archive.

use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt as _};
use fsutil::tar::{Entry, EntryKind, Writer};
use futures_util::TryStreamExt as _;
use oci::{Descriptor, Digest, DigestWriter, Index, Reference, media};
use registry::ByteStream;
use serde_json::Value;
use tokio_util::io::ReaderStream;

use crate::result_files::write_atomic;

/// Annotations by which an index names what it has.
const IMAGE_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation by which an index says what an entry hangs on, as buildx writes and reads it (containerd,
/// core/images/annotations.go).
const SUBJECT: &str = "io.containerd.manifest.subject";
/// Most bytes of a manifest.
const MANIFEST: u64 = 8 << 20;
/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// A folder with blobs, and an index that names some of them.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub fn new(path: PathBuf) -> Self {
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn shown(&self) -> std::path::Display<'_> {
        self.0.display()
    }

    pub fn make(&self) -> Result<()> {
        Ok(std::fs::create_dir_all(&self.0)?)
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.0.join("blobs").join(digest.algorithm()).join(digest.hex())
    }

    /// Adds a blob.
    pub fn add(&self, bytes: &[u8]) -> Result<()> {
        let path = self.blob(&Digest::of(bytes));
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        Ok(std::fs::write(path, bytes)?)
    }

    /// The bytes of a manifest or an index.
    pub fn manifest(&self, manifest: &Descriptor) -> Result<Vec<u8>> {
        if manifest.size > MANIFEST {
            return Err(Error::user(format!("{} is too large for a manifest", manifest.digest)));
        }
        Ok(std::fs::read(self.blob(&manifest.digest))?)
    }

    /// Writes all of it as an archive. Links are left out: a layout has none, and they may lead anywhere.
    pub fn archive(&self, out: impl Write) -> Result<()> {
        let mut archive = Writer::new(out);
        let mut todo = entries(&self.0)?;
        todo.sort_by(|a, b| b.cmp(a));
        while let Some(path) = todo.pop() {
            let kind = std::fs::symlink_metadata(&path)?.file_type();
            let mut name = path.strip_prefix(&self.0).unwrap_or(&path).as_os_str().as_bytes().to_vec();
            if kind.is_dir() {
                name.push(b'/');
                let dir = Entry { path: name, mode: 0o755, kind: EntryKind::Dir, ..Entry::default() };
                archive.ustar_header(&dir)?;
                let mut below = entries(&path)?;
                below.sort_by(|a, b| b.cmp(a));
                todo.extend(below);
            } else if kind.is_file() {
                let mut file = File::open(&path)?;
                let size = file.metadata()?.len();
                archive.ustar_header(&Entry { path: name, mode: 0o644, size, ..Entry::default() })?;
                std::io::copy(&mut file, &mut archive)?;
            }
        }
        archive.finish()?.flush()?;
        Ok(())
    }

    /// The bytes of a blob that names others, checked.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.blob(digest);
        let told = || format!("failed to read `{}`", path.display());
        let file = File::open(&path).with_context(told)?;
        let size = file.metadata().with_context(told)?.len();
        if size > MANIFEST {
            return Err(Error::user(format!("{digest} is too large for a manifest")));
        }
        let mut bytes = Vec::new();
        file.take(MANIFEST).read_to_end(&mut bytes).with_context(told)?;
        match digest.algorithm() != "sha256" || Digest::of(&bytes) == *digest {
            true => Ok(bytes),
            false => Err(Error::user(format!("`{}` is damaged", path.display()))),
        }
    }

    /// A blob, piece by piece.
    pub async fn open(&self, digest: &Digest) -> Result<ByteStream> {
        let path = self.blob(digest);
        let file = tokio::fs::File::open(&path).await;
        let file = file.with_context(|| format!("failed to read `{}`", path.display()))?;
        Ok(Box::pin(ReaderStream::with_capacity(file, CHUNK).map_err(Error::from)))
    }

    /// Takes a blob as it comes. It is there once it is whole.
    pub async fn receive(&self, blob: &Descriptor, mut bytes: ByteStream) -> Result<()> {
        let path = self.blob(&blob.digest);
        let dir = path.parent().unwrap_or(&self.0);
        std::fs::create_dir_all(dir)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".kiln-").permissions(std::fs::Permissions::from_mode(0o644));
        let mut file = builder.tempfile_in(dir)?;
        let mut digest = DigestWriter::default();
        while let Some(piece) = bytes.try_next().await? {
            digest.write_all(&piece)?;
            file.write_all(&piece)?;
        }
        let found = digest.finish();
        if blob.digest.algorithm() == "sha256" && found != blob.digest {
            return Err(Error::environment(format!(
                "blob {} is damaged: it has the digest {found}",
                blob.digest
            )));
        }
        file.persist(&path).map_err(|e| Error::from(e.error))?;
        Ok(())
    }

    /// What the index has under a tag.
    pub fn descriptor(&self, tag: &str) -> Result<Descriptor> {
        let digest = self.find(tag)?;
        let index = self.index()?.unwrap_or_else(|| Index::new(media::OCI_INDEX, Vec::new()));
        let mut found = index.manifests.into_iter().find(|m| m.digest == digest);
        let mut found =
            found.take().ok_or_else(|| Error::not_found(format!("no digest found for tag {tag}")))?;
        [IMAGE_NAME, REF_NAME].iter().for_each(|key| _ = found.annotations.remove(*key));
        Ok(found)
    }

    /// Enters a manifest into the index, under a tag or none.
    pub fn tag(&self, manifest: &Descriptor, tag: Option<&str>) -> Result<()> {
        match tag {
            Some(tag) => self.put(manifest, &Name::Tag(tag)),
            None => {
                let mut index = self.index()?.unwrap_or_else(|| Index::new(media::OCI_INDEX, Vec::new()));
                if !index.manifests.iter().any(|known| known.digest == manifest.digest) {
                    index.manifests.push(manifest.clone());
                }
                self.write(&index)
            }
        }
    }

    /// What hangs on a manifest: what the index says hangs on it, and manifests of the folder whose subject it is.
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut todo = self.index()?.map(|index| index.manifests).unwrap_or_default();
        todo.reverse();
        while let Some(mut entry) = todo.pop() {
            let is_manifest = media::is_index(&entry.media_type) || media::is_manifest(&entry.media_type);
            if !is_manifest || !seen.insert(entry.digest.clone()) {
                continue;
            }
            // A folder need not have all that it lists.
            let json: Value = match self.has(&entry.digest) {
                true => serde_json::from_slice(&self.read(&entry.digest)?)
                    .map_err(|e| Error::user(format!("{} is no manifest: {e}", entry.digest)))?,
                false => Value::Null,
            };
            let below = json["manifests"].as_array().into_iter().flatten().rev();
            todo.extend(below.filter_map(|below| serde_json::from_value::<Descriptor>(below.clone()).ok()));
            let said = entry.annotations.remove(SUBJECT);
            if said.as_deref().or(json["subject"]["digest"].as_str()) == Some(subject.as_str()) {
                if entry.artifact_type.is_empty() {
                    let kind = json["artifactType"].as_str().or(json["config"]["mediaType"].as_str());
                    entry.artifact_type = kind.unwrap_or_default().to_owned();
                }
                found.push(entry);
            }
        }
        Ok(found)
    }

    /// Lists what hangs on a manifest, unless something else in the index has it.
    pub fn hang(&self, referrer: &Descriptor, subject: &Digest) -> Result<()> {
        if self.needed()?.contains(&referrer.digest) {
            return Ok(());
        }
        let mut referrer = referrer.clone();
        referrer.annotations.insert(SUBJECT.into(), subject.to_string());
        self.tag(&referrer, None)
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.blob(digest).is_file()
    }

    /// The manifest of this name.
    pub fn find(&self, tag: &str) -> Result<Digest> {
        let path = self.0.join("index.json");
        let missing =
            || Error::not_found(format!("could not read {}: no such file or directory", path.display()));
        let index = self.index()?.ok_or_else(missing)?;
        let named = |key: &str| {
            index.manifests.iter().find(|m| m.annotations.get(key).is_some_and(|name| name == tag))
        };
        let found = named(IMAGE_NAME).or_else(|| named(REF_NAME)).map(|found| found.digest.clone());
        found.ok_or_else(|| Error::not_found(format!("no digest found for tag {tag}")))
    }

    fn index(&self) -> Result<Option<Index>> {
        let path = self.0.join("index.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let index = serde_json::from_slice(&bytes);
        index.map(Some).map_err(|e| Error::user(format!("could not read {}: {e}", path.display())))
    }

    /// Names a manifest; what had the name before has none any more.
    pub fn put(&self, manifest: &Descriptor, name: &Name<'_>) -> Result<()> {
        let mut manifest = manifest.clone();
        let (image, reference) = match name {
            Name::Tag(tag) => (None, *tag),
            Name::Image(name) => (Some(*name), tag_of(name)),
        };
        manifest.annotations.extend(image.map(|image| (IMAGE_NAME.into(), image.to_owned())));
        manifest.annotations.insert(REF_NAME.into(), reference.to_owned());
        let mut index = self.index()?.unwrap_or_else(|| Index::new(media::OCI_INDEX, Vec::new()));
        let has = |m: &Descriptor, key, value| m.annotations.get(key).map(String::as_str) == value;
        index.manifests.retain(|m| !has(m, REF_NAME, Some(reference)) || !has(m, IMAGE_NAME, image));
        index.manifests.push(manifest);
        self.write(&index)
    }

    fn write(&self, index: &Index) -> Result<()> {
        write_atomic(&self.0.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        write_atomic(&self.0.join("index.json"), &String::from_utf8_lossy(&oci::json::to_vec(index)))
    }

    /// Removes all blobs that nothing in the index needs.
    pub fn reset(&self) -> Result<()> {
        let needed = self.needed()?;
        for algorithm in entries(&self.0.join("blobs"))? {
            let name = algorithm.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for blob in entries(&algorithm)? {
                let hex = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let digest = format!("{name}:{hex}").parse::<Digest>();
                if digest.is_ok_and(|digest| !needed.contains(&digest)) {
                    std::fs::remove_file(&blob)?;
                }
            }
        }
        Ok(())
    }

    /// What the index names, and all below it.
    fn needed(&self) -> Result<HashSet<Digest>> {
        let mut needed = HashSet::new();
        let mut todo = self.index()?.map(|index| index.manifests).unwrap_or_default();
        while let Some(descriptor) = todo.pop() {
            if needed.insert(descriptor.digest.clone()) {
                let kind = &descriptor.media_type;
                if media::is_index(kind) || media::is_manifest(kind) {
                    todo.extend(self.children(&descriptor)?);
                }
            }
        }
        Ok(needed)
    }

    fn children(&self, manifest: &Descriptor) -> Result<Vec<Descriptor>> {
        let json: Value =
            serde_json::from_slice(&self.manifest(manifest)?).map_err(|e| Error::user(e.to_string()))?;
        let lists = [&json["manifests"], &json["layers"]].into_iter().filter_map(Value::as_array).flatten();
        let all = lists.chain(Some(&json["config"]).filter(|config| config.is_object())).cloned();
        all.map(|d| serde_json::from_value(d).map_err(|e| Error::user(e.to_string()))).collect()
    }
}

/// What the index of a folder calls a manifest.
pub(crate) enum Name<'a> {
    Tag(&'a str),
    /// An image by its whole name.
    Image(&'a str),
}

/// What the index of a layout calls an image: its tag, or else the whole name.
fn tag_of(name: &str) -> &str {
    match name.parse::<Reference>() {
        Ok(reference) => reference.tag().map_or(name, |tag| &name[name.len() - tag.len()..]),
        Err(_) => name,
    }
}

/// What is in a folder; nothing where there is no folder.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    match std::fs::read_dir(dir) {
        Ok(entries) => Ok(entries.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a blob and gives its descriptor.
    fn blob(folder: &Folder, media_type: &str, bytes: &str) -> Descriptor {
        folder.add(bytes.as_bytes()).expect("written");
        Descriptor::of(media_type, bytes.as_bytes())
    }

    #[test]
    fn what_hangs_on_a_manifest_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(dir.path().to_owned());
        let config = blob(&folder, media::OCI_EMPTY, "{}");
        let manifest = |subject: Option<&Descriptor>, artifact_type: &str| {
            let mut manifest = oci::Manifest::new(media::OCI_MANIFEST, config.clone(), Vec::new());
            (manifest.artifact_type, manifest.subject) = (artifact_type.into(), subject.cloned());
            let json = String::from_utf8(oci::json::to_vec(&manifest)).expect("text");
            blob(&folder, media::OCI_MANIFEST, &json)
        };
        let image = manifest(None, "image");
        let (by_index, by_subject, nested) =
            (manifest(None, "a"), manifest(Some(&image), "b"), manifest(Some(&image), "c"));
        let index = oci::json::to_vec(&Index::new(media::OCI_INDEX, vec![image.clone(), nested.clone()]));
        let index = blob(&folder, media::OCI_INDEX, &String::from_utf8(index).expect("text"));
        folder.put(&index, &Name::Tag("latest")).expect("put");
        folder.tag(&by_subject, None).expect("listed");
        folder.hang(&by_index, &image.digest).expect("listed");
        folder.hang(&nested, &image.digest).expect("known");
        let found = |subject: &Descriptor| {
            let found = folder.referrers(&subject.digest).expect("read");
            found.into_iter().map(|d| (d.artifact_type, d.digest)).collect::<Vec<_>>()
        };
        let expected = [("c", &nested), ("b", &by_subject), ("a", &by_index)];
        assert_eq!(found(&image), expected.map(|(kind, d)| (kind.to_owned(), d.digest.clone())));
        assert_eq!(found(&nested), []);
        assert_eq!(folder.index().expect("read").expect("there").manifests.len(), 3, "none stands twice");
    }

    /// A cache of one layer, under a name.
    fn cache(folder: &Folder, tag: &str, layer: &str) -> Descriptor {
        let config = blob(folder, "config", &format!("config of {layer}"));
        let layers = vec![blob(folder, media::OCI_LAYER, layer)];
        let manifest = oci::Manifest::new(media::OCI_MANIFEST, config, layers);
        let json = String::from_utf8(oci::json::to_vec(&manifest)).expect("text");
        let manifest = blob(folder, media::OCI_MANIFEST, &json);
        folder.put(&manifest, &Name::Tag(tag)).expect("put");
        manifest
    }

    #[test]
    fn caches_are_found_by_name_and_old_ones_go() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(dir.path().join("cache"));
        assert!(folder.find("latest").is_err());
        folder.make().expect("made");
        let old = cache(&folder, "latest", "one");
        let other = cache(&folder, "other", "two");
        let new = cache(&folder, "latest", "three");
        assert_eq!(folder.find("latest").expect("found"), new.digest);
        assert_eq!(folder.find("other").expect("found"), other.digest);
        assert!(folder.find("v1").is_err() && folder.has(&old.digest));
        folder.reset().expect("reset");
        let has = |text: String| folder.has(&Digest::of(text));
        let there = |layer: &str| has(layer.to_owned()) && has(format!("config of {layer}"));
        assert!(!folder.has(&old.digest) && folder.has(&new.digest) && folder.has(&other.digest));
        assert_eq!(["one", "two", "three"].map(there), [false, true, true]);
    }
}
