//! Which build is meant.

use client::{BuildRecord, Client, HistoryQuery};
use errdefs::{Error, Result};

/// As many records as are looked through.
pub(super) const LIMIT: i32 = 50;

/// The id of a build that may be written as `builder/node/id`.
pub(super) fn id(build: &str) -> &str {
    build.rsplit('/').next().unwrap_or(build)
}

/// The build of this name; the last one for none, and `^N` for the one that is N builds ago.
pub(super) async fn find(client: &Client, build: &str) -> Result<BuildRecord> {
    let offset = match build.strip_prefix('^') {
        Some(n) => n.parse().map_err(|_| Error::user(format!("invalid offset {build:?}")))?,
        None => 0,
    };
    let id = if build.starts_with('^') { "" } else { id(build) };
    let mut records = newest(client, &HistoryQuery { id: id.to_owned(), ..HistoryQuery::default() }).await?;
    if offset < records.len() {
        return Ok(records.swap_remove(offset));
    }
    let hint = "`kiln history ls` lists the builds that are known";
    Err(match (build, offset) {
        ("", _) => Error::not_found("no records found"),
        (_, 1..) => Error::not_found(format!("no completed build found with offset {offset}")).hint(hint),
        _ => Error::not_found(format!("no record found for ref {build:?}")).hint(hint),
    })
}

/// The newest records that a query finds.
pub(super) async fn newest(client: &Client, query: &HistoryQuery) -> Result<Vec<BuildRecord>> {
    let mut records = client.records(&HistoryQuery { limit: LIMIT, ..query.clone() }).await?;
    records.sort_by_key(|r| std::cmp::Reverse(r.created_at));
    Ok(records)
}
