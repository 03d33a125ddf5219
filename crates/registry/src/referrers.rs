//! What hangs on a manifest (distribution-spec, "Listing Referrers").

use errdefs::{Error, Result};
use oci::{Descriptor, Digest, Index, Reference};

use crate::registry::Registry;

impl Registry {
    /// The manifests of a repository whose subject is this one. Where the server keeps no list, that of clients is read:
    /// an index under a tag.
    pub async fn referrers(&self, reference: &Reference, subject: &Digest) -> Result<Vec<Descriptor>> {
        for path in [format!("referrers/{subject}"), format!("manifests/{}", tag(subject))] {
            let listed = self.first(reference, |endpoint| self.get(endpoint, reference, &path)).await;
            match listed {
                Ok((_, bytes)) => {
                    let index: Index = serde_json::from_slice(&bytes).map_err(|e| {
                        Error::user(format!("failed to decode referrers index of {subject}: {e}"))
                    })?;
                    return Ok(index.manifests);
                }
                Err(e) if e.is_not_found() => {}
                Err(e) => return Err(e.context(format_args!("fetching referrers for {subject}"))),
            }
        }
        Ok(Vec::new())
    }
}

fn tag(subject: &Digest) -> String {
    format!("{}-{}", subject.algorithm(), subject.hex())
}
