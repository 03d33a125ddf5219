//! Remote caches, as far as they are the client's: folders are offered to the engine, and their index is kept.

use std::collections::BTreeMap;
use std::path::Path;

use client::CacheEntry;
use errdefs::{Error, Result, ResultExt as _};
use oci::{Descriptor, Digest};
use session::Attachables;

use crate::environment::Environment;
use crate::flags::{CacheFlag, parse_bool};
use crate::layout::{Folder, Name};
use crate::settings::CacheSettings;

/// What a cache is called in the index of its folder where nothing else is said.
const LATEST: &str = "latest";

/// The caches of a build.
#[derive(Default)]
pub(crate) struct Caches {
    pub imports: Vec<CacheEntry>,
    pub exports: Vec<CacheEntry>,
    /// What could not be used, to be told.
    pub warnings: Vec<String>,
    /// Folders that are written to.
    written: Vec<Written>,
}

struct Written {
    folder: Folder,
    tag: String,
    /// Blobs of older caches go.
    reset: bool,
}

impl Caches {
    /// Looks at the folders, and offers them to the engine.
    pub(crate) fn open(
        settings: &CacheSettings,
        env: &Environment,
        mut attachables: Attachables,
    ) -> Result<(Self, Attachables)> {
        let mut caches = Caches::default();
        for flag in &settings.from {
            let mut entry = entry(flag, "importer")?;
            if entry.kind == "local" {
                let Some((store, folder)) = caches.source(&mut entry, env)? else { continue };
                attachables = attachables.oci_layout(format!("local:{store}"), folder.path());
            }
            caches.imports.push(entry);
        }
        // A folder may be both read and written: what is offered last counts.
        for flag in &settings.to {
            let mut entry = entry(flag, "exporter")?;
            if entry.kind == "local" {
                let (store, written) = destination(&mut entry, env)?;
                attachables = attachables.cache_dir(format!("local:{store}"), written.folder.path());
                caches.written.push(written);
            }
            caches.exports.push(entry);
        }
        Ok((caches, attachables))
    }

    /// The folder of a cache to read. One that is not there is told and left out.
    fn source(&mut self, entry: &mut CacheEntry, env: &Environment) -> Result<Option<(String, Folder)>> {
        let src = required(&entry.attrs, "src", "local cache importer requires src")?;
        let folder = Folder::new(env.cwd.join(&src));
        match digest(&entry.attrs, &folder) {
            Ok(digest) => _ = entry.attrs.insert("digest".into(), digest.to_string()),
            Err(e) => {
                self.warnings.push(format!("local cache import at {src} skipped due to err: {e}"));
                return Ok(None);
            }
        }
        let store = store_id(&src);
        entry.attrs.insert("src".into(), store.clone());
        Ok(Some((store, folder)))
    }

    /// Notes in the folders what was written.
    pub(crate) fn finish(&self, response: &BTreeMap<String, String>) -> Result<()> {
        let Some(manifest) = response.get("cache.manifest") else { return Ok(()) };
        let manifest: Descriptor = serde_json::from_str(manifest)
            .map_err(|e| Error::environment(format!("the engine tells of no manifest: {e}")))?;
        for Written { folder, tag, reset } in &self.written {
            let shown = folder.shown();
            folder
                .put(&manifest, &Name::Tag(tag))
                .with_context(|| format!("failed to write the index of {shown}"))?;
            if *reset {
                folder.reset().with_context(|| format!("failed to clean {shown}"))?;
            }
        }
        Ok(())
    }

    /// `cache-imports`, by which a frontend knows the caches.
    pub(crate) fn frontend_option(&self) -> Option<(String, String)> {
        if self.imports.is_empty() {
            return None;
        }
        let entry = |e: &CacheEntry| serde_json::json!({"Type": e.kind, "Attrs": e.attrs});
        let list: Vec<_> = self.imports.iter().map(entry).collect();
        Some(("cache-imports".into(), serde_json::Value::Array(list).to_string()))
    }
}

fn entry(flag: &CacheFlag, what: &str) -> Result<CacheEntry> {
    let CacheFlag { kind, attrs } = flag.clone();
    if kind == "registry" {
        required(&attrs, "ref", &format!("registry cache {what} requires ref"))?;
    }
    Ok(CacheEntry { kind, attrs })
}

/// The manifest of a cache that is to be read.
fn digest(attrs: &BTreeMap<String, String>, folder: &Folder) -> Result<Digest> {
    let digest = match attrs.get("digest").filter(|digest| !digest.is_empty()) {
        Some(digest) => digest.parse().map_err(|_| Error::user(format!("invalid digest `{digest}`")))?,
        None => folder.find(attrs.get("tag").map_or(LATEST, String::as_str))?,
    };
    match folder.has(&digest) {
        true => Ok(digest),
        false => Err(Error::not_found(format!("content digest {digest}: not found"))),
    }
}

/// The folder of a cache to write.
fn destination(entry: &mut CacheEntry, env: &Environment) -> Result<(String, Written)> {
    let dest = required(&entry.attrs, "dest", "local cache exporter requires dest")?;
    let reset = match entry.attrs.get("reset") {
        None => false,
        Some(value) => parse_bool(value).ok_or_else(|| {
            Error::user(format!("failed to parse reset attribute: invalid value {value:?}"))
        })?,
    };
    let folder = Folder::new(env.cwd.join(&dest));
    folder.make().with_context(|| format!("failed to make the cache folder {dest}"))?;
    let tag = entry.attrs.get("tag").cloned().unwrap_or_else(|| LATEST.into());
    let store = store_id(&dest);
    entry.attrs.insert("dest".into(), store.clone());
    Ok((store, Written { folder, tag, reset }))
}

fn required(attrs: &BTreeMap<String, String>, key: &str, message: &str) -> Result<String> {
    let value = attrs.get(key).filter(|value| !value.is_empty()).cloned();
    value.ok_or_else(|| Error::user(message.to_owned()))
}

/// What a folder is called between client and engine: its path, where that can go into a header.
fn store_id(path: &str) -> String {
    match path.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        true => path.to_owned(),
        false => {
            let name = Path::new(path).file_name().unwrap_or_default().as_encoded_bytes().escape_ascii();
            format!("{}-{name}", &Digest::of(path).hex()[..8])
        }
    }
}
