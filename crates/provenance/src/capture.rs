//! What graphs use.

use std::collections::{BTreeMap, BTreeSet};

use errdefs::{Detail, Error, MissingMaterial, Result};
use llb::{Graph, LoadedOp, MountType, NetMode, OpKind, SourceOp};
use meter::Usage;
use oci::{Digest, Platform, Reference};

use crate::address::without_login;

/// Why a folder of the client is no complete material.
const LOCAL: &str = "local_source";

/// All that a result was made from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Capture {
    pub(crate) images: BTreeMap<ImageSource, Option<Digest>>,
    /// Single blobs.
    pub(crate) blobs: BTreeMap<BlobSource, Digest>,
    /// Commits by address.
    pub(crate) git: BTreeMap<String, String>,
    /// Digests by address.
    pub(crate) http: BTreeMap<String, Digest>,
    /// Names of folders of the client.
    pub(crate) locals: BTreeSet<String>,
    /// Whether a build goes on without, by id.
    pub(crate) secrets: BTreeMap<String, bool>,
    pub(crate) ssh: BTreeMap<String, bool>,
    /// A step had a network.
    pub(crate) network: bool,
    /// A step had a proxy before its network.
    pub(crate) proxied: bool,
    /// What went through a proxy and has no digest.
    pub(crate) missing: BTreeSet<MissingMaterial>,
    /// Something was used that is not told of here.
    pub(crate) incomplete: bool,
    /// What steps used of the machine, by vertex.
    pub(crate) usage: BTreeMap<Digest, Usage>,
}

/// An image by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageSource {
    pub reference: String,
    /// It came from a layout of the client's, not from a registry.
    pub local: bool,
    pub platform: Option<Platform>,
}

/// A blob by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlobSource {
    pub reference: String,
    /// It came from a layout of the client's, not from a registry.
    pub local: bool,
    /// The address of the repository that it stood in for, where it is a git bundle.
    pub bundle_of: Option<String>,
}

impl BlobSource {
    fn of(locator: &str, bundle_of: Option<String>) -> Option<Self> {
        let (scheme, reference) = locator.split_once("://")?;
        let (reference, local) = (reference.to_owned(), scheme == "oci-layout+blob");
        Some(BlobSource { reference, local, bundle_of })
    }
}

impl Capture {
    /// What a graph uses. `pin` says what a source stood for: the digest of an image or of a page, a commit; sources that
    /// were not asked have none.
    pub fn of_graph(graph: &Graph, pin: impl Fn(&Digest) -> Option<String>) -> Self {
        let mut capture = Capture::default();
        for digest in &graph.order {
            let Some(LoadedOp { op, .. }) = graph.ops.get(digest) else { continue };
            match &op.kind {
                OpKind::Source(source) => {
                    let platform = op.platform.as_ref().map_or_else(Platform::host, Platform::normalize);
                    capture.add_source(source, platform, pin(digest));
                }
                OpKind::Exec(exec) => {
                    for mount in &exec.mounts {
                        match (mount.mount_type, &mount.secret, &mount.ssh) {
                            (MountType::Secret, Some(secret), _) => {
                                capture.add_secret(&secret.id, secret.optional);
                            }
                            (MountType::Ssh, _, Some(ssh)) => capture.add_ssh(&ssh.id, ssh.optional),
                            _ => {}
                        }
                    }
                    for secret in &exec.secret_env {
                        capture.add_secret(&secret.id, secret.optional);
                    }
                    capture.network |= exec.network != NetMode::None;
                    capture.proxied |= exec.proxied;
                }
                OpKind::Build(_) => capture.incomplete = true,
                _ => {}
            }
        }
        capture
    }

    fn add_source(&mut self, source: &SourceOp, platform: Platform, pin: Option<String>) {
        let Some((scheme, rest)) = source.identifier.split_once("://") else { return };
        let attr = |key: &str| source.attrs.get(key).map_or("", String::as_str);
        match (scheme, pin) {
            ("local", _) => {
                // Contexts of one session are told apart by a prefix.
                let prefix = attr("local.session").split_once(':').map(|(prefix, _)| prefix);
                self.locals.insert(prefix.map_or_else(|| rest.to_owned(), |p| format!("{p}-{rest}")));
            }
            ("docker-image" | "oci-layout", Some(pin)) => {
                let local = scheme == "oci-layout";
                let name = ImageSource { reference: rest.to_owned(), local, platform: Some(platform) };
                self.add_image(name, pin.parse().ok());
            }
            ("docker-image+blob" | "oci-layout+blob", Some(pin)) => {
                if let Some((blob, digest)) = BlobSource::of(&source.identifier, None).zip(pin.parse().ok()) {
                    self.blobs.insert(blob, digest);
                }
            }
            ("http" | "https", Some(pin)) => {
                if let Ok(digest) = pin.parse() {
                    self.http.entry(without_login(&source.identifier)).or_insert(digest);
                }
            }
            ("git", Some(commit)) => {
                let (address, fragment) = rest.split_once('#').unwrap_or((rest, ""));
                let remote = match attr("git.fullurl").split('#').next() {
                    None | Some("") => format!("https://{address}"),
                    Some(full) => full.to_owned(),
                };
                let url = match fragment.split(':').next() {
                    None | Some("") => remote,
                    Some(reference) => format!("{remote}#{reference}"),
                };
                let url = without_login(&url);
                let bundle = attr("git.bundle");
                let digest = bundle.rsplit_once('@').and_then(|(_, digest)| digest.parse().ok());
                if let Some((blob, digest)) = BlobSource::of(bundle, Some(url.clone())).zip(digest) {
                    self.blobs.insert(blob, digest);
                }
                self.git.entry(url).or_insert(commit);
                for key in ["git.authtokensecret", "git.authheadersecret"] {
                    if !attr(key).is_empty() {
                        self.add_secret(attr(key), true);
                    }
                }
                if !attr("git.mountsshsock").is_empty() {
                    self.add_ssh(attr("git.mountsshsock"), true);
                }
            }
            _ => {}
        }
    }

