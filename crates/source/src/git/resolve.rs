//! From a reference to the commit that it stands for.

use errdefs::{Error, Result, ResultExt};

use super::bundle::Staged;
use super::command::Git;
use super::fetch;
use super::options::{GitOptions, is_commit, without_password};
use crate::context::Context;
use crate::sources::Shared;

/// What a reference stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// `refs/heads/main`, or a commit.
    pub reference: String,
    /// What it names: a commit, or an annotated tag.
    pub sha: String,
    /// The commit of an annotated tag; empty otherwise.
    pub commit: String,
}

impl Resolved {
    /// The name that the key has. A tag's own counts where it is part of the result.
    pub fn key_sha(&self, keep_git_dir: bool) -> &str {
        match self.commit.is_empty() || keep_git_dir {
            true => &self.sha,
            false => &self.commit,
        }
    }
}

/// `staged` is the bundle that is asked in place of the remote.
pub async fn resolve(
    shared: &Shared,
    options: &GitOptions,
    staged: Option<&Staged>,
    cx: &Context,
) -> Result<Resolved> {
    let GitOptions { reference, checksum, .. } = options;
    if is_commit(reference) {
        if !reference.starts_with(checksum.as_str()) {
            return Err(Error::user(format!("expected checksum to match {checksum}, got {reference}")));
        }
        return Ok(named(reference, reference));
    }
    if options.fetch_by_commit {
        if checksum.is_empty() {
            return Err(Error::user("fetch-by-commit requires a checksum or a commit SHA ref"));
        }
        if !is_commit(checksum) {
            return Err(Error::user(format!(
                "fetch-by-commit requires a full commit SHA checksum, got {checksum:?}"
            )));
        }
        return Ok(match reference.as_str() {
            "" => named(checksum, checksum),
            full if full.starts_with("refs/") => named(full, checksum),
            branch => named(&format!("refs/heads/{branch}"), checksum),
        });
    }
    if let Some(staged) = staged {
        return of_bundle(staged, options).await;
    }
    let access = fetch::Access::open(shared, options, cx).await?;
    let asking = ask(&access.git, options);
    cx.cancel.run_until_cancelled(asking).await.unwrap_or_else(|| Err(Error::canceled()))
}

fn named(reference: &str, sha: &str) -> Resolved {
    Resolved { reference: reference.to_owned(), sha: sha.to_owned(), commit: String::new() }
}

/// Without a name it is the commit of the checksum.
async fn of_bundle(staged: &Staged, options: &GitOptions) -> Result<Resolved> {
    if options.reference.is_empty() {
        let sha = staged.git.line(&["rev-parse", &format!("{}^{{commit}}", options.checksum)]).await?;
        return Ok(named(&sha, &sha));
    }
    ask(&staged.git, &GitOptions { remote: staged.url.clone(), ..options.clone() }).await
}

async fn ask(git: &Git, options: &GitOptions) -> Result<Resolved> {
    let remote = options.remote.as_str();
    let reference = match options.reference.as_str() {
        "" => default_branch(git, remote).await?,
        given => given.to_owned(),
    };
    let peeled = format!("{reference}^{{}}");
    let listed = git.run(&["ls-remote", "--", remote, &reference, &peeled]).await;
    let listed = listed.with_context(|| format!("failed to fetch remote {}", without_password(remote)))?;
    let listed = String::from_utf8_lossy(&listed);
    let resolved = choose(&reference, &listed)?;
    let sum = options.checksum.as_str();
    let fits =
        resolved.sha.starts_with(sum) || (!resolved.commit.is_empty() && resolved.commit.starts_with(sum));
    if !fits {
        let found = match resolved.commit.as_str() {
            "" => resolved.sha.clone(),
            commit => format!("{} or {commit}", resolved.sha),
        };
        return Err(Error::user(format!("expected checksum to match {sum}, got {found}")));
    }
    Ok(resolved)
}

/// Of a branch and a tag of the same name it is the branch, as for `git checkout`.
fn choose(reference: &str, listed: &str) -> Result<Resolved> {
    let under = |prefix: &str| format!("{prefix}{}", reference.strip_prefix(prefix).unwrap_or(reference));
    let find = |name: &str| {
        let mut lines = listed.lines().filter_map(|line| line.split_once('\t'));
        lines.find(|(_, known)| *known == name).map(|(sha, _)| sha.to_owned())
    };
    let (partial, head, tag) = (under("refs/"), under("refs/heads/"), under("refs/tags/"));
    let tagged = find(&format!("{tag}^{{}}")).unwrap_or_default();
    let found = find(&partial).filter(|_| partial != tag).map(|sha| (partial, sha, String::new()));
    let found = found.or_else(|| find(&head).map(|sha| (head, sha, String::new())));
    let found = found.or_else(|| find(&tag).map(|sha| (tag, sha, tagged)));
    let (reference, sha, commit) = found.ok_or_else(|| {
        Error::not_found(format!("repository does not contain ref {reference}, output: {listed:?}"))
    })?;
    if !is_commit(&sha) {
        return Err(Error::environment(format!("invalid commit sha {sha:?}")));
    }
    Ok(Resolved { reference, sha, commit })
}

async fn default_branch(git: &Git, remote: &str) -> Result<String> {
    let shown = without_password(remote);
    let told = git.run(&["ls-remote", "--symref", "--", remote, "HEAD"]).await;
    let told = told.with_context(|| format!("error fetching default branch for repository {shown}"))?;
    let told = String::from_utf8_lossy(&told);
    let branch = told.lines().find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
    match branch {
        Some(branch) if !branch.starts_with('-') => Ok(branch.to_owned()),
        _ => Err(Error::not_found(format!("could not find default branch for repository: {shown}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn branches_go_before_tags() {
        let sha = |c: char| c.to_string().repeat(40);
        let listed = format!(
            "{}\trefs/heads/both\n{}\trefs/tags/both\n{}\trefs/tags/v1\n{}\trefs/tags/v1^{{}}\n",
            sha('a'),
            sha('b'),
            sha('c'),
            sha('d')
        );
        let check = |reference: &str, expected: Option<(&str, char, Option<char>)>| {
            let found = choose(reference, &listed).ok();
            let expected = expected
                .map(|(name, c, commit)| (name.to_owned(), sha(c), commit.map_or(String::new(), sha)));
            assert_eq!(found.map(|r| (r.reference, r.sha, r.commit)), expected, "{reference}");
        };
        check("both", Some(("refs/heads/both", 'a', None)));
        check("refs/tags/both", Some(("refs/tags/both", 'b', None)));
        check("v1", Some(("refs/tags/v1", 'c', Some('d'))));
        check("tags/v1", Some(("refs/tags/v1", 'c', None)));
        check("none", None);
    }
}
