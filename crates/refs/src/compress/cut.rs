//! Cuts a stream into pieces, at places that the stream alone decides.
//!
//! In an archive the cuts lie before members, chosen by their names: what is put in, taken out or changed moves the cuts
//! near it and leaves the pieces further on as they were, so that they need not be packed again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::spare::{Buffer, Spare};

/// A part of the stream.
pub type Piece = Arc<Buffer>;

/// The unit of archives.
const BLOCK: usize = 512;
/// Of so many members, one begins a piece.
const ONE_OF: u64 = 8;

/// Takes a stream and hands on its pieces.
pub struct Cutter<'a> {
    piece: Buffer,
    spare: Spare,
    /// The largest piece.
    size: usize,
    any: bool,
    stop: &'a AtomicBool,
    /// Takes a piece; an error where nobody wants more.
    next: &'a mut dyn FnMut(Piece) -> io::Result<()>,
}

impl<'a> Cutter<'a> {
    pub fn new(
        size: usize,
        spare: Spare,
        stop: &'a AtomicBool,
        next: &'a mut dyn FnMut(Piece) -> io::Result<()>,
    ) -> Self {
        Cutter { piece: spare.take(), spare, size, any: false, stop, next }
    }

    /// Hands on the first piece of what is there.
    fn send(&mut self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("context canceled"));
        }
        self.any = true;
        let end = cut(&self.piece, self.size);
        let mut rest = self.spare.take();
        if end < self.piece.len() {
            reserve(&mut rest, self.size);
            rest.extend_from_slice(&self.piece[end..]);
            self.piece.truncate(end);
        }
        (self.next)(Arc::new(std::mem::replace(&mut self.piece, rest)))
    }

    pub fn finish(mut self) -> io::Result<()> {
        // An empty stream is one empty piece, so that it is a gzip file or zstd frame.
        while !self.piece.is_empty() || !self.any {
            self.send()?;
        }
        Ok(())
    }
}

impl Write for Cutter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        reserve(&mut self.piece, self.size);
        let n = bytes.len().min(self.size - self.piece.len());
        self.piece.extend_from_slice(&bytes[..n]);
        if self.piece.len() == self.size {
            self.send()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes room for a whole piece, and not for more.
fn reserve(piece: &mut Vec<u8>, size: usize) {
    piece.reserve_exact(size - piece.len());
}

/// Where the first piece of `bytes` ends: before a member in the second half of the room, or where that ends.
fn cut(bytes: &[u8], size: usize) -> usize {
    let blocks = (size / 2 / BLOCK * BLOCK..).step_by(BLOCK).take_while(|at| at + BLOCK <= bytes.len());
    blocks.into_iter().find(|at| begins_piece(&bytes[*at..at + BLOCK])).unwrap_or(bytes.len())
}

/// Whether a block looks like the header of a member whose name is one of those that begin a piece.
fn begins_piece(block: &[u8]) -> bool {
    if block[257..262] != *b"ustar" {
        return false;
    }
    let name = block[..100].iter().chain(&block[345..500]);
    // FNV-1a
    let hash = name.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    (hash >> 32).is_multiple_of(ONE_OF)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 64 << 10;

    fn pieces(bytes: &[u8], at_once: usize) -> Vec<Vec<u8>> {
        let (stop, mut all) = (AtomicBool::new(false), Vec::new());
        let mut next = |piece: Piece| {
            all.push(piece.to_vec());
            Ok(())
        };
        let mut cutter = Cutter::new(SIZE, Spare::default(), &stop, &mut next);
        bytes.chunks(at_once).for_each(|some| cutter.write_all(some).unwrap());
        cutter.finish().unwrap();
        all
    }

    fn archive(names: impl Iterator<Item = usize>, len: usize) -> Vec<u8> {
        use fsutil::tar::{Entry, Writer};
        let mut writer = Writer::new(Vec::new());
        for i in names {
            let entry =
                Entry { path: format!("f{i}").into(), mode: 0o644, size: len as u64, ..Entry::default() };
            writer.ustar_header(&entry).unwrap();
            writer.write_all(&vec![i as u8; len]).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn pieces_are_the_stream_however_it_comes() {
        let noise: Vec<u8> = (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for bytes in [&archive(0..500, 900)[..], &noise, &noise[..SIZE], b"x", b""] {
            let all = pieces(bytes, 777);
            let whole: Vec<u8> = all.iter().flat_map(|piece| piece.iter().copied()).collect();
            assert!(whole == bytes && all.iter().all(|piece| piece.len() <= SIZE));
            assert!(all == pieces(bytes, 1 << 20));
        }
        assert_eq!(pieces(&noise, 1000).len(), 300_000_usize.div_ceil(SIZE));
        assert_eq!(pieces(b"", 1).len(), 1);
    }

    #[test]
    fn a_change_leaves_most_pieces_as_they_are() {
        let before = pieces(&archive(0..2000, 900), 4096);
        assert!(before.len() > 30);
        for changed in [archive(1..2000, 900), archive((0..700).chain(701..2000), 900)] {
            let after = pieces(&changed, 4096);
            let new = after.iter().filter(|piece| !before.contains(piece)).count();
            assert!(new <= 3, "{new} of {}", after.len());
        }
    }
}
