//! Telling git repositories from other sources by their text.

mod reference;

pub(crate) use reference::GitRef;

/// Whether an ADD source or a context is a git repository: `git://`, `ssh://`, `user@host:path`, or an address of the
/// web whose path ends in `.git`.
pub(crate) fn is_git(source: &str) -> bool {
    let Some((scheme, rest)) = source.split_once("://") else { return is_scp_style(source) };
    if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return is_scp_style(source);
    }
    match scheme.to_ascii_lowercase().as_str() {
        "git" | "ssh" => true,
        "http" | "https" => {
            let path = rest.split(['?', '#']).next().unwrap_or_default();
            path.contains('/') && path.ends_with(".git")
        }
        _ => false,
    }
}

/// `git@host:path`.
fn is_scp_style(source: &str) -> bool {
    let Some((user, rest)) = source.split_once('@') else { return false };
    let Some((host, _)) = rest.split_once(':') else { return false };
    let word = |text: &str, also: &[u8]| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
    };
    word(user, b"-_") && word(host, b"-.")
}

/// Whether a source is fetched over HTTP as a file.
pub(crate) fn is_http(source: &str) -> bool {
    (source.starts_with("http://") || source.starts_with("https://")) && !is_git(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_files() {
        for source in
            ["git://h/x", "ssh://git@h/x", "git@h:x/y", "https://h/x.git#main:sub", "http://h/x.git?ref=v1"]
        {
            assert!(is_git(source) && !is_http(source), "{source}");
        }
        for source in ["https://h/x", "https://h/x.git/y", "http://h.git"] {
            assert!(!is_git(source) && is_http(source), "{source}");
        }
        for source in ["./git@h:x", "github.com/x/y", "a:b", "a b@h:x", "ftp://h/x"] {
            assert!(!is_git(source) && !is_http(source), "{source}");
        }
    }
}
