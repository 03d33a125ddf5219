//! Packages of rpm: its databases in SQLite and in its own form (`ndb`). Berkeley DB, of before 2020, is not read.

mod header;
mod ndb;
mod sqlite;

use header::Header;
use sqlite::Database;

use crate::package::Package;

/// The packages of an `rpmdb.sqlite`; `None` where it is none, or damaged.
pub fn sqlite(bytes: &[u8]) -> Option<Vec<Package>> {
    let database = Database::open(bytes)?;
    let mut packages = Vec::new();
    let mut take = |columns: Vec<&[u8]>| {
        // A number, and the header.
        packages
            .extend(columns.get(1).and_then(|bytes| Header::read(bytes)).and_then(|header| header.package()));
    };
    database.rows(database.table("Packages")?, &mut take)?;
    Some(packages)
}

/// The packages of a `Packages.db`; `None` where it is none.
pub fn ndb(bytes: &[u8]) -> Option<Vec<Package>> {
    let headers = ndb::blobs(bytes)?.into_iter().filter_map(Header::read);
    Some(headers.filter_map(|header| header.package()).collect())
}
