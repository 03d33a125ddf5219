//! The values of buildctl's flags, which differ a little from those of buildx.

use std::collections::BTreeMap;

use errdefs::{Error, Result};

use crate::environment::Environment;
use crate::flags::{CacheFlag, fields, parse_bool};
use crate::settings::{Destination, OutputSetting, not_yet};

/// `NAME=VALUE` of a flag; the last of a name wins.
pub(super) fn pairs(flags: &[String]) -> Result<BTreeMap<String, String>> {
    let split = |flag: &String| {
        let (key, value) = flag
            .split_once('=')
            .ok_or_else(|| Error::user(format!("invalid value {flag:?}, expected key=value")))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    flags.iter().map(split).collect()
}

/// `--opt`. A build argument without a value takes that of the environment, and is left out where there is none.
pub(super) fn opts(flags: &[String], env: &Environment) -> Result<BTreeMap<String, String>> {
    let mut all = Vec::new();
    if let Some(epoch) = env.get("SOURCE_DATE_EPOCH") {
        all.push(format!("build-arg:SOURCE_DATE_EPOCH={epoch}"));
    }
    for flag in flags {
        match flag.strip_prefix("build-arg:").filter(|name| !name.is_empty() && !name.contains('=')) {
            Some(name) => all.extend(env.get(name).map(|value| format!("{flag}={value}"))),
            None => all.push(flag.clone()),
        }
    }
    pairs(&all)
}

/// `type=…,key=value`; keys in lower case.
fn spec(flag: &str, text: &str) -> Result<(String, BTreeMap<String, String>)> {
    let mut attrs = BTreeMap::new();
    for field in fields(text)? {
        let (key, value) =
            field.split_once('=').ok_or_else(|| Error::user(format!("invalid value {field}")))?;
        attrs.insert(key.to_lowercase(), value.to_owned());
    }
    match attrs.remove("type").filter(|kind| !kind.is_empty()) {
        Some(kind) => Ok((kind, attrs)),
        None => Err(Error::user(format!("{flag} requires type=<type>"))),
    }
}

/// `--output`.
pub(super) fn outputs(flags: &[String], env: &Environment) -> Result<Vec<OutputSetting>> {
    flags.iter().map(|flag| output(flag, env)).collect()
}

fn output(text: &str, env: &Environment) -> Result<OutputSetting> {
    let (kind, mut attrs) = spec("--output", text)?;
    if let Some(path) = attrs.get("output") {
        return Err(Error::user(format!("output={path} not supported for --output, you meant dest={path}?")));
    }
    let dest = attrs.remove("dest").filter(|path| !path.is_empty());
    let is_folder = attrs.get("tar").and_then(|v| parse_bool(v)) == Some(false);
    let dest = match (kind.as_str(), dest) {
        ("local", None) => {
            return Err(Error::user(format!(
                "invalid output option: output: output directory is required for {kind} exporter"
            )));
        }
        ("local", Some(path)) => {
            let mirror = attrs.get("mode").is_some_and(|mode| mode == "delete");
            Destination::Dir { path: path.into(), mirror }
        }
        ("oci" | "docker", Some(path)) if is_folder && path != "-" => Destination::Layout(path.into()),
        ("oci" | "docker", _) if is_folder => {
            return Err(Error::user(format!(
                "invalid output option: output: output directory is required for {kind} exporter"
            )));
        }
        ("tar" | "oci" | "docker", Some(path)) if path != "-" => Destination::File(path.into()),
        ("tar" | "oci" | "docker", _) if env.stdout_is_terminal => {
            return Err(Error::user(format!(
                "invalid output option: output: output file is required for {kind} exporter. refusing to write to \
                 console"
            )));
        }
        ("tar" | "oci" | "docker", _) => Destination::Stdout,
        (_, Some(path)) => {
            return Err(Error::user(format!(
                "invalid output option: output: output {path} is not supported by {kind} exporter"
            )));
        }
        (_, None) => Destination::Engine,
    };
    Ok(OutputSetting { kind, attrs, dest })
}

/// `--export-cache`. A reference alone names a registry.
pub(super) fn cache_export(text: &str) -> Result<CacheFlag> {
    let mut entry = cache("--export-cache", text)?;
    entry.attrs.entry("mode".into()).or_insert_with(|| "min".into());
    Ok(entry)
}

/// `--import-cache`.
pub(super) fn cache_import(text: &str) -> Result<CacheFlag> {
    cache("--import-cache", text)
}

fn cache(flag: &str, text: &str) -> Result<CacheFlag> {
    if !text.contains("type=") {
        let attrs = BTreeMap::from([("ref".to_owned(), text.to_owned())]);
        return Ok(CacheFlag { kind: "registry".into(), attrs });
    }
    let (kind, attrs) = spec(flag, text)?;
    match kind.as_str() {
        "gha" => Err(not_yet(&format!("`{flag} type={kind}`"))),
        _ => Ok(CacheFlag { kind, attrs }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let env = Environment::of(&[("FROM_ENV", "v"), ("SOURCE_DATE_EPOCH", "1")]);
        let check = |flags: &[&str], expect: &str| {
            let flags: Vec<_> = flags.iter().map(|f| (*f).to_owned()).collect();
            let told = match opts(&flags, &env) {
                Ok(map) => map.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{flags:?}");
        };
        check(&["target=x", "build-arg:A=1"], "build-arg:A=1 build-arg:SOURCE_DATE_EPOCH=1 target=x");
        check(
            &["build-arg:FROM_ENV", "build-arg:UNSET", "build-arg:SOURCE_DATE_EPOCH=2"],
            "build-arg:FROM_ENV=v build-arg:SOURCE_DATE_EPOCH=2",
        );
        check(&["target"], "invalid value \"target\", expected key=value");
    }

    #[test]
    fn destinations() {
        let check = |text: &str, expect: &str| {
            let told = match output(text, &Environment::of(&[])) {
                Ok(o) => format!("{} {:?} {:?}", o.kind, o.dest, o.attrs),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{text}");
        };
        check("type=image,name=a,push=true", r#"image Engine {"name": "a", "push": "true"}"#);
        check("type=local,dest=out", r#"local Dir { path: "out", mirror: false } {}"#);
        check("type=oci", "oci Stdout {}");
        check("type=oci,dest=x.tar", r#"oci File("x.tar") {}"#);
        check("name=a", "--output requires type=<type>");
        check("type=local,output=x", "output=x not supported for --output, you meant dest=x?");
        check(
            "type=image,dest=x",
            "invalid output option: output: output x is not supported by image exporter",
        );
    }

    #[test]
    fn caches() {
        let check = |told: Result<CacheFlag>, expect: &str| {
            let told = match told {
                Ok(entry) => format!("{} {:?}", entry.kind, entry.attrs),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect);
        };
        check(cache_export("r/x"), r#"registry {"mode": "min", "ref": "r/x"}"#);
        check(cache_export("type=inline,mode=max"), r#"inline {"mode": "max"}"#);
        check(cache_import("type=registry,ref=r/x"), r#"registry {"ref": "r/x"}"#);
        check(cache_import("type=,ref=r/x"), "--import-cache requires type=<type>");
    }
}
