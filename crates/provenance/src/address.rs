//! Addresses as they may be shown.

use url::Url;

const MASK: &str = "xxxxx";

/// Without user and password, where the text is a URL that has them.
pub fn without_login(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return address.to_owned() };
    if url.username().is_empty() && url.password().is_none() {
        return address.to_owned();
    }
    // Both fail for addresses that cannot have a login; those have none.
    if !url.username().is_empty() {
        let _ = url.set_username(MASK);
    }
    if url.password().is_some() {
        let _ = url.set_password(Some(MASK));
    }
    url.into()
}

/// A git address in its plain form, with branches, tags and folders behind `#`: the repository, and the same with the
/// folder. Nothing for other addresses.
pub fn git_forms(address: &str) -> Option<(String, String)> {
    if !is_git(address) {
        return None;
    }
    let (rest, fragment) = address.split_once('#').unwrap_or((address, ""));
    let (remote, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let (mut reference, mut subdir) = (reference.to_owned(), subdir.to_owned());
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let full = |prefix: &str| match value.starts_with(prefix) {
            true => value.to_string(),
            false => format!("{prefix}{value}"),
        };
        match &*key {
            "ref" => reference = value.into_owned(),
            "branch" => reference = full("refs/heads/"),
            "tag" => reference = full("refs/tags/"),
            "subdir" => subdir = value.into_owned(),
            _ => {}
        }
    }
    let subdir = subdir.trim_matches('/');
    let repository = match reference.as_str() {
        "" => remote.to_owned(),
        _ => format!("{remote}#{reference}"),
    };
    let whole = match subdir {
        "" => repository.clone(),
        _ => format!("{remote}#{reference}:{subdir}"),
    };
    Some((repository, whole))
}

fn is_git(address: &str) -> bool {
    let bare = address.split(['#', '?']).next().unwrap_or_default();
    match bare.split_once("://") {
        Some(("git" | "ssh", _)) => true,
        Some(("http" | "https", rest)) => rest.contains('/') && rest.ends_with(".git"),
        Some(_) => false,
        None => bare.split_once('@').is_some_and(|(user, rest)| !user.contains('/') && rest.contains(':')),
    }
}
