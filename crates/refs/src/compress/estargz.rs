//! Layers that can be read file by file: eStargz (stargz-snapshotter, docs/estargz.md).
//!
//! Every file begins a gzip member of its own, large ones several. Behind the archive come one more, with a table of what
//! begins where, and a footer that tells where the table is. For those who know nothing of it, it is a `.tar.gz`.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use errdefs::{Error, Result};
use fsutil::tar::{Entry, EntryKind, Reader, Writer};
use jiff::Timestamp;
use oci::Digest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::cut::Piece;

/// Names the digest of the table in annotations of a layer.
pub const TABLE_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
/// Tells there how many bytes the layer unpacks to, the table among them.
pub const UNPACKED_SIZE: &str = "io.containers.estargz.uncompressed-size";

/// The archive member that is the table.
const TABLE: &str = "stargz.index.json";
/// The most of a file that one gzip member holds, and about the most of anything else.
const CHUNK: usize = 4 << 20;

/// What lies where in an archive that was cut.
pub struct Table(Vec<Row>);

/// Something of the archive, and the piece that its content begins, if it has one.
struct Row {
    entry: TableEntry,
    piece: Option<usize>,
}

/// As it is written; what is zero or empty is left out.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct TableEntry {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    /// RFC 3339, whole seconds.
    #[serde(skip_serializing_if = "String::is_empty")]
    modtime: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    uid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    gid: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group_name: String,
    /// Where the gzip member begins.
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dev_major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dev_minor: u64,
    /// Base64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    /// Of the whole content.
    #[serde(skip_serializing_if = "String::is_empty")]
    digest: String,
    /// Where in the file the chunk begins.
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    /// None for a last chunk that is not full.
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    chunk_digest: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Cuts the archive that `produce` writes where content begins, and hands on the pieces.
///
/// # Errors
/// User errors for what is no archive, and for sparse files, whose content does not lie in the archive as it is.
pub fn cut<'scope>(
    scope: &'scope Scope<'scope, '_>,
    produce: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'scope,
    stop: &AtomicBool,
    next: &mut dyn FnMut(Piece) -> io::Result<()>,
) -> Result<Table> {
    let (archive, mut written) = io::pipe()?;
    let produced = scope.spawn(move || produce(&mut written));
    let table = Cutter { next, stop, sent: 0 }.cut(archive);
    let produced = produced.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    match (produced, table) {
        // Who writes fails when nobody reads any more.
        (Err(e), Ok(_)) => Err(e),
        (Err(e), Err(_)) if e.io_kind() != Some(io::ErrorKind::BrokenPipe) => Err(e),
        (_, table) => table,
    }
}

/// What was read and not handed on.
struct Recorder<R> {
    inner: R,
    piece: Vec<u8>,
}

impl<R: Read> Read for Recorder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.piece.extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

struct Cutter<'a> {
    next: &'a mut dyn FnMut(Piece) -> io::Result<()>,
    stop: &'a AtomicBool,
    sent: usize,
}

impl Cutter<'_> {
    fn cut(mut self, archive: impl Read) -> Result<Table> {
        let mut reader = Reader::new(Recorder { inner: archive, piece: Vec::new() });
        let mut rows = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            if reader.is_sparse() {
                let text = format!("a layer with the sparse file `{path}` cannot be packed as estargz");
                return Err(Error::user(text).hint("choose compression=gzip or zstd"));
            }
            if reader.get_mut().piece.len() >= CHUNK {
                self.send(reader.get_mut())?;
            }
            match entry.size {
                0 => rows.push(Row { entry: describe(&entry, path), piece: None }),
                _ => self.content(&mut reader, &entry, path, &mut rows)?,
            }
        }
        // What lies behind the archive belongs to it all the same.
        let mut rest = reader.into_inner();
        let mut buffer = vec![0; 64 << 10];
        while rest.read(&mut buffer)? > 0 {
            if rest.piece.len() >= CHUNK {
                self.send(&mut rest)?;
            }
        }
        self.send(&mut rest)?;
        Ok(Table(rows))
    }

    /// The content of a file, each chunk of it at the beginning of a piece.
    fn content<R: Read>(
        &mut self,
        reader: &mut Reader<Recorder<R>>,
        entry: &Entry,
        path: String,
        rows: &mut Vec<Row>,
    ) -> Result<()> {
        let (first, mut whole) = (rows.len(), Sha256::new());
        let mut at = 0;
        while at < entry.size {
            self.send(reader.get_mut())?;
            let len = (entry.size - at).min(CHUNK as u64);
            let read = io::copy(&mut reader.take(len), &mut io::sink());
            let read =
                read.or_else(|e| if e.kind() == io::ErrorKind::UnexpectedEof { Ok(0) } else { Err(e) })?;
            if read < len {
                return Err(Error::user(format!("the archive of a layer ends within the file `{path}`")));
            }
            let chunk = &reader.get_mut().piece;
            let digest = Digest::of(chunk);
            if len < entry.size {
                whole.update(chunk);
            }
            let mut row = match at {
                0 => describe(entry, path.clone()),
                _ => TableEntry { name: path.clone(), kind: "chunk", chunk_offset: at, ..Default::default() },
            };
            row.chunk_size = if len == CHUNK as u64 { len } else { 0 };
            row.chunk_digest = digest.to_string();
            rows.push(Row { entry: row, piece: Some(self.sent) });
            at += len;
        }
        rows[first].entry.digest = match &rows[first..] {
            [only] => only.entry.chunk_digest.clone(),
            _ => Digest::from_sha256(whole.finalize().into()).to_string(),
        };
        Ok(())
    }

    fn send<R>(&mut self, from: &mut Recorder<R>) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::canceled());
        }
        if !from.piece.is_empty() {
            (self.next)(Arc::new(std::mem::take(&mut from.piece).into()))?;
            self.sent += 1;
        }
        Ok(())
    }
}

