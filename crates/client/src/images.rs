//! The images of an engine's own store. BuildKit keeps none.

use std::io::Write;

use bytes::Bytes;
use errdefs::{Code, Error, Result, ResultExt as _};
use jiff::Timestamp;
use proto::kiln as pb;
use proto::kiln::images_client::ImagesClient;
use session::{Attachables, grpcerr};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::Client;
use crate::request::new_id;
use crate::solve::StatusSink;
use crate::status::solve_status;

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

/// All that is said of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDetails {
    /// All that it has, complete.
    pub names: Vec<String>,
    /// Of the manifest that suits the platform.
    pub manifest: String,
    /// When the name last changed its target.
    pub updated_at: Timestamp,
    /// The index or manifest that is named, then the indexes, manifests and configs below.
    pub blobs: Vec<ImageBlob>,
}

/// A part of an image, as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageBlob {
    pub media_type: String,
    pub digest: String,
    pub data: Bytes,
}

/// An image that came with an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// Complete.
    pub names: Vec<String>,
    /// Of the manifest or index.
    pub digest: String,
}

impl Client {
    fn images_client(&self) -> ImagesClient<Channel> {
        proto::sized!(ImagesClient::new(self.channel()))
    }

    /// The images of the store, by name.
    pub async fn images(&self) -> Result<Vec<Image>> {
        let answer = self.images_client().list(pb::ListImagesRequest {}).await;
        let answer = answer.map_err(|e| self.only_kiln(e)).context("failed to list images")?;
        Ok(answer.into_inner().images.into_iter().map(image).collect())
    }

    /// What is said of an image, which is meant by its name or the beginning of a digest. An empty platform is the
    /// engine's own.
    pub async fn inspect_image(&self, image: &str, platform: &str) -> Result<ImageDetails> {
        let request = pb::InspectImageRequest { image: image.to_owned(), platform: platform.to_owned() };
        let answer = self.images_client().inspect(request).await;
        let told = answer.map_err(|e| self.only_kiln(e))?.into_inner();
        let blob = |blob: pb::ImageBlob| ImageBlob {
            media_type: blob.media_type,
            digest: blob.digest,
            data: blob.data,
        };
        Ok(ImageDetails {
            names: told.names,
            manifest: told.manifest,
            updated_at: Timestamp::from_second(told.updated_at).unwrap_or_default(),
            blobs: told.blobs.into_iter().map(blob).collect(),
        })
    }

    /// Gives an image one more name, and gives the complete form of it.
    pub async fn tag_image(&self, image: &str, name: &str) -> Result<String> {
        let request = pb::TagImageRequest { image: image.to_owned(), name: name.to_owned() };
        let answer = self.images_client().tag(request).await;
        Ok(answer.map_err(|e| self.only_kiln(e))?.into_inner().name)
    }

    /// Takes a name away from an image, or with `force` all names of one that is meant by its digest. Gives the complete
    /// forms of those that went.
    pub async fn remove_image(&self, name: &str, force: bool) -> Result<Vec<String>> {
        let answer =
            self.images_client().remove(pb::RemoveImageRequest { name: name.to_owned(), force }).await;
        Ok(answer.map_err(|e| self.only_kiln(e))?.into_inner().names)
    }

    /// Pushes an image under its name, with the logins of `attachables`; an empty platform is all. `status` gets what
    /// the engine tells. Cancelling ends the push in the engine too.
    pub async fn push_image(
        &self,
        name: &str,
        platform: &str,
        attachables: Attachables,
        status: StatusSink,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let session = new_id();
        let done = CancellationToken::new();
        let _done = done.clone().drop_guard();
        let _serves_till_then = self.open_session(&session, "", attachables, done);
        let (name, platform) = (name.to_owned(), platform.to_owned());
        let work = async {
            let answer = self.images_client().push(pb::PushImageRequest { name, platform, session }).await;
            let mut messages = answer.map_err(|e| self.only_kiln(e))?.into_inner();
            while let Some(message) = messages.message().await.map_err(grpcerr::from_status)? {
                // A display that has gone is no reason to stop.
                let _ = status.send(solve_status(message)).await;
            }
            Ok(())
        };
        cancel.run_until_cancelled(work).await.unwrap_or_else(|| Err(Error::canceled()))
    }

    /// Writes images as one archive to `out`; an empty platform is all. `oci_only` leaves out what Docker looks at.
    pub async fn save_images(
        &self,
        images: &[String],
        platform: &str,
        oci_only: bool,
        out: &mut (dyn Write + Send),
    ) -> Result<()> {
        let request =
            pb::SaveImagesRequest { images: images.to_vec(), platform: platform.to_owned(), oci_only };
        let answer = self.images_client().save(request).await;
        receive(answer.map_err(|e| self.only_kiln(e))?.into_inner(), out).await
    }

    /// Writes the files of an image as a tar archive to `out`. An empty platform is the engine's own.
    pub async fn export_image(
        &self,
        image: &str,
        platform: &str,
        out: &mut (dyn Write + Send),
    ) -> Result<()> {
        let request = pb::ExportImageRequest { image: image.to_owned(), platform: platform.to_owned() };
        let answer = self.images_client().export(request).await;
        receive(answer.map_err(|e| self.only_kiln(e))?.into_inner(), out).await
    }

    /// Takes the images of an archive into the store, which comes in pieces; an empty platform is all. `names` are for
    /// the image of an archive that has one.
    pub async fn load_images(
        &self,
        platform: &str,
        names: &[String],
        archive: mpsc::Receiver<Bytes>,
    ) -> Result<Vec<LoadedImage>> {
        use pb::load_images_request::Part;
        let options = pb::LoadOptions { platform: platform.to_owned(), names: names.to_vec() };
        let parts =
            tokio_stream::once(Part::Options(options)).chain(ReceiverStream::new(archive).map(Part::Data));
        let messages = parts.map(|part| pb::LoadImagesRequest { part: Some(part) });
        let answer = self.images_client().load(messages).await;
        let images = answer.map_err(|e| self.only_kiln(e))?.into_inner().images;
        Ok(images.into_iter().map(|i| LoadedImage { names: i.names, digest: i.digest }).collect())
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

/// Writes the pieces of an archive as they come.
async fn receive(mut pieces: Streaming<pb::ArchivePiece>, out: &mut (dyn Write + Send)) -> Result<()> {
    while let Some(piece) = pieces.message().await.map_err(grpcerr::from_status)? {
        out.write_all(&piece.data).context("failed to write the archive")?;
    }
    out.flush().context("failed to write the archive")
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
