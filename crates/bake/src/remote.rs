//! Bake files that were read from the web: where their contexts are then.

use crate::path;

/// The repository or the archive that the files lie in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    pub url: String,
    /// An archive has no address for a folder in it: that is written behind `#` here.
    pub is_archive: bool,
}

impl Remote {
    /// A context of the files, as a build knows it: relative paths lie beside the files, `cwd://` on this machine.
    pub fn context(&self, context: &str) -> String {
        if let Some(local) = context.strip_prefix("cwd://") {
            return path::clean(local);
        }
        let elsewhere = ["target:", "docker-image:", "oci-layout:"].iter().any(|p| context.starts_with(p));
        if elsewhere || path::is_remote(context) {
            return context.to_owned();
        }
        match path::clean(&format!("/{context}")).trim_start_matches('/') {
            "" => self.url.clone(),
            folder if self.is_archive => format!("{}#{folder}", self.url),
            folder => folder_of(&self.url, folder),
        }
    }

    /// The folder of a context that [`Remote::context`] made, in this archive.
    pub fn folder_in_archive<'c>(&self, context: &'c str) -> Option<&'c str> {
        context.strip_prefix(&self.url)?.strip_prefix('#').filter(|_| self.is_archive)
    }
}

/// A folder of a repository: behind the one that the address has, in the fragment or in the query.
fn folder_of(url: &str, folder: &str) -> String {
    let Some((base, fragment)) = url.split_once('#') else {
        return match url.split_once('?') {
            Some((base, query)) if query.split('&').any(|pair| pair.starts_with("subdir=")) => {
                let pair = |pair: &str| match pair.strip_prefix("subdir=") {
                    Some(own) => format!("subdir={}", path::join(own, folder)),
                    None => pair.to_owned(),
                };
                let query: Vec<_> = query.split('&').map(pair).collect();
                format!("{base}?{}", query.join("&"))
            }
            _ => format!("{url}#:{folder}"),
        };
    };
    let (reference, own) = fragment.split_once(':').unwrap_or((fragment, ""));
    let folder = path::clean(&format!("/{own}/{folder}"));
    format!("{base}#{reference}:{}", folder.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_lie_beside_the_files() {
        let check = |url: &str, context: &str, expect: &str| {
            let remote = Remote { url: url.into(), is_archive: url.ends_with(".tgz") };
            assert_eq!(remote.context(context), expect, "{url} {context}");
        };
        let git = "https://h/x.git";
        check(git, ".", git);
        check(git, "a/./b", "https://h/x.git#:a/b");
        check("https://h/x.git#main", "a", "https://h/x.git#main:a");
        check("https://h/x.git#main:s", "a", "https://h/x.git#main:s/a");
        check("https://h/x.git#main:s", ".", "https://h/x.git#main:s");
        check("https://h/x.git?ref=v&subdir=s", "a", "https://h/x.git?ref=v&subdir=s/a");
        check("https://h/x.git?ref=v", "a", "https://h/x.git?ref=v#:a");
        check("https://h/x.git", "../../a", "https://h/x.git#:a");
        check(git, "cwd://", ".");
        check(git, "cwd://a/../b", "b");
        check(git, "https://other/y.git", "https://other/y.git");
        check(git, "target:base", "target:base");
        check("https://h/x.tgz", ".", "https://h/x.tgz");
        check("https://h/x.tgz", "./a", "https://h/x.tgz#a");
    }
}
