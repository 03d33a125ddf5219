//! Objects of git as git keeps them: headers, an empty line, a message; a signature among the headers of a commit, or
//! behind the message of a tag.

use std::collections::BTreeMap;

use errdefs::{Error, Result};
use jiff::Timestamp;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::signature::{PgpSignature, SshSignature, read as read_signature};
use crate::host::Signed;

const PGP: &str = "-----BEGIN PGP SIGNATURE-----";
const SSH: &str = "-----BEGIN SSH SIGNATURE-----";

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Object {
    is_tag: bool,
    headers: BTreeMap<String, Vec<String>>,
    message: String,
    raw: Vec<u8>,
    pub signed: Signed,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Actor {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// RFC 3339, in the zone of the actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Commit {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tree: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
    #[serde(skip_serializing_if = "Actor::is_nobody")]
    pub author: Actor,
    #[serde(skip_serializing_if = "Actor::is_nobody")]
    pub committer: Actor,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgp_signature: Option<PgpSignature>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_signature: Option<SshSignature>,
    #[serde(skip)]
    pub signed: Signed,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Tag {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object: String,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tag: String,
    #[serde(skip_serializing_if = "Actor::is_nobody")]
    pub tagger: Actor,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgp_signature: Option<PgpSignature>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_signature: Option<SshSignature>,
    #[serde(skip)]
    pub signed: Signed,
}

impl Object {
    pub fn parse(raw: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(raw);
        let mut object =
            Object { is_tag: raw.starts_with(b"object "), raw: raw.to_vec(), ..Object::default() };
        let (mut signed, mut signature, mut message) = (Vec::new(), Vec::new(), Vec::new());
        let mut lines = text.split('\n');
        let mut in_signature = false;
        for line in lines.by_ref() {
            if line.is_empty() {
                signed.push(line);
                break;
            }
            let begin = ["gpgsig ", "gpgsig-sha256 "].iter().find_map(|begin| line.strip_prefix(begin));
            if let Some(first) = begin.filter(|_| !object.is_tag) {
                in_signature = true;
                signature.push(first);
            } else if let Some(more) = line.strip_prefix(' ').filter(|_| in_signature) {
                signature.push(more);
            } else {
                in_signature = false;
                signed.push(line);
                if let Some((name, value)) = line.split_once(' ') {
                    object.headers.entry(name.to_owned()).or_default().push(value.to_owned());
                }
            }
        }
        let mut over = false;
        for line in lines {
            over |= object.is_tag && (line == PGP || line == SSH);
            if over {
                signature.push(line);
            } else {
                message.push(line);
                signed.push(line);
            }
        }
        let message = message.join("\n");
        object.message = message.strip_suffix('\n').unwrap_or(&message).to_owned();
        let mut data = signed.join("\n");
        if object.is_tag {
            data.push('\n');
        }
        object.signed = Signed { data: data.into_bytes(), signature: signature.join("\n") };
        object.complete()
    }

    fn kind(&self) -> &'static str {
        if self.is_tag { "tag" } else { "commit" }
    }

    fn complete(self) -> Result<Self> {
        let wanted: &[&str] = match self.is_tag {
            true => &["object", "type", "tag", "tagger"],
            false => &["tree", "author", "committer"],
        };
        match wanted.iter().find(|header| !self.headers.contains_key(**header)) {
            None => Ok(self),
            Some(header) => {
                Err(Error::user(format!("invalid {} object: missing {header} header", self.kind())))
            }
        }
    }

    /// Checks that the object has this name.
    pub fn check(&self, name: &str) -> Result<()> {
        let header = format!("{} {}\0", self.kind(), self.raw.len());
        let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let found = match name.len() {
            40 => hex(&Sha1::new().chain_update(&header).chain_update(&self.raw).finalize()),
            64 => hex(&Sha256::new().chain_update(&header).chain_update(&self.raw).finalize()),
            length => return Err(Error::user(format!("unsupported sha length {length}"))),
        };
        match found == name {
            true => Ok(()),
            false => Err(Error::user(format!("checksum mismatch: expected {name}, got {found}"))),
        }
    }

    fn header(&self, name: &str) -> String {
        self.headers.get(name).and_then(|all| all.first()).cloned().unwrap_or_default()
    }

    fn actor(&self, name: &str) -> Actor {
        Actor::parse(&self.header(name))
    }
}

impl Commit {
    pub fn of(object: Object) -> Result<Self> {
        if object.is_tag {
            return Err(Error::user("not a commit object"));
        }
        let (pgp_signature, ssh_signature) = read_signature(&object.signed.signature);
        Ok(Commit {
            tree: object.header("tree"),
            parents: object.headers.get("parent").cloned().unwrap_or_default(),
            author: object.actor("author"),
            committer: object.actor("committer"),
            message: object.message,
            pgp_signature,
            ssh_signature,
            signed: object.signed,
        })
    }
}

impl Tag {
    pub fn of(object: Object) -> Result<Self> {
        if !object.is_tag {
            return Err(Error::user("not a tag object"));
        }
        let (pgp_signature, ssh_signature) = read_signature(&object.signed.signature);
        Ok(Tag {
            object: object.header("object"),
            kind: object.header("type"),
            tag: object.header("tag"),
            tagger: object.actor("tagger"),
            message: object.message,
            pgp_signature,
            ssh_signature,
            signed: object.signed,
        })
    }
}

impl Actor {
    fn is_nobody(&self) -> bool {
        *self == Actor::default()
    }

    /// Reads `Name <email> SECONDS ZONE`. A name may have a `<` of its own.
    fn parse(text: &str) -> Self {
        let text = text.trim();
        let (Some(start), Some(end)) = (text.rfind('<'), text.rfind('>')) else {
            return Actor { name: text.to_owned(), ..Actor::default() };
        };
        if end < start {
            return Actor { name: text.to_owned(), ..Actor::default() };
        }
        let mut words = text[end + 1..].split_whitespace();
        let when = words.next().zip(words.next()).and_then(|(seconds, zone)| when(seconds, zone));
        let (name, email) = (text[..start].trim().to_owned(), text[start + 1..end].trim().to_owned());
        Actor { name, email, when }
    }
}

fn when(seconds: &str, zone: &str) -> Option<String> {
    let time = Timestamp::from_second(seconds.parse().ok()?).ok()?;
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2).filter(|_| digits.len() == 4)?;
    let number = |text: &str| text.parse::<i32>().unwrap_or(0);
    let offset = sign * (number(hours) * 3600 + number(minutes) * 60);
    let local = Offset::from_seconds(offset).ok()?.to_datetime(time);
    let text = local.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    Some(match offset {
        0 => format!("{text}Z"),
        _ => {
            let sign = if offset < 0 { '-' } else { '+' };
            format!("{text}{sign}{:02}:{:02}", offset.abs() / 3600, offset.abs() % 3600 / 60)
        }
    })
}