    /// A page that a step fetched through a proxy.
    pub fn add_page(&mut self, url: &str, digest: Digest) {
        self.http.entry(without_login(url)).or_insert(digest);
    }

    /// What is not known of what a step did through a proxy.
    pub fn add_missing(&mut self, missing: MissingMaterial) {
        self.missing.insert(missing);
    }

    /// An image that was looked at, or used.
    pub fn add_image(&mut self, image: ImageSource, digest: Option<Digest>) {
        self.images.entry(image).or_insert(digest);
    }

    fn add_secret(&mut self, id: &str, optional: bool) {
        *self.secrets.entry(id.to_owned()).or_insert(true) &= optional;
    }

    fn add_ssh(&mut self, id: &str, optional: bool) {
        let id = if id.is_empty() { "default" } else { id };
        *self.ssh.entry(id.to_owned()).or_insert(true) &= optional;
    }

    /// What another one used is used here too.
    pub fn merge(&mut self, other: Capture) {
        let Capture { images, blobs, git, http, locals, secrets, ssh, network, proxied, .. } = other;
        let Capture { missing, incomplete, usage, .. } = other;
        images.into_iter().for_each(|(image, digest)| self.add_image(image, digest));
        self.blobs.extend(blobs);
        git.into_iter().for_each(|(url, commit)| _ = self.git.entry(url).or_insert(commit));
        http.into_iter().for_each(|(url, digest)| _ = self.http.entry(url).or_insert(digest));
        self.locals.extend(locals);
        secrets.iter().for_each(|(id, optional)| self.add_secret(id, *optional));
        ssh.iter().for_each(|(id, optional)| self.add_ssh(id, *optional));
        self.network |= network;
        self.proxied |= proxied;
        self.missing.extend(missing);
        self.incomplete |= incomplete;
        self.usage.extend(usage);
    }

    /// What a step used of the machine.
    pub fn add_usage(&mut self, vertex: Digest, usage: Usage) {
        self.usage.insert(vertex, usage);
    }

    /// Leaves out images by digest where the same is there by its tag.
    pub fn without_doubles(&mut self) {
        let parse = |image: &ImageSource| image.reference.parse::<Reference>().ok();
        let name = |r: &Reference| format!("{}:{}", r.repository(), r.tag().unwrap_or("latest"));
        let tagged: BTreeSet<String> =
            self.images.keys().filter_map(parse).filter(|r| r.digest().is_none()).map(|r| name(&r)).collect();
        self.images.retain(|image, _| {
            parse(image).is_none_or(|r| r.digest().is_none() || !tagged.contains(&name(&r)))
        });
    }

    /// # Errors
    /// When something was used that has no digest.
    pub fn check_complete(&self) -> Result<()> {
        if self.is_complete() {
            return Ok(());
        }
        let mut text = "provenance materials are incomplete\n\nThe build requested complete provenance materials, but not \
                        all dependencies could be captured."
            .to_owned();
        if !self.locals.is_empty() {
            text.push_str("\n\nUncaptured local sources:");
        }
        for name in &self.locals {
            text.push_str(&format!("\n  - {name}\n    reason: {LOCAL}"));
        }
        if !self.missing.is_empty() {
            text.push_str("\n\nUncaptured requests:");
        }
        for MissingMaterial { name, method, uri, reason, .. } in &self.missing {
            text.push_str(&format!("\n  - {name}"));
            let facts = [("method", method), ("url", uri), ("reason", reason)];
            facts.iter().filter(|(_, fact)| !fact.is_empty()).for_each(|(key, fact)| {
                text.push_str(&format!("\n    {key}: {fact}"));
            });
        }
        let local = |name: &String| {
            let (name, reason) = (name.clone(), LOCAL.to_owned());
            MissingMaterial { name, reason, ..MissingMaterial::default() }
        };
        let missing = self.locals.iter().map(local).chain(self.missing.iter().cloned()).collect();
        Err(Error::user(text).with_detail(Detail::MaterialsIncomplete { missing }))
    }

    /// Whether all is told of: folders of the client have no digest.
    pub(crate) fn is_complete(&self) -> bool {
        !self.incomplete && self.locals.is_empty() && self.missing.is_empty()
    }
}
