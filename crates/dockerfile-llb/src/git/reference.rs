//! A git repository as people write it, and the source op that it becomes.

use std::collections::BTreeMap;

use errdefs::{Error, Result};
use llb::{SourceOp, caps};

use crate::draft::About;

/// What of a repository is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GitRef {
    /// As the `git` program takes it.
    remote: String,
    reference: String,
    subdir: String,
    pub checksum: String,
    pub keep_git_dir: Option<bool>,
    submodules: Option<bool>,
    mtime: String,
    fetch_by_commit: bool,
}

impl GitRef {
    /// Reads `remote?query#ref:subdir`.
    pub fn parse(source: &str) -> Result<Self> {
        let (source, fragment) = source.split_once('#').unwrap_or((source, ""));
        let (remote, query) = source.split_once('?').unwrap_or((source, ""));
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut parsed = GitRef {
            remote: remote.to_owned(),
            reference: reference.to_owned(),
            subdir: subdir.to_owned(),
            ..GitRef::default()
        };
        parsed.read_query(query)?;
        parsed.subdir = crate::path::clean(&format!("/{}", parsed.subdir)).trim_start_matches('/').to_owned();
        Ok(parsed)
    }

    fn read_query(&mut self, query: &str) -> Result<()> {
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if values.insert(key.clone().into_owned(), value.into_owned()).is_some() {
                return Err(Error::user(format!("query {key:?} has multiple values")));
            }
        }
        for (key, value) in &values {
            let is_switch = matches!(key.as_str(), "submodules" | "keep-git-dir" | "fetch-by-commit");
            if value.is_empty() && !is_switch {
                return Err(Error::user(format!("query {key:?} has no value")));
            }
            self.take(key, value)?;
        }
        let named = |kind: &str, prefix: &str| {
            let name = values.get(kind)?;
            Some(if name.starts_with(prefix) { name.clone() } else { format!("{prefix}{name}") })
        };
        let (tag, branch) = (named("tag", "refs/tags/"), named("branch", "refs/heads/"));
        if tag.is_some() && branch.is_some() {
            return Err(Error::user("branch conflicts with tag"));
        }
        match tag.or(branch) {
            Some(name) => agree("ref", &mut self.reference, &name),
            None => Ok(()),
        }
    }

    fn take(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "ref" => agree("ref", &mut self.reference, value)?,
            "subdir" => agree("subdir", &mut self.subdir, value)?,
            "tag" | "branch" => {}
            "checksum" | "commit" => value.clone_into(&mut self.checksum),
            "keep-git-dir" => self.keep_git_dir = Some(switch(key, value)?),
            "submodules" => self.submodules = Some(switch(key, value)?),
            "fetch-by-commit" => self.fetch_by_commit = switch(key, value)?,
            "mtime" if matches!(value, "checkout" | "commit") => value.clone_into(&mut self.mtime),
            "mtime" => {
                return Err(Error::user(format!(
                    "invalid mtime value: {value:?} (must be \"checkout\" or \"commit\")"
                )));
            }
            _ => return Err(Error::user(format!("unexpected query {key:?}"))),
        }
        Ok(())
    }

    /// The source op, which has the same identifier whatever the transport.
    pub fn op(&self) -> (SourceOp, About) {
        let (host, path, is_ssh) = split(&self.remote);
        let mut identifier = format!("git://{host}{}", crate::path::clean(&format!("/{path}")));
        if !self.reference.is_empty() || !self.subdir.is_empty() {
            identifier.push('#');
            identifier.push_str(&self.reference);
        }
        if !self.subdir.is_empty() {
            identifier.push(':');
            identifier.push_str(&self.subdir);
        }
        let is = |flag: bool| if flag { "true" } else { "" };
        let remote = match self.remote.contains("://") || is_ssh {
            true => self.remote.clone(),
            false => format!("https://{}", self.remote),
        };
        let attrs = [
            ("git.keepgitdir", is(self.keep_git_dir == Some(true)), caps::SOURCE_GIT_KEEP_DIR),
            ("git.fullurl", &remote, caps::SOURCE_GIT_FULL_URL),
            ("git.checksum", &self.checksum, caps::SOURCE_GIT_CHECKSUM),
            ("git.skipsubmodules", is(self.submodules == Some(false)), caps::SOURCE_GIT_SKIP_SUBMODULES),
            ("git.mtime", &self.mtime, caps::SOURCE_GIT_MTIME),
            ("git.fetchbycommit", is(self.fetch_by_commit), caps::SOURCE_GIT_FETCH_BY_COMMIT),
            ("git.mountsshsock", if is_ssh { "default" } else { "" }, caps::SOURCE_GIT_MOUNT_SSH_SOCK),
        ];
        let (mut op, mut about) = (SourceOp { identifier, attrs: BTreeMap::new() }, About::default());
        about.metadata.need(caps::SOURCE_GIT);
        for (key, value, cap) in attrs {
            if !value.is_empty() {
                op.attrs.insert(key.into(), value.to_owned());
                about.metadata.need(cap);
            }
        }
        if is_ssh {
            about.metadata.need(caps::SOURCE_GIT_KNOWN_SSH_HOSTS);
        }
        // Secrets that are used where the client has them.
        op.attrs.insert("git.authheadersecret".into(), "GIT_AUTH_HEADER".into());
        op.attrs.insert("git.authtokensecret".into(), "GIT_AUTH_TOKEN".into());
        (op, about)
    }
}

