//! Images for containerd, without an archive: only blobs move that it lacks.

use std::path::PathBuf;

use client::Containerd;
use errdefs::Result;
use oci::Descriptor;

use crate::environment::Environment;

/// Where containerd listens unless it is told otherwise.
const SOCKET: &str = "/run/containerd/containerd.sock";
/// What `ctr` and `nerdctl` look into.
const NAMESPACE: &str = "default";

/// A containerd, and how it is to take an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ContainerdSetting {
    /// CONTAINERD_ADDRESS, or the usual socket.
    pub address: Option<String>,
    /// CONTAINERD_NAMESPACE, or `default`.
    pub namespace: Option<String>,
    /// Unpacks the image with this snapshotter; `None` leaves it as it is.
    pub snapshotter: Option<String>,
}

/// A containerd that an image is going to.
pub(crate) struct ContainerdLoad {
    pub containerd: Containerd,
    snapshotter: Option<String>,
}

impl ContainerdSetting {
    pub(crate) async fn open(&self, env: &Environment) -> Result<ContainerdLoad> {
        let of =
            |given: &Option<String>, name| given.as_deref().or_else(|| env.filled(name)).map(str::to_owned);
        let address = of(&self.address, "CONTAINERD_ADDRESS").unwrap_or_else(|| SOCKET.into());
        let namespace = of(&self.namespace, "CONTAINERD_NAMESPACE").unwrap_or_else(|| NAMESPACE.into());
        let socket = PathBuf::from(address.strip_prefix("unix://").unwrap_or(&address));
        let containerd = Containerd::connect(&socket, &namespace).await?;
        Ok(ContainerdLoad { containerd, snapshotter: self.snapshotter.clone() })
    }
}

impl ContainerdLoad {
    /// Names the image, whose blobs are there.
    pub(crate) async fn finish(self, image: &Descriptor, names: &[String]) -> Result<()> {
        self.containerd.name(image, names).await?;
        if let Some(snapshotter) = &self.snapshotter {
            self.containerd.unpack(image, snapshotter).await?;
        }
        self.containerd.finish().await
    }
}
