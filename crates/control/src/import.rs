//! The History service: builds that another engine remembers.

use std::io::Write as _;

use content::{Ingest, Lease};
use engine::Engine;
use errdefs::{Error, Result};
use proto::kiln::history_server::History;
use proto::kiln::import_request::Part;
use proto::kiln::{BlobPiece, ImportRequest, ImportResponse};
use session::grpcerr;
use tonic::{Request, Response, Status, Streaming};

use crate::convert;

/// The most that one import may bring, in bytes.
const LIMIT: u64 = 4 << 30;

/// Answers for one engine.
pub(crate) struct Service {
    pub(crate) engine: Engine,
}

#[tonic::async_trait]
impl History for Service {
    async fn import(
        &self,
        request: Request<Streaming<ImportRequest>>,
    ) -> Result<Response<ImportResponse>, Status> {
        let mut parts = request.into_inner();
        let mut import = Import {
            engine: self.engine.clone(),
            lease: self.engine.refs().content().lease(),
            current: None,
            bytes: 0,
            done: ImportResponse::default(),
        };
        while let Some(message) = parts.message().await? {
            import.take(message).await.map_err(|e| grpcerr::to_status(&e))?;
        }
        Ok(Response::new(import.done))
    }
}

struct Import {
    engine: Engine,
    /// Holds what came until its record does.
    lease: Lease,
    /// The blob that is coming.
    current: Option<(String, Ingest)>,
    bytes: u64,
    done: ImportResponse,
}

impl Import {
    async fn take(&mut self, message: ImportRequest) -> Result<()> {
        match message.part {
            Some(Part::Blob(piece)) => self.blob(piece).await,
            Some(Part::Record(record)) => {
                let record = convert::record_from_wire(record)?;
                let id = record.id.clone();
                let is_new = self.engine.history().import(record, self.lease.clone()).await?;
                let list = if is_new { &mut self.done.imported } else { &mut self.done.known };
                list.push(id);
                Ok(())
            }
            None => Err(Error::user("an empty message")),
        }
    }

    async fn blob(&mut self, piece: BlobPiece) -> Result<()> {
        self.bytes += piece.data.len() as u64;
        if self.bytes > LIMIT {
            return Err(Error::user("the builds are too large to be imported"));
        }
        let (digest, mut ingest) = match self.current.take() {
            Some((digest, ingest)) if digest == piece.digest => (digest, ingest),
            Some((digest, _)) => return Err(Error::user(format!("the blob {digest} did not come whole"))),
            None => (piece.digest.clone(), self.lease.ingest(None)?),
        };
        let written = tokio::task::spawn_blocking(move || {
            ingest.write_all(&piece.data)?;
            match piece.last {
                false => Ok(Some(ingest)),
                true if ingest.commit()?.to_string() == piece.digest => Ok(None),
                true => Err(Error::user(format!("the blob {} is damaged", piece.digest))),
            }
        });
        let ingest = written.await.map_err(|e| Error::internal(e.to_string()))??;
        self.current = ingest.map(|ingest| (digest, ingest));
        Ok(())
    }
}
