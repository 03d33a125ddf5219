//! Sources, what is known of them, and what can be asked about them.

use std::collections::BTreeMap;

use oci::Platform;

/// What a build wants to fetch: an identifier as `docker-image://docker.io/library/alpine:3`, and its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    pub identifier: String,
    pub attrs: BTreeMap<String, String>,
}

/// A source, and what the engine has told of it so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    pub source: Source,
    pub image: Option<ImageMeta>,
    pub git: Option<GitMeta>,
    pub http: Option<HttpMeta>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageMeta {
    /// Of the index or the manifest that the name stands for.
    pub digest: String,
    /// JSON; empty where it was not asked for.
    pub config: Vec<u8>,
    /// `None` where it was not asked for.
    pub chain: Option<Chain>,
}

/// Digests from an image to what is said of it, and the blobs themselves. Empty texts are what is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    pub attestation_manifest: String,
    pub signature_manifests: Vec<String>,
    /// By digest.
    pub blobs: BTreeMap<String, Blob>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob {
    pub annotations: BTreeMap<String, String>,
    pub data: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitMeta {
    /// `refs/heads/main`, or a commit.
    pub reference: String,
    /// What it names.
    pub checksum: String,
    /// The commit behind an annotated tag; empty otherwise.
    pub commit_checksum: String,
    /// Objects as git keeps them, without their headers; empty where they were not asked for.
    pub commit_object: Vec<u8>,
    pub tag_object: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpMeta {
    pub checksum: String,
    /// The digest of the page with some bytes behind it, and these bytes.
    pub with_suffix: Option<(String, Vec<u8>)>,
}

/// What the engine is asked about a source, so that a policy can go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    pub source: Source,
    pub platform: Option<Platform>,
    pub image: Option<ImageQuestion>,
    pub git: Option<GitQuestion>,
    pub http: Option<HttpQuestion>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageQuestion {
    pub config: bool,
    pub chain: bool,
    /// Types of statements whose bytes are wanted.
    pub statements: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GitQuestion {
    /// The bytes of commit and tag.
    pub objects: bool,
}

/// A digest of a page with bytes behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpQuestion {
    pub algorithm: Algorithm,
    pub suffix: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// A source that is to be judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    pub known: Known,
    /// What it is wanted for; `None` where that does not matter.
    pub platform: Option<Platform>,
}

impl Request {
    /// As logs name it: `docker-image://alpine:3 (linux/amd64)`.
    pub fn name(&self) -> String {
        let identifier = &self.known.source.identifier;
        match &self.platform {
            Some(platform) => format!("{identifier} ({platform})"),
            None => identifier.clone(),
        }
    }
}

/// What a policy makes of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Allow,
    Deny {
        messages: Vec<String>,
    },
    /// Something else is to be fetched.
    Convert(Source),
    /// Ask again when more is known.
    Ask(Box<Question>),
}
