//! Bundles: a repository in one file. One may come as a blob in place of what the remote has, and one may be the result.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use errdefs::{Error, Result, ResultExt};
use snapshot::TreeWriter;

use super::command::Git;
use super::fetch::Repository;
use super::options::is_commit;
use super::resolve::Resolved;
use crate::blob::BlobPlace;
use crate::context::Context;
use crate::pump::pump;
use crate::sources::Shared;
use crate::sums::Sums;

/// The name of the file that is the result.
const FILE: &str = "bundle";
/// The branch of a bundle whose commit was not asked for by a name.
const UNNAMED: &str = "refs/heads/main";

/// A repository with what a bundle holds. It goes when this is dropped.
pub struct Staged {
    pub git: Git,
    pub url: String,
    _folder: TreeWriter,
}

impl Staged {
    /// Fetches a bundle that has to hold `commit`, or one that begins so.
    pub async fn open(shared: &Shared, blob: &BlobPlace, commit: &str, cx: &Context) -> Result<Self> {
        let folder = shared.refs.new_tree()?;
        let (file, repository) = (folder.path().join("bundle.pack"), folder.path().join("repo.git"));
        let reference = &blob.reference;
        download(shared, blob, cx, &file)
            .await
            .with_context(|| format!("failed to fetch git bundle {reference}"))?;
        let path = file.display().to_string();
        let git = Git::new(cx.step.clone());
        let is_sha256 = holds_sha256(&git, &path).await;
        let is_sha256 = is_sha256.with_context(|| format!("failed to inspect git bundle {reference}"))?;
        let git = init(&git, &repository, is_sha256).await?;
        let fetched = git.run(&["fetch", &path, "+refs/*:refs/*"]).await;
        fetched.with_context(|| format!("failed to import git bundle {reference}"))?;
        if git.run(&["cat-file", "-e", &format!("{commit}^{{commit}}")]).await.is_err() {
            return Err(Error::user(format!("commit {commit} not found in bundle {reference}")));
        }
        let url = format!("file://{}", repository.display());
        Ok(Staged { git, url, _folder: folder })
    }
}

async fn download(shared: &Shared, blob: &BlobPlace, cx: &Context, path: &Path) -> Result<()> {
    let (_, stream) = blob.open(shared, cx).await?;
    let mut file = File::create_new(path)?;
    let (digest, from) = (blob.digest.clone(), blob.reference.to_string());
    pump(stream, move |chunks| {
        let mut sums = Sums::new(Some(&digest));
        for chunk in chunks {
            file.write_all(&chunk)?;
            sums.update(&chunk);
        }
        sums.finish(Some(&digest), &from).map(drop)
    })
    .await
}

/// Whether the names in a bundle are those of SHA-256.
async fn holds_sha256(git: &Git, path: &str) -> Result<bool> {
    let listed = git.run(&["ls-remote", "--", path]).await?;
    let listed = String::from_utf8_lossy(&listed);
    let first = listed.lines().next().ok_or_else(|| Error::user("no refs found"))?;
    let name = first.split('\t').next().unwrap_or_default();
    match is_commit(name) {
        true => Ok(name.len() == 64),
        false => Err(Error::user(format!("invalid object ID {name:?}"))),
    }
}

/// An empty repository.
async fn init(git: &Git, dir: &Path, is_sha256: bool) -> Result<Git> {
    fs::create_dir(dir)?;
    let git = git.at(dir, None);
    let format = if is_sha256 { "--object-format=sha256" } else { "--object-format=sha1" };
    git.run(&["-c", "init.defaultBranch=master", "init", "--bare", format]).await?;
    Ok(git)
}

/// Writes a bundle of the commit that is wanted into the empty folder `tree`.
pub async fn create(
    shared: &Shared,
    repository: &Repository,
    resolved: &Resolved,
    tree: &Path,
) -> Result<()> {
    let wanted = &resolved.sha;
    let failed = || format!("failed to create git bundle for {wanted}");
    let folder = shared.refs.new_tree()?;
    let git = init(&repository.git, &folder.path().join("repo.git"), wanted.len() == 64).await?;
    let from = format!("file://{}", repository.dir.display());
    git.run(&["fetch", &from, "--", wanted]).await.with_context(failed)?;
    let (name, path) = (tip(&resolved.reference), tree.join(FILE));
    git.run(&["update-ref", &name, wanted]).await.with_context(failed)?;
    git.run(&["bundle", "create", &path.display().to_string(), &name]).await.with_context(failed)?;
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).with_context(failed)
}

/// What the commit is called in the bundle.
fn tip(reference: &str) -> String {
    if reference.is_empty() || is_commit(reference) {
        return UNNAMED.into();
    }
    if reference.starts_with("refs/tags/") {
        return reference.to_owned();
    }
    let name = reference.strip_prefix("refs/").unwrap_or(reference);
    format!("refs/heads/{}", name.strip_prefix("heads/").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::tip;

    #[test]
    fn tips_have_the_names_that_were_asked_for() {
        let sha = "a".repeat(40);
        for (reference, expected) in [
            ("", "refs/heads/main"),
            (sha.as_str(), "refs/heads/main"),
            ("refs/tags/v1", "refs/tags/v1"),
            ("refs/heads/dev/x", "refs/heads/dev/x"),
            ("heads/dev", "refs/heads/dev"),
            ("v1", "refs/heads/v1"),
        ] {
            assert_eq!(tip(reference), expected);
        }
    }
}
