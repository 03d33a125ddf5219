//! The images of an engine's own store. BuildKit keeps none.

use errdefs::{Code, Error, Result, ResultExt as _};
use jiff::Timestamp;
use proto::kiln as pb;
use proto::kiln::images_client::ImagesClient;
use session::grpcerr;
use tonic::Status;

use crate::Client;

/// A named image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Complete: `docker.io/library/app:latest`.
    pub name: String,
    /// Of the manifest or index.
    pub digest: String,
    /// Of the config for the engine's machine. Empty when the engine cannot tell.
    pub config_digest: String,
    /// When the name last changed its target.
    pub updated_at: Timestamp,
    /// Bytes of all blobs, as they are packed.
    pub size: i64,
    /// As `linux/amd64`.
    pub platforms: Vec<String>,
}

impl Client {
    /// The images of the store, by name.
    pub async fn images(&self) -> Result<Vec<Image>> {
        let mut client = proto::sized!(ImagesClient::new(self.channel()));
        let answer = client.list(pb::ListImagesRequest {}).await;
        let answer = answer.map_err(|e| self.only_kiln(e)).context("failed to list images")?;
        Ok(answer.into_inner().images.into_iter().map(image).collect())
    }

    /// Takes a name away from an image, and gives the complete form of it.
    pub async fn remove_image(&self, name: &str) -> Result<String> {
        let mut client = proto::sized!(ImagesClient::new(self.channel()));
        let answer = client.remove(pb::RemoveImageRequest { name: name.to_owned() }).await;
        Ok(answer.map_err(|e| self.only_kiln(e))?.into_inner().name)
    }

    /// The error of a service that BuildKit does not have.
    pub(crate) fn only_kiln(&self, status: Status) -> Error {
        let error = grpcerr::from_status(status);
        match error.code() {
            Code::Unimplemented => error.hint(format!("the engine at `{}` is not Kiln's", self.address())),
            _ => error,
        }
    }
}

fn image(image: pb::Image) -> Image {
    Image {
        name: image.name,
        digest: image.digest,
        config_digest: image.config_digest,
        updated_at: Timestamp::from_second(image.updated_at).unwrap_or_default(),
        size: image.size,
        platforms: image.platforms,
    }
}
