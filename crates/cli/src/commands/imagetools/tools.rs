//! Reading from registries and folders alike.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use errdefs::{Error, Result, ResultExt as _};
use futures_util::TryStreamExt as _;
use oci::{Descriptor, Digest, media};
use registry::{ByteStream, Config, Registry};

use super::location::{LayoutName, Location};
use crate::args::GlobalArgs;
use crate::engine::Builder;
use crate::environment::Environment;
use crate::layout::Folder;
use crate::nodes::registries_of;

/// Most bytes of what is held in memory: manifests, configs, statements.
const SMALL: u64 = 64 << 20;

/// What reaches images.
pub(super) struct Tools {
    pub registry: Registry,
    /// Where the paths of folders begin.
    cwd: PathBuf,
}

impl Tools {
    /// With the user's logins, and what the builder's engines are told of registries.
    pub(super) fn new(global: &GlobalArgs, env: &Environment) -> Result<Self> {
        let mut config = Config { proxy: env.proxies(), ..Config::default() };
        for member in &Builder::find(global, env)?.nodes {
            config.hosts.extend(registries_of(&member.node)?);
        }
        Ok(Tools { registry: Registry::new(config, Arc::new(env.docker_config()?)), cwd: env.cwd.clone() })
    }

    pub(super) fn folder(&self, name: &LayoutName) -> Folder {
        Folder::new(self.cwd.join(&name.path))
    }

    /// What a name stands for now.
    pub(super) async fn resolve(&self, at: &Location) -> Result<Descriptor> {
        match at {
            Location::Registry(name) => self.registry.resolve(name).await,
            Location::Layout(name) => {
                let folder = self.folder(name);
                match (&name.digest, &name.tag) {
                    (Some(digest), _) => {
                        let bytes = folder.read(digest).with_context(|| format!("failed to read {at}"))?;
                        let kind = media::detect(&bytes).map_err(|e| Error::user(format!("{at}: {e}")))?;
                        Ok(Descriptor::new(kind, digest.clone(), bytes.len() as u64))
                    }
                    (None, tag) => folder.descriptor(tag.as_deref().unwrap_or("latest")),
                }
            }
        }
    }

    /// The bytes of a manifest or an index.
    pub(super) async fn manifest(&self, at: &Location, descriptor: &Descriptor) -> Result<Bytes> {
        match at {
            Location::Registry(name) => self.registry.manifest(name, descriptor).await,
            Location::Layout(name) => Ok(self.folder(name).read(&descriptor.digest)?.into()),
        }
    }

    /// The bytes of a blob that is held in memory, checked.
    pub(super) async fn small_blob(&self, at: &Location, descriptor: &Descriptor) -> Result<Bytes> {
        if descriptor.size > SMALL {
            return Err(Error::user(format!(
                "blob {} is too large: {} bytes",
                descriptor.digest, descriptor.size
            )));
        }
        let pieces: Vec<Bytes> = self.blob(at, descriptor).await?.try_collect().await?;
        let bytes = Bytes::from(pieces.concat());
        match descriptor.digest.algorithm() != "sha256" || Digest::of(&bytes) == descriptor.digest {
            true => Ok(bytes),
            false => Err(Error::environment(format!("blob {} of {at} is damaged", descriptor.digest))),
        }
    }

    /// A blob as it comes.
    pub(super) async fn blob(&self, at: &Location, descriptor: &Descriptor) -> Result<ByteStream> {
        match at {
            Location::Registry(name) => self.registry.blob(name, descriptor).await,
            Location::Layout(name) => self.folder(name).open(&descriptor.digest).await,
        }
    }

    /// What hangs on a manifest.
    pub(super) async fn referrers(&self, at: &Location, subject: &Digest) -> Result<Vec<Descriptor>> {
        match at {
            Location::Registry(name) => self.registry.referrers(name, subject).await,
            Location::Layout(name) => self.folder(name).referrers(subject),
        }
    }
}
