//! What hangs on a manifest (distribution-spec, "Listing Referrers" and "Referrers Tag Schema").

use bytes::Bytes;
use errdefs::{Class, Code, Error, Result};
use oci::{Descriptor, Digest, Index, Reference, json, media};

use crate::endpoint::Endpoint;
use crate::registry::Registry;

/// How often the list of clients is written where others write it too.
const TRIES: usize = 5;

impl Registry {
    /// The manifests of a repository whose subject is this one. Where the server keeps no list, that of clients is read:
    /// an index under a tag.
    pub async fn referrers(&self, reference: &Reference, subject: &Digest) -> Result<Vec<Descriptor>> {
        for path in [format!("referrers/{subject}"), format!("manifests/{}", tag(subject))] {
            let listed = self.first(reference, |endpoint| self.list(endpoint, reference, &path)).await;
            match listed {
                Ok(index) => return Ok(index.manifests),
                Err(e) if e.is_not_found() => {}
                Err(e) => return Err(e.context(format_args!("fetching referrers for {subject}"))),
            }
        }
        Ok(Vec::new())
    }

    /// Those of one type of artifact, as `application/vnd.dev.sigstore.bundle.v0.3+json`.
    pub async fn referrers_of_type(
        &self,
        reference: &Reference,
        subject: &Digest,
        artifact_type: &str,
    ) -> Result<Vec<Descriptor>> {
        // Servers need not filter, and what they list is short.
        let mut all = self.referrers(reference, subject).await?;
        all.retain(|referrer| referrer.artifact_type == artifact_type);
        Ok(all)
    }

    /// Puts a manifest, whose blobs are all there, that hangs on `subject`. Where the server keeps no list of those, that of
    /// clients is kept, with all that is in it. `referrer` is to say its artifact type.
    pub async fn push_referrer(
        &self,
        repository: &Reference,
        subject: &Digest,
        referrer: &Descriptor,
        bytes: Bytes,
    ) -> Result<()> {
        let name = repository.clone().with_tag(None).with_digest(referrer.digest.clone());
        self.push_manifest(&name, &referrer.media_type, bytes).await?;
        let endpoint = self.push_endpoint(repository);
        let path = format!("referrers/{subject}");
        let work = async {
            match self.list(endpoint.clone(), repository, &path).await? {
                Some(_) => Ok(()),
                None => self.add_to_tag(&endpoint, repository, subject, referrer).await,
            }
        };
        work.await.map_err(|e| e.context(format_args!("failed to push {name} as a referrer of {subject}")))
    }

    async fn add_to_tag(
        &self,
        endpoint: &Endpoint,
        repository: &Reference,
        subject: &Digest,
        referrer: &Descriptor,
    ) -> Result<()> {
        let _one_at_a_time = self.tag_lock().await;
        let tag = tag(subject);
        let name = repository.clone().without_digest().with_tag(Some(tag.clone()));
        let path = format!("manifests/{tag}");
        for _ in 0..TRIES {
            let listed = self.list(endpoint.clone(), repository, &path).await?;
            let mut index = listed.unwrap_or_else(|| Index::new(media::OCI_INDEX, Vec::new()));
            if index.manifests.iter().any(|known| known.digest == referrer.digest) {
                return Ok(());
            }
            index.manifests.push(referrer.clone());
            // Others may write theirs at the same time: the next round looks whether this one stayed.
            self.push_manifest(&name, media::OCI_INDEX, Bytes::from(json::to_vec(&index))).await?;
        }
        let message = format!("others keep writing the tag `{tag}`");
        Err(Error::new(Class::Environment, Code::Aborted, message).hint("try again"))
    }

    async fn list(&self, endpoint: Endpoint, reference: &Reference, path: &str) -> Result<Option<Index>> {
        let Some((_, bytes)) = self.get(endpoint, reference, path).await? else { return Ok(None) };
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|e| Error::user(format!("failed to decode referrers index `{path}`: {e}")))?;
        // A manifest has none; it would be lost if it were written as an index.
        match index.media_type.is_empty() || media::is_index(&index.media_type) {
            true => Ok(Some(index)),
            false => Err(Error::user(format!("`{path}` is no index, but {}", index.media_type))),
        }
    }
}

fn tag(subject: &Digest) -> String {
    format!("{}-{}", subject.algorithm(), subject.hex())
}
