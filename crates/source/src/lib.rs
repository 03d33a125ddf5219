//! Where bytes come from: image, http, local, oci-layout; each gives a ref and a stable key.
//!
//! [`Sources::identify`] reads the identifier and attributes of a source op. A [`Source`] first says its key, which
//! costs as little as it can (a manifest, a HEAD request, nothing), and is asked for a ref only when no record is found
//! under that key. The layers of an image are not fetched even then: the ref is lazy.
//!
//! Never: decides when to fetch.

mod context;
mod identify;
mod sources;

mod blob;
mod image;
mod manifest;
mod origin;
mod remote;

mod file;
mod git;
mod http;
mod local;
mod meanings;
mod memory;
mod pump;
mod sums;

use async_trait::async_trait;
use errdefs::Result;
use frontend::{SourceMeta, SourceOptions};
use refs::ImmutableRef;

pub use context::Context;
pub use identify::whole_name;
pub use meanings::Meanings;
pub use sources::{Parts, Sources};

/// The key of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// In the form that BuildKit gives it, before it is hashed.
    pub text: String,
    /// Holds for this build only.
    pub transient: bool,
    /// No further key follows.
    pub done: bool,
}

/// One source of one build.
#[async_trait]
pub trait Source: Send + Sync {
    /// Key number `index`, counted from 0; each is another way to find the same.
    async fn key(&self, cx: &Context, index: usize) -> Result<Key>;

    /// What is known beside the files.
    async fn meta(&self, _: &Context, _: &SourceOptions) -> Result<SourceMeta> {
        Ok(SourceMeta::Plain)
    }

    /// What it stands for, as far as a key or the files were asked for: the digest of an image or of a page, a commit.
    /// Nothing where there is no such thing.
    fn pin(&self) -> Option<String> {
        None
    }

    /// The files; `None` is scratch.
    async fn snapshot(&self, cx: &Context) -> Result<Option<ImmutableRef>>;
}
