use std::collections::BTreeMap;
use std::sync::Arc;

use errdefs::Result;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use proto::filesync::file_sync_server::FileSync;
use proto::fsutil::Packet;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::files::{self, Filter, LocalTree, Tree};
use crate::offer::Dir;
use crate::session::{DIR_NAME, EXCLUDE, FOLLOW, INCLUDE};
use crate::{grpcerr, metadata};

/// Packets made ahead of the wire.
const QUEUE: usize = 256;

/// Local folders by name.
pub(super) struct Dirs(pub BTreeMap<String, Dir>);

#[tonic::async_trait]
impl FileSync for Dirs {
    type DiffCopyStream = BoxStream<'static, Result<Packet, Status>>;
    type TarStreamStream = Self::DiffCopyStream;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let md = request.metadata();
        let name = metadata::get_one(md, DIR_NAME);
        let filter = Filter {
            include: metadata::get_list(md, INCLUDE),
            exclude: metadata::get_list(md, EXCLUDE),
            follow: metadata::get_list(md, FOLLOW),
        };
        let dir = self.0.get(&name).cloned();
        let dir = dir.ok_or_else(|| Status::not_found(format!("no access allowed to dir {name:?}")))?;
        let tree = tokio::task::spawn_blocking(move || open(dir, filter)).await;
        let tree = tree.map_err(|e| Status::internal(e.to_string()))?.map_err(|e| grpcerr::to_status(&e))?;
        let (queue, packets) = mpsc::channel(QUEUE);
        let sending = tokio::spawn(files::send(tree, request.into_inner(), queue));
        // The queue ends when the sender does; how it ended is said last.
        let outcome = futures_util::stream::once(sending).filter_map(|ended| {
            std::future::ready(match ended {
                Ok(Ok(())) => None,
                Ok(Err(e)) => Some(Err(grpcerr::to_status(&e))),
                Err(e) => Some(Err(Status::internal(e.to_string()))),
            })
        });
        Ok(Response::new(ReceiverStream::new(packets).map(Ok).chain(outcome).boxed()))
    }

    async fn tar_stream(
        &self,
        _: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("files are sent by DiffCopy"))
    }
}

fn open(dir: Dir, filter: Filter) -> Result<Arc<dyn Tree>> {
    Ok(match dir {
        Dir::Path(path) => Arc::new(LocalTree::open(&path, filter)?),
        Dir::Tree(tree) => tree,
    })
}
