//! Names of images as package URLs (purl-spec): `pkg:docker/user/app@1?platform=linux%2Famd64`.

use crate::{Platform, Reference};

impl Reference {
    /// The name as a package URL of type `docker`, for a platform where one is given.
    pub fn to_purl(&self, platform: Option<&Platform>) -> String {
        let platform = platform.map(|p| ("platform", p.normalize().to_string()));
        self.to_purl_with(platform)
    }

    /// The same with more that is said of it, sorted by key and after `digest`.
    pub fn to_purl_with(&self, more: impl IntoIterator<Item = (&'static str, String)>) -> String {
        let named = self.clone().with_default_tag();
        let mut url = format!("pkg:docker/{}", escape_path(&named.familiar_name()));
        if let Some(tag) = named.tag() {
            url.push('@');
            url.push_str(&percent_encode(tag, KEPT_IN_VALUES));
        }
        let digest = named.digest().map(|digest| ("digest", digest.to_string()));
        for (i, (key, value)) in digest.into_iter().chain(more).enumerate() {
            let separator = if i == 0 { '?' } else { '&' };
            url.push_str(&format!("{separator}{key}={}", percent_encode(&value, KEPT_IN_VALUES)));
        }
        url
    }
}

/// What Go's `url.PathEscape` leaves, beside letters, digits and `-_.~`.
const KEPT_IN_VALUES: &[u8] = b"$&+=:@";

fn escape_path(path: &str) -> String {
    path.split('/').map(|part| percent_encode(part, b"")).collect::<Vec<_>>().join("/")
}

/// Writes all bytes as `%41` but letters, digits, `-_.~` and those that are `kept`.
pub fn percent_encode(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b.is_ascii_alphanumeric() || b"-_.~".contains(&b) || kept.contains(&b) {
            true => out.push(char::from(b)),
            false => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_package_urls() {
        let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let tagged = format!("alpine:3@{digest}");
        let bare = format!("ghcr.io/foo/bar@{digest}");
        for (name, platform, expected) in [
            ("alpine", None, "pkg:docker/alpine@latest".to_owned()),
            ("docker.io/library/alpine:3.15", None, "pkg:docker/alpine@3.15".to_owned()),
            ("user/test:v2", None, "pkg:docker/user/test@v2".to_owned()),
            (
                "localhost:5000/a/b",
                Some("linux/arm/v7"),
                "pkg:docker/localhost%3A5000/a/b@latest?platform=linux%2Farm%2Fv7".to_owned(),
            ),
            (&tagged, None, format!("pkg:docker/alpine@3?digest={digest}")),
            (
                &bare,
                Some("linux/amd64"),
                format!("pkg:docker/ghcr.io/foo/bar?digest={digest}&platform=linux%2Famd64"),
            ),
        ] {
            let platform: Option<Platform> = platform.map(|p| p.parse().expect("a platform"));
            let reference: Reference = name.parse().expect("a name");
            assert_eq!(reference.to_purl(platform.as_ref()), expected);
        }
    }
}
