//! The Images service: what Kiln's own store holds.

use engine::{Engine, StoredImage};
use oci::Platform;
use proto::kiln::images_server::Images;
use proto::kiln::{Image, ListImagesRequest, ListImagesResponse, RemoveImageRequest, RemoveImageResponse};
use session::grpcerr;
use tonic::{Request, Response, Status};

/// Answers for one engine.
pub(crate) struct Service {
    pub(crate) engine: Engine,
}

#[tonic::async_trait]
impl Images for Service {
    async fn list(&self, _: Request<ListImagesRequest>) -> Result<Response<ListImagesResponse>, Status> {
        let images = self.engine.images().await.map_err(|e| grpcerr::to_status(&e))?;
        Ok(Response::new(ListImagesResponse { images: images.into_iter().map(image).collect() }))
    }

    async fn remove(
        &self,
        request: Request<RemoveImageRequest>,
    ) -> Result<Response<RemoveImageResponse>, Status> {
        let removed = self.engine.remove_image(&request.get_ref().name).await;
        let name = removed.map_err(|e| grpcerr::to_status(&e))?;
        Ok(Response::new(RemoveImageResponse { name }))
    }
}

fn image(image: StoredImage) -> Image {
    Image {
        name: image.name,
        digest: image.digest.to_string(),
        config_digest: image.config_digest.map(|d| d.to_string()).unwrap_or_default(),
        updated_at: image.updated_at.as_second(),
        size: image.size.cast_signed(),
        platforms: image.platforms.iter().map(Platform::to_string).collect(),
    }
}
