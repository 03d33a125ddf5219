//! As much of OpenPGP (RFC 9580) as is needed to check a detached signature against a digest: whoever checks has not the
//! file, only a digest of it with some bytes of the signature behind it. Programs that check signatures want the file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use errdefs::{Error, Result};
use ring::signature::{ED25519, UnparsedPublicKey};
use rsa::{BoxedUint, Pkcs1v15Sign, PublicKey};

use crate::source::Algorithm;

/// Kinds of packets: RFC 9580, 5.
const SIGNATURE: u8 = 2;
const KEYS: [u8; 2] = [6, 14];
/// Bits of an RSA key that is used at all.
const MOST_BITS: u32 = 16384;

/// A signature of version 4.
pub struct Signature {
    pub algorithm: Algorithm,
    kind: u8,
    /// What of itself was signed too.
    hashed: Vec<u8>,
    /// The first bytes of the digest.
    begin: [u8; 2],
    value: Vec<Vec<u8>>,
}

pub struct Keys(Vec<Key>);

enum Key {
    Rsa(PublicKey),
    Ed25519(Vec<u8>),
}

fn wrong(what: &str) -> Error {
    Error::user(what.to_owned())
}

impl Signature {
    /// Reads the first signature of an armored block.
    pub fn parse(armored: &[u8]) -> Result<Self> {
        let blocks = blocks(armored, "SIGNATURE");
        let packets = blocks.iter().flat_map(|bytes| packets(bytes));
        let packet = packets.into_iter().find(|(kind, _)| *kind == SIGNATURE);
        let (_, body) = packet.ok_or_else(|| wrong("no signature packet found"))?;
        Self::of(body).ok_or_else(|| wrong("the signature is of another version, or cut off"))?
    }

    /// RFC 9580, 5.2.3. Nothing for what has not this form.
    fn of(body: &[u8]) -> Option<Result<Self>> {
        let mut reader = Reader(body);
        let &[4, _, kind, hash] = reader.take(4)? else { return None };
        let length = reader.number(2)?;
        reader.take(length)?;
        let hashed = body[..6 + length].to_vec();
        let length = reader.number(2)?;
        reader.take(length)?;
        let begin = [reader.byte()?, reader.byte()?];
        let algorithm = match hash {
            8 => Algorithm::Sha256,
            9 => Algorithm::Sha384,
            10 => Algorithm::Sha512,
            other => return Some(Err(Error::user(format!("unsupported signature hash algorithm {other}")))),
        };
        let value = match kind {
            1 | 3 => vec![reader.mpi()?.to_vec()],
            22 => vec![reader.mpi()?.to_vec(), reader.mpi()?.to_vec()],
            27 => vec![reader.take(64)?.to_vec()],
            _ => Vec::new(),
        };
        Some(Ok(Signature { algorithm, kind, hashed, begin, value }))
    }

    /// What counts as if it stood behind the file (RFC 9580, 5.2.4).
    pub fn suffix(&self) -> Vec<u8> {
        let length = u32::try_from(self.hashed.len()).unwrap_or(u32::MAX).to_be_bytes();
        [self.hashed.as_slice(), &[4, 0xff], &length].concat()
    }

    /// The bytes of `sha256:...`, where it is of the kind that is wanted.
    pub fn raw_digest(&self, digest: &str) -> Option<Vec<u8>> {
        let (name, length) = match self.algorithm {
            Algorithm::Sha256 => ("sha256", 32),
            Algorithm::Sha384 => ("sha384", 48),
            Algorithm::Sha512 => ("sha512", 64),
        };
        let hex = digest.strip_prefix(name)?.strip_prefix(':')?;
        let pairs =
            hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        pairs.collect::<Option<Vec<u8>>>().filter(|bytes| bytes.len() == length)
    }

    /// Both halves of a signature of Ed25519.
    fn ed25519(&self) -> Option<Vec<u8>> {
        match self.value.as_slice() {
            [whole] if whole.len() == 64 => Some(whole.clone()),
            [r, s] if r.len() <= 32 && s.len() <= 32 => {
                let padded = |half: &[u8]| [&vec![0; 32 - half.len()], half].concat();
                Some([padded(r), padded(s)].concat())
            }
            _ => None,
        }
    }
}

impl Keys {
    /// Reads all keys of armored blocks, those below others too. Kinds that are not known are passed over.
    pub fn parse(armored: &[u8]) -> Result<Self> {
        let blocks = blocks(armored, "PUBLIC KEY BLOCK");
        if blocks.is_empty() {
            return Err(wrong("failed to read armored public key: no armored data found"));
        }
        let packets = blocks.iter().flat_map(|bytes| packets(bytes));
        Ok(Keys(
            packets.filter(|(kind, _)| KEYS.contains(kind)).filter_map(|(_, body)| Key::of(body)).collect(),
        ))
    }

    pub fn have_signed(&self, signature: &Signature, digest: &[u8]) -> bool {
        digest.starts_with(&signature.begin) && self.0.iter().any(|key| key.has_signed(signature, digest))
    }
}

