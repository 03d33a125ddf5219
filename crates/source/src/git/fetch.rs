//! The bare repository that stays for all builds of a remote.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use errdefs::{Code, Error, Result, ResultExt};
use fsutil::mount::Source;
use refs::CacheMount;
use session::{AgentSocket, SocketOwner};
use snapshot::TreeWriter;

use super::command::Git;
use super::options::{GitOptions, is_commit, without_password};
use super::resolve::Resolved;
use super::{SHARING, shared_name};
use crate::context::Context;
use crate::sources::Shared;

/// The `git` program with the client's logins. What it needs of them on disk goes when this is dropped.
pub struct Access {
    pub git: Git,
    _agent: Option<AgentSocket>,
    _folder: Option<TreeWriter>,
}

/// A repository that holds the commit that is wanted.
pub struct Repository {
    pub git: Git,
    pub dir: PathBuf,
    _access: Access,
    _lock: CacheMount,
}

impl Access {
    pub async fn open(shared: &Shared, options: &GitOptions, cx: &Context) -> Result<Self> {
        let mut git = Git::new(cx.step.clone());
        if let Some(login) = login(options, cx).await? {
            let scope = scope(&options.remote);
            git.options = vec!["-c".into(), format!("http.{scope}.extraheader=Authorization: {login}")];
        }
        let (mut agent, mut folder) = (None, None);
        if !options.ssh_agent.is_empty() || !options.known_hosts.is_empty() {
            let tree = shared.refs.new_tree()?;
            if !options.known_hosts.is_empty() {
                let path = tree.path().join("known_hosts");
                std::fs::write(&path, &options.known_hosts).context("failed to store the known hosts")?;
                git.known_hosts = Some(path);
            }
            if !options.ssh_agent.is_empty() {
                let owner = SocketOwner { uid: 0, gid: 0, mode: 0o700 };
                let socket =
                    AgentSocket::open(cx.session().await?, &options.ssh_agent, &tree.path(), owner).await?;
                git.ssh_socket = Some(socket.path().to_owned());
                agent = Some(socket);
            }
            folder = Some(tree);
        }
        Ok(Access { git, _agent: agent, _folder: folder })
    }
}

