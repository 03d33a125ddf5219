//! The Store service: what takes up disk beside the records of the build cache.

use engine::Engine;
use proto::kiln::store_server::Store;
use proto::kiln::{RoomRequest, RoomResponse};
use session::grpcerr;
use tonic::{Request, Response, Status};

/// Answers for one engine.
pub(crate) struct Service {
    pub(crate) engine: Engine,
}

#[tonic::async_trait]
impl Store for Service {
    async fn room(&self, _: Request<RoomRequest>) -> Result<Response<RoomResponse>, Status> {
        let room = self.engine.refs().room().await.map_err(|e| grpcerr::to_status(&e))?;
        let bytes = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Ok(Response::new(RoomResponse {
            blobs: bytes(room.blobs),
            database: bytes(room.database),
            other: bytes(room.other),
        }))
    }
}
