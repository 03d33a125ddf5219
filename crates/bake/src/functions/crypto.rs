//! Digests, identifiers, passwords.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use sha2::Digest as _;

use super::{CallError, Called, Context, bad, integer, text_of};
use crate::value::Value;

/// More than this takes longer than anybody waits.
const MAX_COST: i64 = 16;

fn hex(bytes: impl AsRef<[u8]>) -> Value {
    Value::string(bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect::<String>())
}

pub(super) fn md5(args: &[Value], _: &Context) -> Called {
    Ok(hex(md5::Md5::digest(text_of(args, 0))))
}

pub(super) fn sha1(args: &[Value], _: &Context) -> Called {
    Ok(hex(sha1::Sha1::digest(text_of(args, 0))))
}

pub(super) fn sha256(args: &[Value], _: &Context) -> Called {
    Ok(hex(sha2::Sha256::digest(text_of(args, 0))))
}

pub(super) fn sha512(args: &[Value], _: &Context) -> Called {
    Ok(hex(sha2::Sha512::digest(text_of(args, 0))))
}

/// `bcrypt(text)` or `bcrypt(text, cost)`.
pub(super) fn bcrypt(args: &[Value], context: &Context) -> Called {
    let cost = match args.len() {
        1 => 10,
        2 => integer(args, 1)?,
        _ => return Err("it takes no more than two arguments".into()),
    };
    // Too low a cost is taken for none given.
    let cost = if cost < 4 { 10 } else { cost };
    if cost > MAX_COST {
        return Err(bad(1, format!("a cost of more than {MAX_COST} takes too long")));
    }
    let text = text_of(args, 0);
    if text.len() > 72 {
        return Err(bad(0, "the text must not be longer than 72 bytes"));
    }
    let parts = bcrypt::hash_with_salt(text, cost as u32, context.random::<16>())
        .map_err(|e| CallError::from(e.to_string()))?;
    Ok(Value::string(parts.format_for_version(bcrypt::Version::TwoA)))
}

/// Of text in base64 and a key in PEM (PKCS #1), padded as PKCS #1 1.5 says.
pub(super) fn rsa_decrypt(args: &[Value], _: &Context) -> Called {
    let cipher =
        STANDARD.decode(text_of(args, 0)).map_err(|_| bad(0, "the text to decrypt must be base64"))?;
    let pem = text_of(args, 1);
    if pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(bad(1, "a key with a password is not supported: decrypt it first"));
    }
    let key = rsa::PrivateKey::from_pkcs1_pem(pem.trim_start())
        .map_err(|e| bad(1, format!("this is no private RSA key: {e}")))?;
    let plain = key.decrypt(rsa::Pkcs1v15Encrypt, &cipher).map_err(|e| CallError::from(e.to_string()))?;
    Ok(Value::string(String::from_utf8_lossy(&plain)))
}

pub(super) fn uuid_v4(_: &[Value], context: &Context) -> Called {
    Ok(uuid(context.random::<16>(), 4))
}

/// Namespaces of RFC 9562, appendix; they differ in one byte.
pub(super) fn uuid_v5(args: &[Value], _: &Context) -> Called {
    let well_known = |last| {
        let mut bytes =
            [0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];
        bytes[3] = last;
        bytes
    };
    let namespace = match text_of(args, 0) {
        "dns" => well_known(0x10),
        "url" => well_known(0x11),
        "oid" => well_known(0x12),
        "x500" => well_known(0x14),
        other => parse_uuid(other).ok_or_else(|| bad(0, format!("\"{other}\" is no namespace")))?,
    };
    let digest = sha1::Sha1::new().chain_update(namespace).chain_update(text_of(args, 1)).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Ok(uuid(bytes, 5))
}

fn uuid(mut bytes: [u8; 16], version: u8) -> Value {
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    Value::string(parts.join("-"))
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    let hex: String = text.split('-').collect();
    if hex.len() != 32 || !hex.is_ascii() {
        return None;
    }
    let mut out = [0; 16];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[i * 2..i * 2 + 2], 16).ok()?;
    }
    Some(out)
}