/// Host and path of a remote, and whether it is reached by ssh.
fn split(remote: &str) -> (&str, &str, bool) {
    let (scheme, rest) = match remote.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => match remote.split_once('@') {
            // `git@host:path`
            Some((_, rest)) => {
                let (host, path) = rest.split_once(':').unwrap_or((rest, ""));
                return (host, path, true);
            }
            None => ("https", remote),
        },
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    (host, path, scheme.eq_ignore_ascii_case("ssh"))
}

fn agree(what: &str, known: &mut String, value: &str) -> Result<()> {
    if !known.is_empty() && known != value {
        return Err(Error::user(format!("{what} conflicts: {known:?} vs {value:?}")));
    }
    value.clone_into(known);
    Ok(())
}

/// A switch is on where it has no value; else as Go reads it.
fn switch(key: &str, value: &str) -> Result<bool> {
    match value {
        "" => Ok(true),
        value => oci::parse_bool(value).ok_or_else(|| Error::user(format!("invalid {key} value: {value:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        let check = |source: &str, identifier: &str, url: &str| {
            let (op, _) = GitRef::parse(source).expect(source).op();
            assert_eq!((op.identifier.as_str(), op.attrs["git.fullurl"].as_str()), (identifier, url));
        };
        check("https://h/a/b.git", "git://h/a/b.git", "https://h/a/b.git");
        check("https://u@h:1/x.git#main:sub/", "git://h:1/x.git#main:sub", "https://u@h:1/x.git");
        check("git@h:a/b.git#v1", "git://h/a/b.git#v1", "git@h:a/b.git");
        check("github.com/a/b#:../c", "git://github.com/a/b#:c", "https://github.com/a/b");
        check("https://h/x.git?tag=v1&subdir=s", "git://h/x.git#refs/tags/v1:s", "https://h/x.git");
    }

    #[test]
    fn queries_that_make_no_sense() {
        let check = |query: &str, expected: &str| {
            let error = GitRef::parse(&format!("https://h/x.git?{query}")).expect_err(query);
            assert_eq!(error.to_string(), expected);
        };
        check("ref=a&ref=b", "query \"ref\" has multiple values");
        check("ref=", "query \"ref\" has no value");
        check("tag=a&branch=b", "branch conflicts with tag");
        check("ref=a#b", "ref conflicts: \"b\" vs \"a\"");
        check("mtime=x", "invalid mtime value: \"x\" (must be \"checkout\" or \"commit\")");
        check("submodules=x", "invalid submodules value: \"x\"");
        check("x=1", "unexpected query \"x\"");
    }
}
