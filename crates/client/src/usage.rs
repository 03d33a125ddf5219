use std::time::Duration;

use errdefs::Result;
use jiff::Timestamp;
use proto::control as pb;
use proto::kiln;
use proto::kiln::store_client::StoreClient;
use session::grpcerr;

use crate::Client;
use crate::status::timestamp;

/// One thing that takes up disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRecord {
    pub id: String,
    pub mutable: bool,
    pub in_use: bool,
    pub shared: bool,
    /// Bytes.
    pub size: i64,
    pub parents: Vec<String>,
    pub created_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub usage_count: i64,
    pub description: String,
    /// `regular`, `source.local`, `exec.cachemount`, …
    pub record_type: String,
}

impl From<pb::UsageRecord> for UsageRecord {
    fn from(r: pb::UsageRecord) -> Self {
        UsageRecord {
            id: r.id,
            mutable: r.mutable,
            in_use: r.in_use,
            shared: r.shared,
            size: r.size,
            parents: r.parents,
            created_at: r.created_at.and_then(timestamp),
            last_used_at: r.last_used_at.and_then(timestamp),
            usage_count: r.usage_count,
            description: r.description,
            record_type: r.record_type,
        }
    }
}

/// Bytes on disk that belong to no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// Blobs of images, and what waits to be collected.
    pub blobs: i64,
    pub database: i64,
    /// Folders, logs, work in progress.
    pub other: i64,
}

impl Client {
    /// What takes up disk beside the records; `None` where the engine is not Kiln's, which does not tell.
    pub async fn room(&self) -> Result<Option<Room>> {
        let mut client = proto::sized!(StoreClient::new(self.channel()));
        match client.room(kiln::RoomRequest {}).await {
            Ok(answer) => {
                let kiln::RoomResponse { blobs, database, other } = answer.into_inner();
                Ok(Some(Room { blobs, database, other }))
            }
            Err(status) if status.code() == tonic::Code::Unimplemented => Ok(None),
            Err(status) => Err(grpcerr::from_status(status)),
        }
    }
}

/// What may go. Sizes are bytes; 0 sets no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PruneRequest {
    /// In containerd's syntax.
    pub filter: Vec<String>,
    /// Internal and frontend records too.
    pub all: bool,
    /// Keep what was used within this time.
    pub keep_duration: Duration,
    pub reserved_space: i64,
    pub max_used_space: i64,
    pub min_free_space: i64,
}

impl PruneRequest {
    pub(crate) fn to_wire(&self) -> pb::PruneRequest {
        pb::PruneRequest {
            filter: self.filter.clone(),
            all: self.all,
            keep_duration: i64::try_from(self.keep_duration.as_nanos()).unwrap_or(i64::MAX),
            reserved_space: self.reserved_space,
            max_used_space: self.max_used_space,
            min_free_space: self.min_free_space,
        }
    }
}
