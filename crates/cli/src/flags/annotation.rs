use errdefs::{Error, Result};
use oci::Platform;

/// What an annotation hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnnotationKind {
    /// Nothing was said: a manifest.
    Default,
    Manifest,
    ManifestDescriptor,
    Index,
    IndexDescriptor,
}

/// One annotation for one kind of thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Annotation {
    pub kind: AnnotationKind,
    /// All, unless one is named.
    pub platform: Option<Platform>,
    pub key: String,
    pub value: String,
}

impl AnnotationKind {
    /// As it stands in flags and in attributes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            AnnotationKind::Default => "",
            AnnotationKind::Manifest => "manifest",
            AnnotationKind::ManifestDescriptor => "manifest-descriptor",
            AnnotationKind::Index => "index",
            AnnotationKind::IndexDescriptor => "index-descriptor",
        }
    }

    fn parse(name: &str) -> Result<Self> {
        use AnnotationKind::*;
        let kinds = [Manifest, ManifestDescriptor, Index, IndexDescriptor];
        let found = kinds.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| {
            let known = kinds.map(AnnotationKind::name).join(", ");
            Error::user(format!("unknown annotation type {name:?}")).hint(format!("choose one of {known}"))
        })
    }
}

impl Annotation {
    /// Reads `[TYPE[\[PLATFORM\]][,…]:]KEY=VALUE`: one annotation for each type. The last of equals counts.
    pub(crate) fn parse(text: &str) -> Result<Vec<Self>> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Error::user(format!("invalid annotation {text:?}, expected key=value")));
        };
        let annotation = |kind, platform, key: &str| Annotation {
            kind,
            platform,
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let Some((types, key)) = key.split_once(':') else {
            return Ok(vec![annotation(AnnotationKind::Default, None, key)]);
        };
        types
            .split(',')
            .map(|text| target(text).map(|(kind, platform)| annotation(kind, platform, key)))
            .collect()
    }

    /// The key of the exporter attribute that says the same. Those of indexes have no platform.
    pub(crate) fn attribute(&self) -> String {
        let mut attribute = "annotation".to_owned();
        if self.kind != AnnotationKind::Default {
            attribute = format!("{attribute}-{}", self.kind.name());
        }
        if let (AnnotationKind::Manifest | AnnotationKind::ManifestDescriptor, Some(platform)) =
            (self.kind, &self.platform)
        {
            attribute = format!("{attribute}[{}]", platform.format_all());
        }
        format!("{attribute}.{}", self.key)
    }
}

/// `TYPE[\[PLATFORM\]]`
fn target(text: &str) -> Result<(AnnotationKind, Option<Platform>)> {
    let invalid = || {
        Error::user(format!(
            "invalid annotation type {text:?}, expected type and optional platform in square brackets"
        ))
    };
    let (name, platform) = match text.split_once('[') {
        None => (text, None),
        Some((name, rest)) => (name, Some(rest.strip_suffix(']').ok_or_else(invalid)?)),
    };
    let is_platform = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '-');
    let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
    if name.is_empty()
        || !name.chars().all(is_name)
        || !platform.is_none_or(|p| !p.is_empty() && p.chars().all(is_platform))
    {
        return Err(invalid());
    }
    let parse = |text: &str| {
        text.parse().map_err(|e: oci::platform::InvalidPlatform| {
            Error::user(format!("invalid platform {text:?}: {e}"))
        })
    };
    Ok((AnnotationKind::parse(name)?, platform.map(parse).transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_become_attributes() {
        let check = |text: &str, expect: &str| {
            let told = match Annotation::parse(text) {
                Ok(all) => {
                    all.iter().map(|a| format!("{}={}", a.attribute(), a.value)).collect::<Vec<_>>().join(" ")
                }
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{text}");
        };
        check("a=b", "annotation.a=b");
        check("a=b:c", "annotation.a=b:c");
        check("index:a=b=c", "annotation-index.a=b=c");
        check("index,manifest:a=", "annotation-index.a= annotation-manifest.a=");
        check("manifest-descriptor[linux/arm/v7]:a=b", "annotation-manifest-descriptor[linux/arm/v7].a=b");
        check("index-descriptor[linux/arm64]:a=b", "annotation-index-descriptor.a=b");
        check("a", "invalid annotation \"a\", expected key=value");
        check("foo:a=b", "unknown annotation type \"foo\"");
        let expected = "expected type and optional platform in square brackets";
        for wrong in ["", "Index", "index[]", "index[linux", "index[a b]"] {
            check(&format!("{wrong}:a=b"), &format!("invalid annotation type {wrong:?}, {expected}"));
        }
    }
}
