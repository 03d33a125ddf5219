//! The promises of the store, on a disk.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use content::{Collected, Store};
use errdefs::{Code, Result};
use oci::Digest;
use redb::Database;

struct Fixture {
    dir: tempfile::TempDir,
    db: Arc<Database>,
    store: Store,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("the fixture works");
    let db = Arc::new(Database::create(dir.path().join("metadata")).expect("the fixture works"));
    let store = Store::open(dir.path(), Arc::clone(&db)).expect("the fixture works");
    store.recovered().expect("the fixture works");
    Fixture { dir, db, store }
}

impl Fixture {
    fn reopen(&mut self) {
        self.store = Store::open(self.dir.path(), Arc::clone(&self.db)).expect("the fixture works");
        self.store.recovered().expect("the fixture works");
    }

    /// As if the machine had been started anew since the store was open.
    fn reboot(&self) {
        let table = redb::TableDefinition::<&str, &str>::new("content.boot.v1");
        let txn = self.db.begin_write().expect("the fixture works");
        txn.open_table(table)
            .expect("the fixture works")
            .insert("", "another boot")
            .expect("the fixture works");
        txn.commit().expect("the fixture works");
    }

    fn blobs(&self) -> HashSet<Digest> {
        let mut found = HashSet::new();
        self.store
            .walk(|digest, _| {
                found.insert(digest);
                Ok(())
            })
            .expect("the fixture works");
        found
    }

    fn blob_path(&self, digest: &Digest) -> std::path::PathBuf {
        let (start, rest) = digest.hex().split_at(2);
        self.dir.path().join("content-v1/sha256").join(start).join(rest)
    }
}

fn none() -> Result<HashSet<Digest>> {
    Ok(HashSet::new())
}

fn count(dir: &Path) -> usize {
    std::fs::read_dir(dir).expect("the fixture works").count()
}

#[test]
fn a_blob_is_seen_after_its_commit() {
    let f = fixture();
    let digest = Digest::of("hello");
    let mut ingest = f.store.ingest(Some((digest.clone(), 5))).unwrap();
    ingest.write_all(b"hel").unwrap();
    ingest.write_all(b"lo").unwrap();
    assert!(!f.store.contains(&digest));
    assert_eq!(ingest.commit().unwrap(), digest);
    assert_eq!(f.store.size(&digest).unwrap(), 5);
    assert_eq!(f.store.read(&digest).unwrap(), b"hello");
    assert_eq!(f.store.write(b"hello").unwrap(), digest);
    assert_eq!(count(&f.dir.path().join("content-v1/ingest")), 0);
}

#[test]
fn what_is_dropped_or_wrong_leaves_nothing() {
    let f = fixture();
    let digest = Digest::of("hello");
    drop(f.store.ingest(None).unwrap());
    let mut short = f.store.ingest(Some((digest.clone(), 5))).unwrap();
    short.write_all(b"hell").unwrap();
    assert_eq!(short.commit().unwrap_err().to_string(), "unexpected commit size 4, expected 5");
    let mut other = f.store.ingest(Some((digest.clone(), 5))).unwrap();
    other.write_all(b"jello").unwrap();
    let expected = format!("unexpected commit digest {}, expected {digest}", Digest::of("jello"));
    assert_eq!(other.commit().unwrap_err().to_string(), expected);
    let mut long = f.store.ingest(Some((digest.clone(), 5))).unwrap();
    assert!(long.write_all(b"hello!").is_err());
    drop(long);
    assert!(f.blobs().is_empty());
    assert_eq!(count(&f.dir.path().join("content-v1/ingest")), 0);
}

#[test]
fn other_hashes_are_known_by_their_name() {
    let f = fixture();
    let hex = "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca7\
               2323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043";
    let digest: Digest = format!("sha512:{hex}").parse().unwrap();
    let mut ingest = f.store.ingest(Some((digest.clone(), 5))).unwrap();
    ingest.write_all(b"hello").unwrap();
    assert_eq!(ingest.commit().unwrap(), digest);
    assert_eq!(f.blobs(), HashSet::from([digest]));
}

#[test]
fn a_missing_blob_is_not_found() {
    let f = fixture();
    let digest = Digest::of("x");
    for result in [f.store.size(&digest).map(drop), f.store.open_blob(&digest).map(drop)] {
        let e = result.unwrap_err();
        assert_eq!(
            (e.code(), e.to_string()),
            (Code::NotFound, format!("content digest {digest}: not found"))
        );
    }
}

#[test]
fn damage_is_found_at_the_end_of_a_read_and_set_aside() {
    let f = fixture();
    let digest = f.store.write(b"precious").unwrap();
    let wear_out = || {
        // Of what the disk has still to get nobody doubts.
        f.store.flush().unwrap();
        std::fs::remove_file(f.blob_path(&digest)).unwrap();
        std::fs::write(f.blob_path(&digest), b"worn out").unwrap();
    };
    wear_out();
    assert!(f.store.read(&digest).unwrap_err().to_string().contains("is damaged in the store"));
    assert!(!f.store.contains(&digest));
    // The blob that comes in its place is whole.
    f.store.write(b"precious").unwrap();
    assert_eq!(f.store.read(&digest).unwrap(), b"precious");
    wear_out();
    let mut reader = f.store.open_verified(&digest).unwrap();
    let mut buffer = [0; 8];
    reader.read_exact(&mut buffer).unwrap();
    assert!(reader.read(&mut buffer).is_err());
    assert_eq!(count(&f.dir.path().join("damaged")), 2);
}