impl Key {
    /// RFC 9580, 5.5.2.3 and 5.5.5.
    fn of(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        if reader.byte()? != 4 {
            return None;
        }
        reader.take(4)?;
        match reader.byte()? {
            1 | 3 => {
                let number = |bytes: &[u8]| {
                    let bits = u32::try_from(bytes.len()).ok()?.checked_mul(8)?;
                    BoxedUint::from_be_slice(bytes, bits).ok().filter(|_| bits <= MOST_BITS)
                };
                let (n, e) = (number(reader.mpi()?)?, number(reader.mpi()?)?);
                PublicKey::new(n, e).ok().map(Key::Rsa)
            }
            22 => {
                let length = usize::from(reader.byte()?);
                // 1.3.6.1.4.1.11591.15.1, Ed25519.
                let is_known = reader.take(length)? == [0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
                let point =
                    reader.mpi()?.strip_prefix(&[0x40]).filter(|point| is_known && point.len() == 32)?;
                Some(Key::Ed25519(point.to_vec()))
            }
            27 => Some(Key::Ed25519(reader.take(32)?.to_vec())),
            _ => None,
        }
    }

    fn has_signed(&self, signature: &Signature, digest: &[u8]) -> bool {
        match (self, signature.kind) {
            (Key::Rsa(key), 1 | 3) => {
                let Some(value) = signature.value.first() else { return false };
                let size = key_size(key);
                let padded = [&vec![0; size.saturating_sub(value.len())], value.as_slice()].concat();
                key.verify(padding(signature.algorithm), digest, &padded).is_ok()
            }
            (Key::Ed25519(key), 22 | 27) => {
                let key = UnparsedPublicKey::new(&ED25519, key);
                signature.ed25519().is_some_and(|value| key.verify(digest, &value).is_ok())
            }
            _ => false,
        }
    }
}

fn key_size(key: &PublicKey) -> usize {
    rsa::traits::PublicKeyParts::size(key)
}

/// PKCS #1 with the names of the algorithms (RFC 8017, 9.2, note 1).
fn padding(algorithm: Algorithm) -> Pkcs1v15Sign {
    let (id, length) = match algorithm {
        Algorithm::Sha256 => (1, 32),
        Algorithm::Sha384 => (2, 48),
        Algorithm::Sha512 => (3, 64),
    };
    let name = [0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, id, 0x05, 0x00];
    let prefix = [&[0x30, 17 + length][..], &name, &[0x04, length]].concat();
    Pkcs1v15Sign { hash_len: Some(usize::from(length)), prefix: prefix.into() }
}

/// The bytes of all blocks of a kind (RFC 9580, 6.2): after headers and an empty line, before the checksum.
pub(crate) fn blocks(armored: &[u8], kind: &str) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(armored);
    let (begin, end) = (format!("-----BEGIN PGP {kind}-----"), format!("-----END PGP {kind}-----"));
    let bodies = text.split(begin.as_str()).skip(1).filter_map(|rest| Some(rest.split_once(&end)?.0));
    bodies.filter_map(unarmor).collect()
}

/// The bytes of the lines between the first and the last of an armor.
pub(crate) fn unarmor(body: &str) -> Option<Vec<u8>> {
    let lines = body.lines().map(str::trim).filter(|line| !line.contains(": "));
    let text: String = lines.take_while(|line| !line.starts_with('=')).collect();
    STANDARD.decode(&text).ok()
}

/// Kinds and bodies of packets, up to the first that cannot be read.
pub(crate) fn packets(bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut reader = Reader(bytes);
    std::iter::from_fn(|| reader.packet()).collect()
}

pub(crate) struct Reader<'b>(pub &'b [u8]);

impl<'b> Reader<'b> {
    pub fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// Of that many bytes, highest first.
    pub fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A number of any size: its bits, its bytes.
    fn mpi(&mut self) -> Option<&'b [u8]> {
        let bits = self.number(2)?;
        self.take(bits.div_ceil(8))
    }

    /// RFC 9580, 4.2.
    fn packet(&mut self) -> Option<(u8, &'b [u8])> {
        let tag = self.byte().filter(|tag| tag & 0x80 != 0)?;
        let (kind, length) = match tag & 0x40 {
            0 => (tag >> 2 & 0xf, self.old_length(tag & 3)?),
            _ => (tag & 0x3f, self.length()?),
        };
        Some((kind, self.take(length)?))
    }

    /// RFC 9580, 4.2.1 and 5.2.3.7; lengths in parts have no place here.
    pub fn length(&mut self) -> Option<usize> {
        match usize::from(self.byte()?) {
            short @ ..192 => Some(short),
            first @ 192..224 => Some(((first - 192) << 8) + usize::from(self.byte()?) + 192),
            255 => self.number(4),
            _ => None,
        }
    }

    /// RFC 9580, 4.2.2.
    fn old_length(&mut self, kind: u8) -> Option<usize> {
        match kind {
            0 => self.number(1),
            1 => self.number(2),
            2 => self.number(4),
            _ => Some(self.0.len()),
        }
    }
}
