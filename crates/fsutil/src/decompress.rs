//! Streams that are packed, by what they begin with.

use std::io::{self, BufRead, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use errdefs::Error;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

/// Most KiB that an xz stream may ask for: what the largest dictionary of the program `xz` takes. A format that may ask
/// for 4 GiB must not end the engine.
const XZ_MEMORY: u32 = (1536 + 1) << 10;

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    /// Tells the packing by the first bytes; ten are enough.
    pub fn detect(head: &[u8]) -> Self {
        const MAGIC: [(&[u8], Compression); 4] = [
            (&[0x1f, 0x8b, 0x08], Compression::Gzip),
            (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
            (b"BZh", Compression::Bzip2),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
        ];
        let skippable = head.len() >= 4 && head[0] & 0xf0 == 0x50 && head[1..4] == [0x2a, 0x4d, 0x18];
        match MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
            Some((_, compression)) => *compression,
            None if skippable => Compression::Zstd,
            None => Compression::None,
        }
    }
}

/// Unpacks a stream of any [`Compression`], with all members or frames that follow each other.
pub struct Decoder<R: BufRead>(Kind<R>);

enum Kind<R: BufRead> {
    None(R),
    Gzip(Box<MultiGzDecoder<R>>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
    Bzip2(Box<MultiBzDecoder<R>>),
    Xz(Box<XzReader<R>>),
}

impl<R: BufRead> Decoder<R> {
    pub fn new(reader: R, compression: Compression) -> io::Result<Self> {
        Ok(Decoder(match compression {
            Compression::None => Kind::None(reader),
            Compression::Gzip => Kind::Gzip(Box::new(MultiGzDecoder::new(reader))),
            Compression::Zstd => Kind::Zstd(zstd::stream::read::Decoder::with_buffer(reader)?),
            Compression::Bzip2 => Kind::Bzip2(Box::new(MultiBzDecoder::new(reader))),
            Compression::Xz => Kind::Xz(Box::new(XzReader::new_mem_limit(reader, true, XZ_MEMORY))),
        }))
    }
}

impl<R: Read> Decoder<BufReader<R>> {
    /// Looks at the first bytes to tell the packing.
    pub fn detect(reader: R) -> io::Result<Self> {
        let mut reader = BufReader::with_capacity(128 << 10, reader);
        let compression = Compression::detect(reader.fill_buf()?);
        Decoder::new(reader, compression)
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (packing, read) = match &mut self.0 {
            Kind::None(reader) => return reader.read(buffer),
            Kind::Gzip(reader) => ("gzip", reader.read(buffer)),
            Kind::Zstd(reader) => ("zstd", reader.read(buffer)),
            Kind::Bzip2(reader) => ("bzip2", reader.read(buffer)),
            Kind::Xz(reader) => ("xz", reader.read(buffer)),
        };
        read.map_err(|e| damaged(packing, e))
    }
}

/// What a library says of its input, for people. Errors of the source below it stay what they are.
fn damaged(packing: &str, e: io::Error) -> io::Error {
    use io::ErrorKind as K;
    if e.raw_os_error().is_some() || e.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        return e;
    }
    let told = match e.kind() {
        K::UnexpectedEof => format!("the {packing} stream ends too early"),
        K::InvalidData | K::InvalidInput | K::Other => format!("the {packing} stream is damaged: {e}"),
        K::Unsupported | K::OutOfMemory => format!("the {packing} stream cannot be unpacked: {e}"),
        _ => return e,
    };
    io::Error::new(e.kind(), Error::user(told))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use errdefs::Class;

    use super::*;

    fn check(packed: &[u8], compression: Compression) {
        assert_eq!(Compression::detect(packed), compression);
        let mut text = Vec::new();
        Decoder::detect(packed).unwrap().read_to_end(&mut text).unwrap();
        assert_eq!(text, b"hello hello hello");
        let told = |bytes: &[u8]| {
            let e = Decoder::detect(bytes).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
            let e = Error::from(e);
            assert_eq!(e.class(), Class::User, "{e}");
            e.to_string()
        };
        if compression != Compression::None {
            assert!(told(&packed[..packed.len() - 5]).ends_with("stream ends too early"));
            let followed = told(&[packed, b"by something else"].concat());
            assert!(followed.contains("stream is damaged: "), "{followed}");
        }
    }

    #[test]
    fn every_packing_is_known_by_its_head() {
        let gzip = |text: &[u8]| {
            let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            w.write_all(text).unwrap();
            w.finish().unwrap()
        };
        check(b"hello hello hello", Compression::None);
        check(&[gzip(b"hello "), gzip(b"hello hello")].concat(), Compression::Gzip);
        let zstd = |text: &[u8]| zstd::stream::encode_all(text, 3).unwrap();
        check(&[zstd(b"hello "), zstd(b"hello hello")].concat(), Compression::Zstd);
        let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bz.write_all(b"hello hello hello").unwrap();
        check(&bz.finish().unwrap(), Compression::Bzip2);
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
        xz.write_all(b"hello hello hello").unwrap();
        check(&xz.finish().unwrap(), Compression::Xz);
    }
}
