//! What the store takes beside its states.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use errdefs::{Result, ResultExt as _};
use snapshot::LayerId;

use crate::refs::{Inner, Refs, blocking};

/// Bytes on disk that belong to no state. With the sizes of all states they are what the disk says of the folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Blobs of images, and what nothing needs and waits to be collected.
    pub blobs: u64,
    pub database: u64,
    /// Folders, logs, work in progress, and files that nothing links any more.
    pub other: u64,
}

impl Refs {
    /// What the store takes beside what [`Refs::usage`] tells.
    pub async fn room(&self) -> Result<Room> {
        let refs = self.0.clone();
        blocking(move || refs.room()).await
    }
}

impl Inner {
    fn room(&self) -> Result<Room> {
        let (mut seen, mut trees) = (HashSet::new(), HashSet::<LayerId>::new());
        self.for_each_node(|node| {
            self.blob_size(node, &mut seen);
            trees.extend(node.record().kind.own_trees());
            Ok(())
        })?;
        let mut room = Room::default();
        self.content.walk(|digest, _| {
            if !seen.contains(&digest) {
                room.blobs += self.content.disk_size(&digest).unwrap_or(0);
            }
            Ok(())
        })?;
        room.other = self.snapshots.objects().loose_size()? + self.content.folders_size()?;
        for layer in self.snapshots.list()? {
            if !trees.contains(&layer) {
                room.other += self.snapshots.usage(&layer).unwrap_or(0);
            }
        }
        room.other += self.snapshots.squashed_size()?;
        let root = self.snapshots.root();
        for entry in std::fs::read_dir(root).context("failed to list the store")?.flatten() {
            let name = entry.file_name();
            match name.to_str() {
                Some("metadata") => room.database += disk(&entry.path()),
                Some("objects-v1" | "content-v1") => {}
                Some("layers-v1" | "mounts") => room.other += disk(&entry.path()),
                _ => room.other += all_below(&entry.path()),
            }
        }
        room.other += disk(root);
        Ok(room)
    }
}

fn disk(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).map_or(0, |metadata| metadata.blocks() * 512)
}

/// A folder with all in it, each file once. Mounts are not entered, and what vanishes meanwhile takes no room.
fn all_below(path: &Path) -> u64 {
    let Ok(top) = std::fs::symlink_metadata(path) else { return 0 };
    let (mut total, mut seen) = (0, HashSet::new());
    let mut todo = vec![path.to_owned()];
    while let Some(path) = todo.pop() {
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        if metadata.dev() != top.dev() {
            continue;
        }
        if metadata.is_dir() {
            todo.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        if metadata.is_dir() || metadata.nlink() == 1 || seen.insert(metadata.ino()) {
            total += metadata.blocks() * 512;
        }
    }
    total
}
