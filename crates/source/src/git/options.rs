//! What is asked of a repository.

use std::collections::BTreeMap;

use errdefs::{Error, Result, ResultExt};
use signature::Signer;

use super::signed::Signed;
use crate::blob::BlobPlace;
use crate::image::Place;

/// One source op.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitOptions {
    /// As the `git` program takes it.
    pub remote: String,
    /// A branch, a tag, a commit; empty is the remote's default branch.
    pub reference: String,
    /// The commit that it must be, or its beginning.
    pub checksum: String,
    /// A folder of the repository; empty is all of it.
    pub subdir: String,
    pub keep_git_dir: bool,
    pub skip_submodules: bool,
    /// Files get the time of the commit.
    pub commit_time: bool,
    /// The commit is fetched by its name, and not looked for.
    pub fetch_by_commit: bool,
    /// Secrets with the whole `Authorization` header, and with a token; asked for with `.<host>` behind first.
    pub auth_header_secret: String,
    pub auth_token_secret: String,
    pub known_hosts: String,
    /// The client's ssh agent to use; empty for none.
    pub ssh_agent: String,
    /// A bundle that holds the commit, in place of what the remote has.
    pub bundle: Option<BlobPlace>,
    /// The result is a bundle of the commit, in place of its files.
    pub to_bundle: bool,
    /// What has to be signed.
    pub signed: Option<Signed>,
}

impl GitOptions {
    /// From the text behind `git://` and the attributes of an op.
    pub fn new(rest: &str, attrs: &BTreeMap<String, String>) -> Result<Self> {
        let text = |key: &str| attrs.get(key).cloned().unwrap_or_default();
        let flag = |key: &str| attrs.get(key).is_some_and(|value| value == "true");
        let (address, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        let remote = match text("git.fullurl") {
            full if full.is_empty() => with_transport(address),
            full => with_transport(full.split('#').next().unwrap_or_default()),
        };
        let options = GitOptions {
            remote,
            reference: reference.to_owned(),
            checksum: text("git.checksum"),
            subdir: clean(subdir),
            keep_git_dir: flag("git.keepgitdir"),
            skip_submodules: flag("git.skipsubmodules"),
            commit_time: match text("git.mtime").as_str() {
                "" | "checkout" => false,
                "commit" => true,
                other => return Err(Error::user(format!("invalid git.mtime `{other}`"))),
            },
            fetch_by_commit: flag("git.fetchbycommit"),
            auth_header_secret: text("git.authheadersecret"),
            auth_token_secret: text("git.authtokensecret"),
            known_hosts: text("git.knownsshhosts"),
            ssh_agent: text("git.mountsshsock"),
            bundle: match text("git.bundle").as_str() {
                "" => None,
                locator => Some(bundle(locator, text("oci.session"), text("oci.store"))?),
            },
            to_bundle: flag("git.checkoutbundle"),
            signed: attrs.keys().any(|key| key.starts_with("git.sig.")).then(|| Signed {
                by: Signer { keys: text("git.sig.pubkey"), reject_expired: flag("git.sig.rejectexpired") },
                require_tag: flag("git.sig.requiresignedtag"),
                ignore_tag: flag("git.sig.ignoresignedtag"),
            }),
        };
        options.check()
    }

    /// What begins with a dash would be an option of `git`.
    fn check(self) -> Result<Self> {
        if self.reference.starts_with('-') {
            return Err(Error::user(format!("invalid git ref {:?}", self.reference)));
        }
        if self.remote.starts_with('-') {
            return Err(Error::user(format!("invalid git remote {:?}", self.remote)));
        }
        let sum = &self.checksum;
        if !sum.is_empty() && !sum.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::user(format!("invalid checksum {sum} for Git URL, expected hex commit hash")));
        }
        if self.bundle.is_some() && sum.is_empty() {
            return Err(Error::user("git.bundle requires git.checksum to be set"));
        }
        for (is_wanted, key) in [(self.keep_git_dir, "keepgitdir"), (!self.subdir.is_empty(), "subdir")] {
            if self.to_bundle && is_wanted {
                return Err(Error::user(format!("git.checkoutbundle is incompatible with git.{key}")));
            }
        }
        Ok(self)
    }

    /// The repository without its transport, with reference and folder: `github.com/a/b.git#main:docs`.
    pub fn whole_name(&self) -> String {
        let address = match (scp(&self.remote), url::Url::parse(&self.remote)) {
            (Some((host, path)), _) => format!("{host}/{}", clean(path)),
            (None, Ok(url)) if url.has_host() => format!("{}{}", self.host(), url.path()),
            _ => self.remote.clone(),
        };
        match (self.reference.as_str(), self.subdir.as_str()) {
            ("", "") => address,
            (reference, "") => format!("{address}#{reference}"),
            (reference, subdir) => format!("{address}#{reference}:{subdir}"),
        }
    }

    /// The host of the remote, for secrets that are named after it.
    pub fn host(&self) -> String {
        url::Url::parse(&self.remote)
            .ok()
            .and_then(|u| {
                let port = u.port().map(|p| format!(":{p}")).unwrap_or_default();
                Some(format!("{}{port}", u.host_str()?))
            })
            .unwrap_or_default()
    }
}

