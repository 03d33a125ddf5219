//! What a build is called, as buildx calls it.

use std::collections::BTreeMap;
use std::path::Path;

use super::Local;

/// A name that was given, else one made of context, Dockerfile, target and repository.
pub(super) fn build_name(attrs: &BTreeMap<String, String>, local: &Local) -> String {
    let attr = |key: &str| attrs.get(key).map(String::as_str).filter(|v| !v.is_empty());
    if let Some(name) = attr("build-arg:BUILDKIT_BUILD_NAME") {
        return name.to_owned();
    }
    let context = attr("context").or_else(|| attr("vcs:localdir:context").filter(|dir| *dir != "."));
    let name = context.map(str::to_owned).unwrap_or_else(|| of_files(&attr, local));
    let source = attr("vcs:source").or_else(|| attr("input:context").filter(|c| c.contains("://")));
    match (name.as_str(), attr("target")) {
        ("", None) => source.unwrap_or_default().split('#').next().unwrap_or_default().to_owned(),
        ("", Some(target)) => target.to_owned(),
        (name, Some(target)) => format!("{name} ({target})"),
        (name, None) => name.to_owned(),
    }
}

/// From the folder of the context and the Dockerfile, where its name tells more.
fn of_files<'a>(attr: &impl Fn(&str) -> Option<&'a str>, local: &Local) -> String {
    let known = |path: &str| Some(path.to_owned()).filter(|p| !p.is_empty() && p != "-");
    let folder = known(&local.context).unwrap_or_default();
    let named = attr("filename").filter(|name| *name != "Dockerfile").unwrap_or_default();
    let in_repository = attr("vcs:localdir:dockerfile").filter(|dir| *dir != ".");
    let dockerfile = known(&local.dockerfile)
        .filter(|path| path != "Dockerfile")
        .or_else(|| in_repository.map(|dir| Path::new(dir).join(named).display().to_string()))
        .unwrap_or_else(|| named.to_owned());
    let is_usual = dockerfile.is_empty() || dockerfile.ends_with("/Dockerfile");
    let dockerfile = dockerfile.strip_suffix("/Dockerfile").unwrap_or(&dockerfile);
    if dockerfile.len() > folder.len() && dockerfile.starts_with(&folder) {
        let start = folder.rfind('/').map_or(0, |at| at + 1);
        return dockerfile[start..].to_owned();
    }
    let path = if dockerfile.is_empty() { &folder } else { dockerfile };
    let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
    match (is_usual, parent.rsplit('/').next()) {
        (false, Some(parent)) if !parent.is_empty() => format!("{parent}/{last}"),
        _ => last.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |attrs: &[(&str, &str)], context: &str, dockerfile: &str, expect: &str| {
            let attrs = attrs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let local = Local { context: context.into(), dockerfile: dockerfile.into() };
            assert_eq!(build_name(&attrs, &local), expect, "{attrs:?}");
        };
        check(&[("build-arg:BUILDKIT_BUILD_NAME", "mine"), ("target", "x")], "/a", "", "mine");
        check(&[], "/src/app", "", "app");
        check(&[("target", "test")], "/src/app", "", "app (test)");
        check(&[], "/src/app", "/src/app/Dockerfile", "app");
        check(&[], "/src/app", "/src/app/dev/Dockerfile", "app/dev");
        check(&[("filename", "dev.Dockerfile")], "/src/app", "/src/app/dev.Dockerfile", "app/dev.Dockerfile");
        check(&[], "/src/app", "/other/dev.Dockerfile", "other/dev.Dockerfile");
        check(&[("context", "https://example.com/x.git")], "", "", "https://example.com/x.git");
        check(&[("vcs:source", "https://example.com/x.git#main")], "", "", "https://example.com/x.git");
        check(&[("target", "test")], "", "", "test");
        check(&[], "", "", "");
    }
}
