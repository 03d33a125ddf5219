//! What a detached signature says of itself: its version and its key. Nothing is checked here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::openpgp::{Reader, packets, unarmor};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PgpSignature {
    #[serde(skip_serializing_if = "is_zero")]
    pub version: u32,
    #[serde(rename = "keyID", skip_serializing_if = "String::is_empty")]
    pub key_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SshSignature {
    #[serde(skip_serializing_if = "is_zero")]
    pub version: u32,
    /// As `ssh-keygen -l` shows it: `SHA256:...`.
    #[serde(rename = "pubKey", skip_serializing_if = "String::is_empty")]
    pub key: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Nothing for what is no signature.
pub(super) fn read(armored: &str) -> (Option<PgpSignature>, Option<SshSignature>) {
    let kind = armored.strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once(" SIGNATURE-----"));
    match kind {
        Some(("PGP", rest)) => (body(rest).and_then(|bytes| pgp(&bytes)), None),
        Some(("SSH", rest)) => (None, body(rest).and_then(|bytes| ssh(&bytes))),
        _ => (None, None),
    }
}

fn body(rest: &str) -> Option<Vec<u8>> {
    unarmor(rest.split_once("-----END ")?.0)
}

/// Version and issuer of the first signature (RFC 9580, 4.2 and 5.2).
fn pgp(bytes: &[u8]) -> Option<PgpSignature> {
    let (_, body) = packets(bytes).into_iter().find(|(kind, _)| *kind == 2)?;
    let mut packet = Reader(body);
    let version = packet.byte()?;
    if version == 3 {
        packet.take(6)?;
        return Some(PgpSignature { version: 3, key_id: hex(packet.take(8)?) });
    }
    if !matches!(version, 4..=6) {
        return None;
    }
    packet.take(3)?;
    let mut key = String::new();
    for _ in ["hashed", "unhashed"] {
        let length = if version == 6 { packet.number(4)? } else { packet.number(2)? };
        let mut subpackets = Reader(packet.take(length)?);
        while !subpackets.0.is_empty() {
            let length = subpackets.length()?;
            let (kind, body) = subpackets.take(length)?.split_first()?;
            match (kind & 0x7f, body) {
                (16, id) if id.len() == 8 => key = hex(id),
                // The fingerprint says it too.
                (33, [4, print @ ..]) if key.is_empty() && print.len() == 20 => key = hex(&print[12..]),
                (33, [5 | 6, print @ ..]) if key.is_empty() && print.len() == 32 => key = hex(&print[..8]),
                _ => {}
            }
        }
    }
    Some(PgpSignature { version: u32::from(version), key_id: key })
}

/// PROTOCOL.sshsig: `SSHSIG`, a version, the public key.
fn ssh(bytes: &[u8]) -> Option<SshSignature> {
    let mut reader = Reader(bytes.strip_prefix(b"SSHSIG")?);
    let version = u32::try_from(reader.number(4)?).ok()?;
    let length = reader.number(4)?;
    let key = reader.take(length)?;
    Some(SshSignature { version, key: format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key))) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
