//! A state with one file in it, written as its bytes come.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use errdefs::{Result, ResultExt};
use flate2::write::MultiGzDecoder;
use futures_util::{Stream, StreamExt};
use oci::Digest;
use refs::{ImmutableRef, NewRef};
use snapshot::{Attrs, Object, ObjectWriter, View};

use crate::pump::pump;
use crate::sources::Shared;
use crate::sums::Sums;

/// A file that is to come.
pub struct NewFile {
    pub name: String,
    pub attrs: Attrs,
    /// Bytes that are expected; 0 where that is not known.
    pub size: u64,
    /// It comes as gzip and is unpacked.
    pub packed: bool,
    /// What its bytes have to be.
    pub checksum: Option<Digest>,
    /// Where it comes from, for errors.
    pub from: String,
}

impl NewFile {
    /// Makes the state; gives the file's sha256 with it.
    pub async fn store(
        self,
        shared: &Shared,
        stream: impl Stream<Item = Result<Bytes>> + Unpin,
        new: NewRef,
    ) -> Result<(Digest, ImmutableRef)> {
        let store = Arc::clone(shared.refs.snapshots());
        let failed = format!("failed to fetch {}", self.from);
        let stream = stream.map(move |chunk| chunk.with_context(|| failed.clone()));
        let written = pump(stream, move |chunks| {
            let mut sums = Sums::new(self.checksum.as_ref());
            let object = self.write(&store, chunks, &mut sums)?;
            let digest = sums.finish(self.checksum.as_ref(), &self.from)?;
            let mut builder = store.new_tree()?.builder(View::empty());
            builder.put_object(self.name.as_bytes(), &object)?;
            Ok((digest, builder.finish()?))
        });
        let (digest, tree) = written.await?;
        Ok((digest, shared.refs.from_tree(None, tree, new).await?))
    }

    fn write(
        &self,
        store: &Arc<snapshot::Store>,
        chunks: &mut dyn Iterator<Item = Bytes>,
        sums: &mut Sums,
    ) -> Result<Object> {
        let mut summed = Summed { writer: store.objects().create(&self.attrs, self.size)?, sums };
        let mut write = |to: &mut dyn Write| -> Result<()> {
            for chunk in &mut *chunks {
                to.write_all(&chunk).context("failed to store a fetched file")?;
            }
            Ok(())
        };
        if self.packed {
            let mut unpacker = MultiGzDecoder::new(&mut summed);
            write(&mut unpacker)?;
            unpacker.finish().context("failed to unpack a fetched file")?;
        } else {
            write(&mut summed)?;
        }
        summed.writer.finish()
    }
}

/// Sums up what it writes.
struct Summed<'a> {
    writer: ObjectWriter,
    sums: &'a mut Sums,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.writer.write(bytes)?;
        self.sums.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The last part of a path; a name of our own where that is none.
pub fn safe_name(name: &str) -> String {
    let name = name.trim().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let bad = matches!(name, "" | "." | "..") || name.chars().any(char::is_control);
    if bad { "download".into() } else { name.to_owned() }
}
