//! Which builds are meant, in the histories of all nodes of a builder.

use std::cmp::Reverse;

use client::{BuildRecord, Client, HistoryQuery};
use errdefs::{Error, Result};

use crate::args::GlobalArgs;
use crate::engine::Builder;
use crate::environment::Environment;

/// As many records of a node are looked through.
const LIMIT: i32 = 50;

/// Where builds are looked for.
pub(super) struct Histories<'h> {
    pub builder: &'h Builder,
    pub global: &'h GlobalArgs,
    pub env: &'h Environment,
}

/// A build in the history of a node.
pub(super) struct Found {
    pub record: BuildRecord,
    /// Builder and node, as `buildx.build.ref` names them.
    pub place: String,
    pub client: Client,
}

impl Found {
    /// Its whole name.
    pub(super) fn full_ref(&self) -> String {
        format!("{}/{}", self.place, self.record.id)
    }

    /// Reads the record once more.
    pub(super) async fn again(mut self) -> Result<Self> {
        let query = HistoryQuery { id: self.record.id.clone(), ..HistoryQuery::default() };
        let records = self.client.records(&query).await?;
        let gone = || Error::not_found(format!("the build {} is no longer known", self.record.id));
        self.record = records.into_iter().next().ok_or_else(gone)?;
        Ok(self)
    }
}

/// The builder that a name says, if it says one, and the node.
type Place<'b> = Option<(&'b str, &'b str)>;

/// Takes the name of a build apart, which may be written as `builder/node/id`.
fn parts(build: &str) -> (Place<'_>, &str) {
    match *build.splitn(3, '/').collect::<Vec<_>>() {
        [builder, node, id] => (Some((builder, node)), id),
        _ => (None, build),
    }
}

impl Histories<'_> {
    /// Does something with the builder that the name of a build says, and its node, if it says one. An engine that was
    /// given by its address is always meant itself.
    pub(super) async fn at<T>(
        &self,
        build: &str,
        act: impl AsyncFnOnce(&Builder, Option<&str>, &str) -> Result<T>,
    ) -> Result<T> {
        let is_given = self.global.host.as_deref().is_some_and(|host| !host.is_empty());
        match parts(build) {
            (Some((name, node)), id) if !is_given => match name == self.builder.name {
                true => act(self.builder, Some(node), id).await,
                false => act(&Builder::named(name, self.global, self.env)?, Some(node), id).await,
            },
            (_, id) => act(self.builder, None, id).await,
        }
    }

    /// The build of this name; the last one for none, and `^N` for the one that is N builds ago.
    pub(super) async fn find(&self, build: &str) -> Result<Found> {
        Ok(self.find_all(build).await?.swap_remove(0))
    }

    /// The same on all nodes that took part.
    pub(super) async fn find_all(&self, build: &str) -> Result<Vec<Found>> {
        let offset = match build.strip_prefix('^') {
            Some(n) => n.parse().map_err(|_| Error::user(format!("invalid offset {build:?}")))?,
            None => 0,
        };
        let id = if build.starts_with('^') { "" } else { build };
        let found = self.at(id, async |builder, node, id| {
            newest(builder, node, &HistoryQuery { id: id.to_owned(), ..HistoryQuery::default() }).await
        });
        let mut found = found.await?.into_iter().skip(offset);
        if let Some(first) = found.next() {
            let same: Vec<_> = found.filter(|other| other.record.id == first.record.id).collect();
            return Ok([first].into_iter().chain(same).collect());
        }
        let hint = "`kiln history ls` lists the builds that are known";
        Err(match (build, offset) {
            ("", _) => Error::not_found("no records found"),
            (_, 1..) => Error::not_found(format!("no completed build found with offset {offset}")).hint(hint),
            _ => Error::not_found(format!("no record found for ref {build:?}")).hint(hint),
        })
    }
}

/// The newest builds that a query finds on all nodes of a builder, or on one.
pub(super) async fn newest(
    builder: &Builder,
    node: Option<&str>,
    query: &HistoryQuery,
) -> Result<Vec<Found>> {
    let query = HistoryQuery { limit: LIMIT, ..query.clone() };
    let mut found = Vec::new();
    for (reached, records) in builder.ask(node, async |client| client.records(&query).await).await? {
        let place = format!("{}/{}", builder.name, reached.node);
        found.extend(records.into_iter().map(|record| Found {
            record,
            place: place.clone(),
            client: reached.client.clone(),
        }));
    }
    found.sort_by_key(|found| Reverse(found.record.created_at));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_builds() {
        let check =
            |build: &str, place: Place<'_>, id: &str| assert_eq!(parts(build), (place, id), "{build}");
        check("abc1", None, "abc1");
        check("two/two1/abc1", Some(("two", "two1")), "abc1");
        check("a/abc1", None, "a/abc1");
        check("", None, "");
    }
}