/// The value of the `Authorization` header, from the client's secrets.
async fn login(options: &GitOptions, cx: &Context) -> Result<Option<String>> {
    let host = options.host();
    let (header, token) = (&options.auth_header_secret, &options.auth_token_secret);
    let names = [
        (format!("{header}.{host}"), header.is_empty(), false),
        (format!("{token}.{host}"), token.is_empty(), true),
        (header.clone(), header.is_empty(), false),
        (token.clone(), token.is_empty(), true),
    ];
    for (name, missing, is_token) in names {
        if missing {
            continue;
        }
        // Who has no session has no secrets.
        let Ok(session) = cx.session().await else { return Ok(None) };
        let Some(secret) = session.secret(&name).await? else { continue };
        let text = String::from_utf8(secret).map_err(|_| Error::user(format!("secret {name} is no text")))?;
        return Ok(Some(match is_token {
            true => {
                let pair = format!("x-access-token:{text}");
                format!("basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }
            false => text,
        }));
    }
    Ok(None)
}

/// Where the login may be sent. For github.com that is all of it, so that submodules are fetched too.
fn scope(remote: &str) -> &str {
    let known = ["https://github.com/", "https://www.github.com/"];
    known.into_iter().find(|prefix| remote.starts_with(prefix)).unwrap_or(remote)
}

/// Fetches what is missing, from the remote or the repository that stands in for it.
pub async fn fetch(
    shared: &Shared,
    options: &GitOptions,
    resolved: &Resolved,
    stand_in: Option<&str>,
    cx: &Context,
) -> Result<Repository> {
    let access = Access::open(shared, options, cx).await?;
    let shown = without_password(&options.remote);
    let sha256 = resolved.sha.len() == 64;
    let name = shared_name(&options.remote, sha256);
    let description = format!("shared git repo for {shown}");
    let lock = shared.refs.cache_mount(&name, None, SHARING, &description).await?;
    let Source::Bind(dir) = lock.mount_source()? else {
        return Err(Error::internal("a directory of the store that is none"));
    };
    let git = access.git.at(&dir, None);
    let from = stand_in.unwrap_or("origin");
    let fetched = match update(&git, &dir, from, options, resolved, sha256).await {
        // A tag was moved, or a branch became the folder of another: the repository begins anew.
        Err(e) if is_outdated(&e) => {
            clear(&dir).context("failed to empty the shared repository")?;
            update(&git, &dir, from, options, resolved, sha256).await
        }
        other => other,
    };
    fetched.with_context(|| format!("failed to fetch remote {shown}"))?;
    let repository = Repository { git, dir, _access: access, _lock: lock };
    verify(&repository.git, options, resolved).await?;
    Ok(repository)
}

async fn update(
    git: &Git,
    dir: &Path,
    from: &str,
    options: &GitOptions,
    resolved: &Resolved,
    sha256: bool,
) -> Result<()> {
    if !dir.join("HEAD").exists() {
        let format = if sha256 { "--object-format=sha256" } else { "--object-format=sha1" };
        git.run(&["-c", "init.defaultBranch=master", "init", "--bare", format]).await?;
        git.run(&["remote", "add", "origin", &options.remote]).await?;
    }
    let wanted = &resolved.sha;
    let commit = format!("{wanted}^{{commit}}");
    // A bundle without all that leads to its commit could not be read.
    let is_whole = !options.to_bundle || !dir.join("shallow").exists();
    let is_there = is_whole && git.run(&["cat-file", "-e", &commit]).await.is_ok();
    let by_name = is_commit(&resolved.reference);
    if is_there && by_name {
        return Ok(());
    }
    // Left behind by a process that was killed.
    let _ = std::fs::remove_file(dir.join("shallow.lock"));
    let target = target(&resolved.reference);
    if !is_there {
        if options.to_bundle {
            whole(git, dir, from, wanted).await?;
        } else if options.fetch_by_commit {
            git.run(&["fetch", "--depth=1", "--no-tags", from, wanted]).await?;
        } else if by_name {
            whole(git, dir, from, wanted).await?;
        } else {
            let spec = format!("{}:{target}", resolved.reference);
            git.run(&["fetch", "--depth=1", "--no-tags", from, "--force", "--", &spec]).await?;
        }
    }
    if git.run(&["cat-file", "-e", &commit]).await.is_err() {
        // The remote has moved on since it was asked.
        whole(git, dir, from, wanted).await?;
    }
    if !by_name {
        // So that it is advertised to fetches from here, and named in checkouts.
        git.run(&["update-ref", "--no-deref", &target, wanted]).await?;
    }
    Ok(())
}

/// Fetches a commit with all that leads to it.
async fn whole(git: &Git, dir: &Path, from: &str, commit: &str) -> Result<()> {
    let mut args = vec!["fetch", "--tags"];
    if dir.join("shallow").exists() {
        args.push("--unshallow");
    }
    args.extend([from, commit]);
    git.run(&args).await.map(drop)
}

/// The name of a reference in the shared repository.
pub fn target(reference: &str) -> String {
    match reference.starts_with("refs/tags/") {
        true => reference.to_owned(),
        false => format!("refs/tags/{reference}"),
    }
}

fn is_outdated(e: &Error) -> bool {
    let said = e.message();
    said.contains("(would clobber existing tag)")
        || said.contains("some local refs could not be updated;")
            && (said.contains("(unable to update local ref)") || said.contains("refname conflict"))
}

fn clear(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// The checksum counts for a tag, or for the commit that it names.
async fn verify(git: &Git, options: &GitOptions, resolved: &Resolved) -> Result<()> {
    let sum = options.checksum.as_str();
    if resolved.sha.starts_with(sum) {
        return Ok(());
    }
    let commit = git.line(&["rev-parse", &format!("{}^{{}}", resolved.sha)]).await?;
    if commit.starts_with(sum) {
        return Ok(());
    }
    let found = match commit == resolved.sha {
        true => commit,
        false => format!("{} or {commit}", resolved.sha),
    };
    Err(Error::user(format!("expected checksum to match {sum}, got {found}"))
        .with_code(Code::FailedPrecondition))
}

/// Objects as the repository has them.
pub struct Objects {
    pub commit: Vec<u8>,
    /// Empty for what is no annotated tag.
    pub tag: Vec<u8>,
    /// The commit of the tag.
    pub tagged: Option<String>,
}

/// The objects that a name leads to.
pub async fn objects(git: &Git, sha: &str) -> Result<Objects> {
    let is_tag = match git.line(&["cat-file", "-t", sha]).await?.as_str() {
        "commit" => false,
        "tag" => true,
        other => return Err(Error::user(format!("expected commit or tag object, got {other}"))),
    };
    let commit = git.line(&["rev-parse", &format!("{sha}^{{commit}}")]).await?;
    let tag = if is_tag { git.run(&["cat-file", "tag", sha]).await? } else { Vec::new() };
    let object = git.run(&["cat-file", "commit", &commit]).await?;
    Ok(Objects { commit: object, tag, tagged: is_tag.then_some(commit) })
}