#[test]
fn a_check_finds_what_is_damaged() {
    let f = fixture();
    let blobs: Vec<_> = (0..20_u8).map(|i| f.store.write(&[i; 100]).unwrap()).collect();
    assert_eq!(f.store.check().unwrap(), []);
    std::fs::remove_file(f.blob_path(&blobs[7])).unwrap();
    std::fs::write(f.blob_path(&blobs[7]), [7; 99]).unwrap();
    assert_eq!(f.store.check().unwrap(), [blobs[7].clone()]);
    f.store.set_aside(&blobs[7]).unwrap();
    assert_eq!(f.store.check().unwrap(), []);
}

#[test]
fn leases_and_roots_keep_blobs() {
    let f = fixture();
    let (root, held, loose) =
        (f.store.write(b"root").unwrap(), Digest::of("held"), f.store.write(b"loose").unwrap());
    let lease = f.store.lease();
    assert!(!lease.hold(&held));
    let mut ingest = lease.ingest(None).unwrap();
    ingest.write_all(b"held").unwrap();
    ingest.commit().unwrap();
    let twin = lease.clone();
    drop(lease);
    assert!(!f.store.remove(&held).unwrap());
    let collected = f.store.gc(Duration::ZERO, || Ok(HashSet::from([root.clone()]))).unwrap();
    assert_eq!(collected, Collected { blobs: 1, bytes: 5 });
    assert!(!f.store.contains(&loose));
    drop(twin);
    f.store.gc(Duration::ZERO, || Ok(HashSet::from([root.clone()]))).unwrap();
    assert_eq!(f.blobs(), HashSet::from([root.clone()]));
    assert!(f.store.remove(&root).unwrap());
    assert!(f.store.remove(&root).unwrap());
}

#[test]
fn what_comes_while_roots_are_read_stays() {
    let f = fixture();
    f.store.write(b"old").unwrap();
    let mut new = None;
    f.store
        .gc(Duration::ZERO, || {
            new = Some(f.store.write(b"new")?);
            none()
        })
        .unwrap();
    assert_eq!(f.blobs(), new.into_iter().collect());
}

#[test]
fn labels_go_with_their_blob() {
    let f = fixture();
    let (a, b) = (f.store.write(b"a").unwrap(), f.store.write(b"b").unwrap());
    f.store.set_labels(&a, &[("x", Some("1")), ("y", Some("2"))]).unwrap();
    f.store.set_labels(&b, &[("x", Some("3"))]).unwrap();
    f.store.set_labels(&a, &[("y", None)]).unwrap();
    let labels = |d: &Digest| f.store.labels(d).unwrap().into_iter().collect::<Vec<_>>();
    assert_eq!(labels(&a), [("x".to_owned(), "1".to_owned())]);
    f.store.remove(&a).unwrap();
    assert!(labels(&a).is_empty());
    assert_eq!(labels(&b), [("x".to_owned(), "3".to_owned())]);
}

#[test]
fn a_killed_process_loses_nothing_committed() {
    let mut f = fixture();
    let digest = f.store.write(b"kept").unwrap();
    std::mem::forget(f.store.ingest(None).unwrap());
    f.reopen();
    assert_eq!(f.blobs(), HashSet::from([digest]));
    assert_eq!(count(&f.dir.path().join("content-v1/ingest")), 0);
}

#[test]
fn a_new_boot_keeps_what_was_flushed() {
    let mut f = fixture();
    let flushed = f.store.write(b"flushed").unwrap();
    f.store.flush().unwrap();
    let again = f.store.write(b"again").unwrap();
    f.reopen();
    f.store.flush().unwrap();
    f.store.write(b"loose").unwrap();
    f.reboot();
    f.reopen();
    assert_eq!(f.blobs(), HashSet::from([flushed, again]));
}

#[test]
fn a_removed_blob_is_not_vouched_for_when_it_comes_again() {
    let mut f = fixture();
    let digest = f.store.write(b"x").unwrap();
    f.store.flush().unwrap();
    f.store.remove(&digest).unwrap();
    f.store.write(b"x").unwrap();
    f.reboot();
    f.reopen();
    assert!(f.blobs().is_empty());
}

#[test]
fn a_blob_that_went_without_a_word_is_not_vouched_for_when_it_comes_again() {
    let mut f = fixture();
    let digest = f.store.write(b"x").unwrap();
    f.store.flush().unwrap();
    // A removal that was killed before it was written down.
    std::fs::remove_file(f.blob_path(&digest)).unwrap();
    f.reopen();
    f.store.write(b"x").unwrap();
    f.reboot();
    f.reopen();
    assert!(f.blobs().is_empty());
}

#[test]
fn a_restart_of_the_machine_is_told_until_all_is_recovered() {
    let f = fixture();
    assert!(!f.store.machine_restarted());
    f.reboot();
    for _ in 0..2 {
        let store = Store::open(f.dir.path(), Arc::clone(&f.db)).unwrap();
        assert!(store.machine_restarted());
    }
    let store = Store::open(f.dir.path(), Arc::clone(&f.db)).unwrap();
    store.recovered().unwrap();
    assert!(!store.machine_restarted());
    assert!(!Store::open(f.dir.path(), Arc::clone(&f.db)).unwrap().machine_restarted());
}

#[test]
fn many_writers_of_one_blob_agree() {
    let f = fixture();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let store = f.store.clone();
            std::thread::spawn(move || {
                (0..20).map(|i: u32| store.write(&i.to_le_bytes()).unwrap()).collect::<Vec<_>>()
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(f.blobs().len(), 20);
}
