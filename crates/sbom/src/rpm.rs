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

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = include_bytes!("../tests/samples/rpmdb.sqlite");

    #[test]
    fn a_database_of_small_pages() {
        let packages = sqlite(SAMPLE).expect("a database");
        let told: Vec<_> = packages.iter().map(|p| format!("{} {} {}", p.name, p.version, p.arch)).collect();
        // The first row is a key.
        assert_eq!(
            (told.len(), &told[..3]),
            (9, &["glibc 2.38-6.fc39 x86_64", "p0 1.0-1 noarch", "p1 1:1.1-1 noarch"].map(str::to_owned)[..])
        );
        assert_eq!((packages[0].provides.len(), packages[1].needs[0].as_str()), (301, "libc.so.6()(64bit)"));
        assert_eq!(packages[0].source.0, "glibc-2.38-6.fc39.src.rpm");
    }

    #[test]
    fn what_is_cut_off_is_damaged() {
        assert_eq!((sqlite(&SAMPLE[..SAMPLE.len() / 2]), sqlite(b"SQLite format 3\0")), (None, None));
    }
}
