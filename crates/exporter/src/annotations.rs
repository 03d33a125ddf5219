//! Annotations that attributes or a frontend ask for.

use std::collections::BTreeMap;

use errdefs::{Error, Result};
use oci::{Annotations, Platform};

/// Annotations by platform, as [`Platform::format_all`] writes it; those under the empty name are for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group(BTreeMap<String, Parts>);

/// Annotations by what they hang on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    pub index: Annotations,
    pub index_descriptor: Annotations,
    pub manifest: Annotations,
    pub manifest_descriptor: Annotations,
}

impl Group {
    /// Takes one in; `false` where the key is none of an annotation.
    pub fn add(&mut self, key: &str, value: &str) -> Result<bool> {
        let Some(key) = Key::parse(key) else { return Ok(false) };
        let platform = match key.platform {
            Some(text) => text.parse::<Platform>().map_err(|e| Error::user(e.to_string()))?.format_all(),
            None => String::new(),
        };
        let parts = self.0.entry(platform).or_default();
        let slot = match key.kind {
            "" | "manifest" => &mut parts.manifest,
            "manifest-descriptor" => &mut parts.manifest_descriptor,
            "index" => &mut parts.index,
            "index-descriptor" => &mut parts.index_descriptor,
            other => return Err(Error::user(format!("unrecognized annotation type {other}"))),
        };
        slot.insert(key.name.to_owned(), value.to_owned());
        Ok(true)
    }

    /// Adds those of `other`, which win.
    pub fn merge(&mut self, other: Group) {
        for (platform, more) in other.0 {
            self.0.entry(platform).or_default().extend(&more);
        }
    }

    /// The platforms that are named.
    pub fn platforms(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|platform| !platform.is_empty())
    }

    /// Whether some hang on more than manifests, for which Docker's media types have no place.
    pub fn need_oci(&self) -> bool {
        let needs = |p: &Parts| {
            !p.index.is_empty() || !p.index_descriptor.is_empty() || !p.manifest_descriptor.is_empty()
        };
        self.0.values().any(needs)
    }

    /// Those of a platform, or of all platforms. Those of indexes count under whatever platform they were given.
    pub fn of(&self, platform: Option<&Platform>) -> Parts {
        let mut parts = Parts::default();
        for given in self.0.values() {
            parts.index.extend(given.index.clone());
            parts.index_descriptor.extend(given.index_descriptor.clone());
        }
        let names = [Some(String::new()), platform.map(Platform::format_all)];
        for given in names.into_iter().flatten().filter_map(|name| self.0.get(&name)) {
            parts.manifest.extend(given.manifest.clone());
            parts.manifest_descriptor.extend(given.manifest_descriptor.clone());
        }
        parts
    }
}

impl Parts {
    fn extend(&mut self, more: &Parts) {
        self.index.extend(more.index.clone());
        self.index_descriptor.extend(more.index_descriptor.clone());
        self.manifest.extend(more.manifest.clone());
        self.manifest_descriptor.extend(more.manifest_descriptor.clone());
    }
}

/// `annotation[-<kind>][[<platform>]].<name>`
struct Key<'a> {
    kind: &'a str,
    platform: Option<&'a str>,
    name: &'a str,
}

impl<'a> Key<'a> {
    fn parse(key: &'a str) -> Option<Self> {
        let mut rest = key.strip_prefix("annotation")?;
        let mut kind = "";
        if let Some(after) = rest.strip_prefix('-') {
            let end = after.find(|c: char| !c.is_ascii_lowercase() && c != '-').filter(|end| *end > 0)?;
            (kind, rest) = after.split_at(end);
        }
        let mut platform = None;
        if let Some(after) = rest.strip_prefix('[') {
            let (inside, after) = after.split_once(']')?;
            let is_platform = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '-');
            if inside.is_empty() || !inside.chars().all(is_platform) {
                return None;
            }
            (platform, rest) = (Some(inside), after);
        }
        let name = rest.strip_prefix('.')?;
        let is_name = !name.is_empty() && !name.contains(|c: char| c.is_ascii_whitespace());
        is_name.then_some(Key { kind, platform, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read() {
        for (key, expected) in [
            ("annotation.a", Some(("", None, "a"))),
            ("annotation.a.b-c", Some(("", None, "a.b-c"))),
            ("annotation-manifest.a", Some(("manifest", None, "a"))),
            ("annotation-index-descriptor.a", Some(("index-descriptor", None, "a"))),
            ("annotation[linux/amd64].a", Some(("", Some("linux/amd64"), "a"))),
            (
                "annotation-manifest-descriptor[linux/arm/v7].x",
                Some(("manifest-descriptor", Some("linux/arm/v7"), "x")),
            ),
            ("annotation", None),
            ("annotation.", None),
            ("annotation-.a", None),
            ("annotation[].a", None),
            ("annotation[a b].a", None),
            ("annotations.a", None),
            ("name", None),
        ] {
            let read = Key::parse(key).map(|k| (k.kind, k.platform, k.name));
            assert_eq!(read, expected, "{key}");
        }
    }

    #[test]
    fn annotations_go_to_their_platform() {
        let mut group = Group::default();
        for (key, value) in [
            ("annotation.all", "1"),
            ("annotation[linux/amd64].one", "2"),
            ("annotation-manifest-descriptor[linux/amd64].d", "3"),
            ("annotation-index[linux/arm64].i", "4"),
        ] {
            assert!(group.add(key, value).expect("a key"));
        }
        let names = |annotations: &Annotations| annotations.keys().cloned().collect::<Vec<_>>();
        let amd64 = group.of(Some(&Platform::new("linux", "amd64", "")));
        assert_eq!(names(&amd64.manifest), ["all", "one"]);
        assert_eq!(names(&amd64.manifest_descriptor), ["d"]);
        assert_eq!(names(&group.of(None).manifest), ["all"]);
        assert_eq!(names(&group.of(None).index), ["i"]);
        assert_eq!(group.platforms().collect::<Vec<_>>(), ["linux/amd64", "linux/arm64"]);
        assert!(group.need_oci());
    }

    #[test]
    fn unknown_kinds_are_refused() {
        let e = Group::default().add("annotation-blob.a", "1").expect_err("no such kind");
        assert_eq!(e.to_string(), "unrecognized annotation type blob");
    }
}