fn describe(entry: &Entry, name: String) -> TableEntry {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let modtime = match entry.mtime.0 {
        0 => String::new(),
        seconds => Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default(),
    };
    TableEntry {
        name,
        kind: match entry.kind {
            EntryKind::File => "reg",
            EntryKind::Dir => "dir",
            EntryKind::Symlink => "symlink",
            EntryKind::Hardlink => "hardlink",
            EntryKind::Char => "char",
            EntryKind::Block => "block",
            EntryKind::Fifo => "fifo",
        },
        size: entry.size,
        modtime,
        link_name: text(&entry.link),
        mode: entry.mode.into(),
        uid: entry.uid.into(),
        gid: entry.gid.into(),
        user_name: text(&entry.uname),
        group_name: text(&entry.gname),
        dev_major: entry.dev.0.into(),
        dev_minor: entry.dev.1.into(),
        xattrs: entry.xattrs.iter().map(|(key, value)| (text(key), STANDARD.encode(value))).collect(),
        ..TableEntry::default()
    }
}

impl Table {
    /// The table as an archive, with its digest. `starts` are the places of the pieces in the blob.
    pub fn archive(self, starts: &[u64]) -> Result<(Vec<u8>, Digest)> {
        #[derive(Serialize)]
        struct Json {
            version: u32,
            entries: Vec<TableEntry>,
        }
        let placed = self.0.into_iter().map(|Row { mut entry, piece }| {
            entry.offset = piece.and_then(|piece| starts.get(piece).copied()).unwrap_or_default();
            entry
        });
        let json = Json { version: 1, entries: placed.collect() };
        let json = serde_json::to_vec(&json).map_err(|e| Error::internal(e.to_string()))?;
        let mut archive = Writer::new(Vec::new());
        archive.pax_header(&Entry { path: TABLE.into(), size: json.len() as u64, ..Entry::default() })?;
        archive.write_all(&json)?;
        Ok((archive.finish()?, Digest::of(&json)))
    }
}

