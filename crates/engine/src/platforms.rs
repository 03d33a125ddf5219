//! Whether a result is for the platforms that were asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use errdefs::{Error, Result};
use exporter::{Exportable, Refs};
use oci::Platform;
use progress::{Event, Sink, Step, VertexWarning};

/// Warns where it is not. `asked` are the platforms as a frontend is given them.
pub fn verify(build: &str, asked: Option<&str>, result: &Exportable, sink: &Arc<dyn Sink>) -> Result<()> {
    let findings = findings(asked, result)?;
    if findings.is_empty() {
        return Ok(());
    }
    let step = Step::start(Arc::clone(sink), &format!("{build}:verify"), "Verifying build result");
    for short in findings {
        let vertex = step.digest().clone();
        sink.emit(Event::Warning(VertexWarning {
            vertex,
            level: 0,
            short,
            detail: Vec::new(),
            url: String::new(),
            source: None,
        }));
    }
    step.finish(Ok(()))
}

fn findings(asked: Option<&str>, result: &Exportable) -> Result<Vec<String>> {
    let is_map = matches!(&result.refs, Refs::Map(map) if !map.is_empty());
    if !result.names_platforms() {
        if is_map {
            return Err(Error::user("build result contains multiple refs without platforms mapping"));
        }
        if matches!(result.refs, Refs::Single(None) | Refs::Map(_)) {
            return Ok(Vec::new());
        }
    }
    let found = result.platform_list()?;
    let host = Platform::host().to_string();
    let asked: Vec<_> = asked.unwrap_or(&host).split(',').collect();
    let (mut wanted, mut findings) = (Vec::new(), Vec::new());
    for text in &asked {
        match text.parse::<Platform>() {
            Err(e) => findings.push(format!("Invalid platform result requested {text:?}: {e}")),
            Ok(platform) if wanted.contains(&platform.normalize()) => {
                findings.push(format!("Duplicate platform result requested {text:?}"));
            }
            Ok(platform) => wanted.push(platform.normalize()),
        }
    }
    if !findings.is_empty() {
        return Ok(findings);
    }
    findings.extend(match (&wanted[..], &found[..]) {
        ([wanted], [found]) => (!is_meant(wanted, found)).then(|| {
            format!(
                "Requested platform {:?} does not match result platform {:?}",
                asked[0],
                found.normalize().format_all()
            )
        }),
        ([_, _, ..], _) if !is_map => {
            Some("Multiple platforms requested but result is not multi-platform".into())
        }
        _ if names(&wanted) != names(&found) || wanted.len() != found.len() => Some(format!(
            "Requested platforms {} do not match result platforms {}",
            list(&wanted),
            list(&found)
        )),
        _ => None,
    });
    Ok(findings)
}

/// Whether the one is meant by the other, which often says nothing of a version of the system.
fn is_meant(wanted: &Platform, found: &Platform) -> bool {
    let mut found = found.normalize();
    if wanted.os_version.is_empty() {
        found.os_version.clear();
    }
    wanted.format_all() == found.format_all()
}

fn names(platforms: &[Platform]) -> BTreeSet<String> {
    platforms.iter().map(|platform| platform.normalize().format_all()).collect()
}

fn list(platforms: &[Platform]) -> String {
    let mut names: Vec<_> = platforms.iter().map(|platform| platform.normalize().format_all()).collect();
    names.sort();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn check(asked: Option<&str>, found: &[&str], is_map: bool, expected: &[&str]) {
        let entry = |name: &&str| {
            let p: Platform = name.parse().expect("valid");
            format!(
                r#"{{"ID":"{name}","Platform":{{"os":"{}","architecture":"{}","os.version":"{}"}}}}"#,
                p.os, p.architecture, p.os_version
            )
        };
        let entries: Vec<_> = found.iter().map(entry).collect();
        let json = format!(r#"{{"Platforms":[{}]}}"#, entries.join(","));
        let refs = match is_map {
            true => Refs::Map(found.iter().map(|name| ((*name).to_owned(), None)).collect()),
            false => Refs::Single(None),
        };
        let metadata = BTreeMap::from([("refs.platforms".to_owned(), json.into())]);
        let result = Exportable { refs, metadata, attestations: BTreeMap::new() };
        assert_eq!(findings(asked, &result).expect("is no error"), expected);
    }

    #[test]
    fn platforms_are_those_that_were_asked_for() {
        let (amd, arm) = ("linux/amd64", "linux/arm64");
        let both = format!("{amd},{arm}");
        check(Some(amd), &[amd], false, &[]);
        check(None, &[&Platform::host().to_string()], false, &[]);
        check(Some(&both), &[amd, arm], true, &[]);
        check(Some(&both), &[arm, amd], true, &[]);
        let text = r#"Requested platform "linux/amd64" does not match result platform "linux/arm64""#;
        check(Some(amd), &[arm], true, &[text]);
        check(Some("windows/amd64"), &["windows(10.0.1)/amd64"], true, &[]);
        let text = "Multiple platforms requested but result is not multi-platform";
        check(Some(&both), &[amd], false, &[text]);
        let text = "Requested platforms linux/amd64 do not match result platforms linux/amd64,linux/arm64";
        check(Some(amd), &[arm, amd], true, &[text]);
        let text = "Requested platforms linux/amd64,linux/arm64 do not match result platforms linux/amd64";
        check(Some(&both), &[amd], true, &[text]);
        check(
            Some("linux/x86_64,linux/amd64,a/b/c/d"),
            &[amd],
            true,
            &[
                r#"Duplicate platform result requested "linux/amd64""#,
                r#"Invalid platform result requested "a/b/c/d": "a/b/c/d": cannot parse platform specifier: invalid argument"#,
            ],
        );
    }

    #[test]
    fn refs_without_platforms_are_refused() {
        let two = Refs::Map(BTreeMap::from([("a".to_owned(), None), ("b".to_owned(), None)]));
        let mut result = Exportable { refs: two, metadata: BTreeMap::new(), attestations: BTreeMap::new() };
        let e = findings(None, &result).expect_err("has no platforms");
        assert_eq!(e.to_string(), "build result contains multiple refs without platforms mapping");
        result.refs = Refs::Single(None);
        assert!(findings(Some("linux/s390x,linux/arm"), &result).expect("is empty").is_empty());
    }
}
