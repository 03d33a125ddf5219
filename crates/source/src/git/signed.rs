//! Signatures of commits and tags.

use errdefs::{Error, Result};
use signature::{Signer, as_file, is_signature};

use super::fetch::Objects;

use crate::sources::Shared;

/// What has to be signed, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signed {
    pub by: Signer,
    /// The commit's own signature does not do.
    pub require_tag: bool,
    /// The tag's signature does not count.
    pub ignore_tag: bool,
}

impl Signed {
    /// Checks the tag, or the commit where that does not do.
    pub async fn check(&self, shared: &Shared, objects: &Objects) -> Result<()> {
        let tag = match objects.tag.is_empty() || self.ignore_tag {
            true => None,
            false => Some(self.verify(shared, &objects.tag).await),
        };
        match tag {
            Some(Ok(())) => Ok(()),
            Some(Err(e)) if self.require_tag => Err(e),
            None if self.require_tag => Err(Error::user("signed tag required but no signed tag found")),
            _ => self.verify(shared, &objects.commit).await,
        }
    }

    async fn verify(&self, shared: &Shared, object: &[u8]) -> Result<()> {
        let (data, signature) = split(object);
        if signature.is_empty() {
            return Err(Error::user("git object is not signed"));
        }
        let folder = shared.refs.new_tree()?;
        self.by.verify(&folder.path(), &String::from_utf8_lossy(&signature), as_file(&data)?).await
    }
}

/// A commit or tag without its signature, and that (git, Documentation/gitformat-signature.adoc): a commit has it among
/// its headers, each further line with a blank before it, a tag at its end.
fn split(object: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let is_tag = object.starts_with(b"object ");
    let (mut data, mut signature) = (Vec::new(), Vec::new());
    let (mut in_headers, mut in_signature) = (true, false);
    for line in object.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        in_headers &= !bare.is_empty();
        let begin = || bare.strip_prefix(b"gpgsig ").or(bare.strip_prefix(b"gpgsig-sha256 "));
        let part = match (is_tag, in_headers) {
            (true, false) if in_signature || is_signature(bare) => Some(bare),
            (false, true) => match begin() {
                None if in_signature => bare.strip_prefix(b" "),
                begin => begin,
            },
            _ => None,
        };
        in_signature = part.is_some();
        match part {
            Some(part) => {
                signature.extend_from_slice(part);
                signature.push(b'\n');
            }
            None => data.extend_from_slice(line),
        }
    }
    (data, signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(object: &str, data: &str, signature: &str) {
        let (got_data, got_signature) = split(object.as_bytes());
        assert_eq!(String::from_utf8_lossy(&got_data), data);
        assert_eq!(String::from_utf8_lossy(&got_signature), signature);
    }

    #[test]
    fn signatures_are_taken_out() {
        check(
            "tree 1\nauthor a\ngpgsig -----BEGIN\n \n AAA\n -----END\nencoding x\n\n gpgsig no\n",
            "tree 1\nauthor a\nencoding x\n\n gpgsig no\n",
            "-----BEGIN\n\nAAA\n-----END\n",
        );
        check("tree 1\nauthor a\n\ntext", "tree 1\nauthor a\n\ntext", "");
        let signature = "-----BEGIN SSH SIGNATURE-----\nAAA\n\n-----END SSH SIGNATURE-----\n";
        check(&format!("object 1\ntag v1\n\ntext\n{signature}"), "object 1\ntag v1\n\ntext\n", signature);
    }
}