/// The last bytes of the blob: an empty gzip member whose extra field tells where the table begins.
pub fn footer(table: u64) -> Vec<u8> {
    let field = format!("{table:016x}STARGZ");
    // Header (RFC 1952, 2.3): deflate, with an extra field, no time, unknown system.
    let mut footer = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
    footer.extend((field.len() as u16 + 4).to_le_bytes());
    footer.extend(b"SG");
    footer.extend((field.len() as u16).to_le_bytes());
    footer.extend(field.as_bytes());
    // A last block, stored and empty; then checksum and size, both 0.
    footer.extend([1, 0, 0, 0xff, 0xff]);
    footer.extend([0; 8]);
    footer
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::blobs::{Compression, CompressionKind};
    use crate::compress::{Done, KnownPieces, Reader as Known, pack};

    fn member(path: &str, kind: EntryKind, size: usize) -> Entry {
        Entry { path: path.into(), kind, mode: 0o644, size: size as u64, mtime: (7, 5), ..Entry::default() }
    }

    fn archive(files: &[(Entry, Vec<u8>)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (entry, content) in files {
            writer.pax_header(entry).expect("a header");
            writer.write_all(content).expect("content");
        }
        writer.finish().expect("the end")
    }

    fn packed(archive: &[u8], threads: usize) -> Result<(Vec<u8>, Done)> {
        let compression = Compression { kind: CompressionKind::Estargz, ..Compression::gzip() };
        let (mut out, known) = (Vec::new(), KnownPieces::default());
        let open = |_: &Digest| None;
        let known = Known::new(&known, &open);
        let produce = |w: &mut dyn Write| Ok(w.write_all(archive)?);
        let done = pack(compression, threads, &AtomicBool::new(false), &known, &mut out, produce)?;
        Ok((out, done))
    }

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut all).expect("gzip");
        all
    }

    /// The table, found by the footer as a reader of the format does.
    fn table(blob: &[u8]) -> (Value, Digest) {
        let footer = &blob[blob.len() - 51..];
        assert_eq!(
            (&footer[..2], &footer[12..14], &footer[32..38]),
            (&b"\x1f\x8b"[..], &b"SG"[..], &b"STARGZ"[..])
        );
        assert_eq!(unpacked(footer), b"");
        let start = std::str::from_utf8(&footer[16..32]).expect("hex");
        let start = usize::from_str_radix(start, 16).expect("hex");
        let archive = unpacked(&blob[start..blob.len() - 51]);
        let mut reader = Reader::new(&archive[..]);
        assert_eq!(reader.next_entry().expect("tar").expect("a member").path, TABLE.as_bytes());
        let mut json = Vec::new();
        reader.read_to_end(&mut json).expect("read");
        assert!(reader.next_entry().expect("tar").is_none());
        (serde_json::from_slice(&json).expect("JSON"), Digest::of(&json))
    }

    #[test]
    fn every_file_can_be_read_by_itself() {
        let large: Vec<u8> =
            (0..CHUNK as u32 * 2 + 1000).map(|i| (i.wrapping_mul(2_654_435_761) >> 22) as u8).collect();
        let mut linked = member("dir/link", EntryKind::Symlink, 0);
        linked.link = b"large".into();
        linked.xattrs = [(b"user.a".to_vec(), b"\0\xff".to_vec())].into();
        let files = [
            (member("dir/", EntryKind::Dir, 0), Vec::new()),
            (member("dir/small", EntryKind::File, 3), b"abc".to_vec()),
            (linked, Vec::new()),
            (member("large", EntryKind::File, large.len()), large.clone()),
            (member("full", EntryKind::File, CHUNK), large[..CHUNK].to_vec()),
            (member("empty", EntryKind::File, 0), Vec::new()),
        ];
        let archive = archive(&files);
        let (blob, done) = packed(&archive, 1).expect("packed");
        assert!(blob == packed(&archive, 5).expect("packed").0, "threads decide");
        let whole = unpacked(&blob);
        assert_eq!((&done.stream, &done.diff_id), (&Digest::of(&archive), &Digest::of(&whole)));
        assert!(whole.starts_with(&archive), "not the archive with something behind it");
        let (table, digest) = table(&blob);
        assert_eq!(done.annotations[TABLE_DIGEST], digest.to_string());
        assert_eq!(done.annotations[UNPACKED_SIZE], whole.len().to_string());
        assert_eq!(table["version"], 1);
        let rows = table["entries"].as_array().expect("a list");
        let names: Vec<_> = rows.iter().map(|row| (row["name"].as_str(), row["type"].as_str())).collect();
        let expected = [
            ("dir/", "dir"),
            ("dir/small", "reg"),
            ("dir/link", "symlink"),
            ("large", "reg"),
            ("large", "chunk"),
            ("large", "chunk"),
            ("full", "reg"),
            ("empty", "reg"),
        ];
        assert_eq!(names, expected.map(|(name, kind)| (Some(name), Some(kind))));
        assert_eq!(
            rows[0],
            serde_json::json!({"name": "dir/", "type": "dir", "mode": 0o644, "modtime": "1970-01-01T00:00:07Z"})
        );
        assert_eq!(rows[2]["xattrs"], serde_json::json!({"user.a": "AP8="}));
        for row in rows {
            let (name, at) = (row["name"].as_str(), row["chunkOffset"].as_u64().unwrap_or(0) as usize);
            let Some(offset) = row["offset"].as_u64() else { continue };
            let content =
                &files.iter().find(|(e, _)| name.is_some_and(|n| n.as_bytes() == e.path)).expect("one").1;
            let len = row["chunkSize"].as_u64().map_or(content.len() - at, |len| len as usize);
            let mut chunk = vec![0; len];
            flate2::read::MultiGzDecoder::new(&blob[offset as usize..]).read_exact(&mut chunk).expect("gzip");
            assert!(chunk == content[at..at + len], "{row}");
            assert_eq!(row["chunkDigest"], Digest::of(&chunk).to_string());
            if row["type"] == "reg" {
                assert_eq!(
                    (&row["digest"], &row["size"]),
                    (&Digest::of(content).to_string().into(), &content.len().into())
                );
            }
        }
    }

    #[test]
    fn what_lies_behind_the_archive_is_kept() {
        let mut padded = archive(&[(member("f", EntryKind::File, 1), b"x".to_vec())]);
        padded.extend([0; 10 * 512]);
        let (blob, done) = packed(&padded, 2).expect("packed");
        assert_eq!(done.stream, Digest::of(&padded));
        assert!(unpacked(&blob).starts_with(&padded));
        let (blob, _) = packed(&archive(&[]), 2).expect("packed");
        assert_eq!(table(&blob).0["entries"], serde_json::json!([]));
    }

    #[test]
    fn what_is_no_archive_is_told() {
        let e = packed(&[1; 600], 2).expect_err("no archive");
        assert_eq!(e.class(), errdefs::Class::User);
        let cut = &archive(&[(member("f", EntryKind::File, 9000), vec![1; 9000])])[..3000];
        assert_eq!(packed(cut, 2).expect_err("cut off").class(), errdefs::Class::User);
    }
}
