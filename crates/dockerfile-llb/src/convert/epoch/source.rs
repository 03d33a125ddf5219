//! The time of a source.

use errdefs::{Error, Result};
use frontend::{SourceMeta, SourceOptions};
use fsutil::tar::{EntryKind, Reader};
use llb::SourceOp;

use crate::draft::{About, Draft};
use crate::frontend::Client;

/// In seconds since 1970; nothing where the source has none.
pub(super) async fn time(client: &Client, op: SourceOp, title: String) -> Result<Option<i64>> {
    let is_git = op.identifier.starts_with("git://");
    let options = SourceOptions { log_name: title, objects: is_git, ..SourceOptions::default() };
    match client.bridge().resolve_source(&op, options).await?.meta {
        SourceMeta::Git(git) if !git.commit_object.is_empty() => match committed(&git.commit_object) {
            Some(time) => Ok(Some(time)),
            None => Err(Error::user(format!("the commit of `{}` has no time", op.identifier))),
        },
        SourceMeta::Http(page) if page.modified.is_some() => Ok(page.modified),
        SourceMeta::Http(_) => in_archive(client, op).await,
        SourceMeta::Git(_) | SourceMeta::Plain => Ok(None),
    }
}

/// The time of the committer in an encoded commit.
fn committed(commit: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(commit);
    let head = text.lines().take_while(|line| !line.is_empty());
    let committer = head.filter_map(|line| line.strip_prefix("committer ")).next()?;
    committer.rsplit(' ').nth(1)?.parse().ok()
}

async fn in_archive(client: &Client, op: SourceOp) -> Result<Option<i64>> {
    let Some(name) = op.attrs.get("http.filename").cloned() else { return Ok(None) };
    let mut draft = Draft::default();
    let port = draft.source(op, None, About::default());
    let definition = draft.finish(Some(port), &client.build_platform(), &Default::default());
    let reference = client.solve(definition).await?;
    let file = client.bridge().read_file(&reference, &name, None).await?;
    let found = tokio::task::spawn_blocking(move || latest(&file).unwrap_or_default()).await;
    found.map_err(|e| Error::internal(format!("reading an archive ended: {e}")))
}

/// The latest time of a file in an archive.
fn latest(archive: &[u8]) -> Result<Option<i64>> {
    let decoder = fsutil::Decoder::detect(archive).map_err(|e| Error::user(e.to_string()))?;
    let mut reader = Reader::new(decoder);
    let mut latest = None;
    while let Some(entry) = reader.next_entry()? {
        if matches!(entry.kind, EntryKind::File | EntryKind::Hardlink) {
            latest = latest.max(Some(entry.mtime.0));
        }
    }
    Ok(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_commit_is_its_committers() {
        let commit =
            b"tree 1\nauthor A <a@x> 1 +0000\ncommitter C D <c@x> 1700000101 +0200\n\ncommitter X 5 +0\n";
        assert_eq!(committed(commit), Some(1_700_000_101));
        assert_eq!(committed(b"tree 1\n\ncommitter C <c@x> 5 +0000"), None);
    }

    #[test]
    fn what_is_no_archive_has_no_time() {
        for bytes in [&b"just text"[..], &[0; 1024], b"\x1f\x8b\x08"] {
            assert_eq!(latest(bytes).unwrap_or_default(), None);
        }
    }
}