/// Where a bundle lies: `docker-image+blob://<name>@<digest>`, or the same with `oci-layout+blob`. The store of a layout
/// is called like the name, unless it is said.
fn bundle(locator: &str, session: String, store: String) -> Result<BlobPlace> {
    let failed = || format!("failed to parse git.bundle locator {locator:?}");
    let (scheme, body) =
        locator.split_once("://").ok_or_else(|| Error::user(format!("{}: missing scheme", failed())))?;
    let named = || body.split_once('@').map_or(body, |(name, _)| name).to_owned();
    let place = match scheme {
        "docker-image+blob" => Place::Registry,
        "oci-layout+blob" => Place::Layout { session, store: if store.is_empty() { named() } else { store } },
        other => {
            return Err(Error::user(format!(
                "git.bundle locator scheme {other:?} is not supported; expected \"docker-image+blob\" or \"oci-layout+blob\""
            )));
        }
    };
    let blob = BlobPlace::new(body, place).with_context(failed)?;
    match blob.digest.algorithm() {
        "sha256" => Ok(blob),
        other => Err(Error::user(format!(
            "git.bundle locator {locator:?}: digest algorithm {other:?} not supported, expected \"sha256\""
        ))),
    }
}

/// `https://` where no transport is named.
fn with_transport(address: &str) -> String {
    let named = address.split_once("://").is_some_and(|(scheme, _)| {
        ["http", "https", "ssh", "git"].iter().any(|known| known.eq_ignore_ascii_case(scheme))
    });
    match named || scp(address).is_some() {
        true => address.to_owned(),
        false => format!("https://{address}"),
    }
}

/// Host and path of `user@host:path`.
fn scp(remote: &str) -> Option<(&str, &str)> {
    let (user, rest) = remote.split_once('@')?;
    if user.is_empty() || user.contains(['/', ':']) { None } else { rest.split_once(':') }
}

/// A path relative to the root of the repository, without dots that lead out of it.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// An address as it may be shown.
pub fn without_password(remote: &str) -> String {
    match url::Url::parse(remote) {
        Ok(mut url) if url.password().is_some() => {
            // It fails for addresses that cannot have one.
            let _ = url.set_password(Some("xxxxx"));
            url.to_string()
        }
        _ => remote.to_owned(),
    }
}

/// Whether a text is the whole name of a commit.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |rest: &str, full: &str, expected: (&str, &str, &str)| {
            let attrs = [("git.fullurl".to_owned(), full.to_owned())];
            let attrs = attrs.into_iter().filter(|(_, v)| !v.is_empty()).collect();
            let o = GitOptions::new(rest, &attrs).expect(rest);
            assert_eq!((o.remote.as_str(), o.reference.as_str(), o.subdir.as_str()), expected, "{rest}");
        };
        check("github.com/a/b.git", "", ("https://github.com/a/b.git", "", ""));
        check("h/a#main:x/../y", "http://h:1/a", ("http://h:1/a", "main", "y"));
        check("git@h:a/b#v1", "", ("git@h:a/b", "v1", ""));
        check("h/a#:/sub/", "ssh://git@h/a", ("ssh://git@h/a", "", "sub"));
    }

    #[test]
    fn what_git_would_misunderstand_is_refused() {
        let check = |rest: &str, key: &str, value: &str, expected: &str| {
            let attrs = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            let error = GitOptions::new(rest, &attrs).expect_err(rest);
            assert_eq!(error.to_string(), expected);
        };
        check("h/a#--x", "", "", "invalid git ref \"--x\"");
        check("h/a", "git.checksum", "xyz", "invalid checksum xyz for Git URL, expected hex commit hash");
        check("h/a", "git.mtime", "now", "invalid git.mtime `now`");
        check("h/a", "git.bundle", "x", "failed to parse git.bundle locator \"x\": missing scheme");
        let text = "git.bundle locator scheme \"http\" is not supported; expected \"docker-image+blob\" or \"oci-layout+blob\"";
        check("h/a", "git.bundle", "http://x", text);
        let text = "failed to parse git.bundle locator \"docker-image+blob://x/y:1\": checksum required in blob reference `x/y:1`";
        check("h/a", "git.bundle", "docker-image+blob://x/y:1", text);
        let locator = format!("oci-layout+blob://x/y@sha256:{}", "a".repeat(64));
        check("h/a", "git.bundle", &locator, "git.bundle requires git.checksum to be set");
        let text = "git.checkoutbundle is incompatible with git.subdir";
        check("h/a#:b", "git.checkoutbundle", "true", text);
    }

    #[test]
    fn whole_names_are_without_transport() {
        let check = |remote: &str, expected: &str| {
            let options =
                GitOptions { remote: remote.into(), reference: "v1".into(), ..GitOptions::default() };
            assert_eq!(options.whole_name(), format!("{expected}#v1"), "{remote}");
        };
        check("https://github.com/a/b.git", "github.com/a/b.git");
        check("ssh://git@h:7/~/b.git", "h:7/~/b.git");
        check("git@h:a/b.git", "h/a/b.git");
        check("git@h:/a/../b.git", "h/b.git");
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(without_password("https://u:p@h/x"), "https://u:xxxxx@h/x");
        assert_eq!(without_password("git@h:x"), "git@h:x");
    }
}
