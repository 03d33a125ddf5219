//! From a bare repository to files.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use errdefs::{Error, Result, ResultExt};

use super::fetch::{Repository, target};
use super::options::{GitOptions, is_commit, without_password};
use super::resolve::Resolved;

/// Where the files of a repository lie until those of a subdirectory are moved out.
const WHOLE: &str = ".kiln-checkout";

/// Fills the empty folder `tree`.
pub async fn check_out(
    repository: &Repository,
    options: &GitOptions,
    resolved: &Resolved,
    tree: &Path,
) -> Result<()> {
    let shown = without_password(&options.remote);
    let failed = || format!("failed to checkout remote {shown}");
    let whole = if options.subdir.is_empty() { tree.to_owned() } else { tree.join(WHOLE) };
    fs::create_dir_all(&whole).with_context(failed)?;
    let git_dir = if options.keep_git_dir && options.subdir.is_empty() {
        with_git_dir(repository, options, resolved, &whole).await.with_context(failed)?;
        whole.join(".git")
    } else {
        let git = repository.git.at(&repository.dir, Some(&whole));
        git.run(&["checkout", "--no-overlay", &resolved.sha, "--", "."]).await.with_context(failed)?;
        repository.dir.clone()
    };
    let git = repository.git.at(&git_dir, Some(&whole));
    if !options.skip_submodules {
        let updated = git.run(&["submodule", "update", "--init", "--recursive", "--depth=1"]).await;
        updated.with_context(|| format!("failed to update submodules for {shown}"))?;
    }
    let time = match options.commit_time {
        true => {
            let commit = format!("{}^{{commit}}", resolved.sha);
            let seconds = git.line(&["log", "-1", "--format=%ct", &commit]).await?;
            let seconds: u64 = seconds
                .parse()
                .map_err(|_| Error::environment(format!("failed to parse commit timestamp {seconds:?}")))?;
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        }
        false => None,
    };
    let (tree, subdir) = (tree.to_owned(), options.subdir.clone());
    let finish = move || -> Result<()> {
        if !subdir.is_empty() {
            keep_only(&tree, &subdir)?;
        }
        time.map_or(Ok(()), |time| set_times(&tree, time)).context("failed to set the times of files")
    };
    let finished = tokio::task::spawn_blocking(finish).await;
    finished.map_err(|e| Error::internal(format!("a file task ended: {e}")))?
}

/// A repository of its own, as a clone of the remote's commit would have it.
async fn with_git_dir(
    repository: &Repository,
    options: &GitOptions,
    resolved: &Resolved,
    whole: &Path,
) -> Result<()> {
    let git_dir = whole.join(".git");
    let git = repository.git.at(&git_dir, Some(whole));
    let format = if resolved.sha.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
    git.run(&["-c", "init.defaultBranch=master", "init", format]).await?;
    let shared = format!("file://{}", repository.dir.display());
    git.run(&["remote", "add", "origin", &shared]).await?;
    let is_tag = repository.git.line(&["cat-file", "-t", &resolved.sha]).await? == "tag";
    let name = match is_commit(&resolved.reference) {
        true => format!("refs/kiln/{}", resolved.sha),
        false => target(&resolved.reference),
    };
    repository.git.run(&["update-ref", "--no-deref", &name, &resolved.sha]).await?;
    let spec = match (is_commit(&resolved.reference), is_tag) {
        (true, _) => name,
        (false, true) => format!("{name}:{}", target(&resolved.reference)),
        (false, false) => format!("{name}:{}", resolved.reference),
    };
    let mut fetch = vec!["fetch", "-u", "--depth=1"];
    if !is_commit(&resolved.reference) {
        // The shared repository keeps what was asked for by name as tags, which are none of the remote's.
        fetch.push("--no-tags");
    }
    fetch.extend(["--", "origin", &spec]);
    git.run(&fetch).await?;
    git.run(&["checkout", "FETCH_HEAD"]).await?;
    git.run(&["remote", "set-url", "origin", &without_password(&options.remote)]).await?;
    git.run(&["reflog", "expire", "--all", "--expire=now"]).await?;
    match fs::remove_file(git_dir.join("FETCH_HEAD")) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

/// Puts the files of a subdirectory in place of the whole.
fn keep_only(tree: &Path, subdir: &str) -> Result<()> {
    let whole = tree.join(WHOLE);
    let mut dir = whole.clone();
    for part in subdir.split('/') {
        dir.push(part);
        let kind = fs::symlink_metadata(&dir);
        let kind = kind.with_context(|| format!("invalid subdir {subdir}: failed to lstat {part:?}"))?;
        if !kind.is_dir() {
            return Err(Error::user(format!(
                "invalid subdir {subdir}: git subpath {subdir:?} contains non-directory {part:?}"
            )));
        }
    }
    let moved = || -> io::Result<()> {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            fs::rename(entry.path(), tree.join(entry.file_name()))?;
        }
        fs::remove_dir_all(&whole)
    };
    moved().with_context(|| format!("failed to open subdir {subdir}"))
}

/// Folders come after what is in them.
fn set_times(path: &Path, time: SystemTime) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            set_times(&entry?.path(), time)?;
        }
    }
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let stamp = rustix::fs::Timespec { tv_sec: since.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: stamp, last_modification: stamp };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    Ok(rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags)?)
}
