//! Small bakes, and what buildx makes of them.
//!
//! A case is a file of `tests/cases`: lines `args:` and `env:`, then files as `-- NAME --`, then what buildx printed as
//! `-- expect --` (JSON with sorted keys, on one line) or what it said as `-- error --`. Expectations are never written
//! from our own output: with BAKE_ORACLE=/path/to/buildx those that are missing are asked from it, and with
//! BAKE_ORACLE_CHECK=1 all are asked again and compared. A line `differs:` says why we print something else, which
//! then stands as `-- ours --`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use bake::{Context, Definition, File, Flags, Given};

#[derive(Debug, Default, Clone)]
struct Case {
    args: Vec<String>,
    env: BTreeMap<String, String>,
    /// Why we do something else than buildx.
    differs: Option<String>,
    files: Vec<(String, String)>,
    expected: Option<Outcome>,
    ours: Option<Outcome>,
}

#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Json(String),
    Error(String),
}

fn parse(text: &str) -> Case {
    let mut case = Case::default();
    let mut sections: Vec<(String, String)> = vec![(String::new(), String::new())];
    for line in text.split_inclusive('\n') {
        let name = line.trim_end().strip_prefix("-- ").and_then(|l| l.strip_suffix(" --"));
        match (name, sections.last_mut()) {
            (Some(name), _) => sections.push((name.to_owned(), String::new())),
            (None, Some((_, text))) => text.push_str(line),
            (None, None) => {}
        }
    }
    for line in sections[0].1.lines() {
        match line.split_once(':') {
            Some(("args", args)) => case.args = words(args),
            Some(("env", pair)) => {
                let (key, value) = pair.trim().split_once('=').unwrap_or((pair.trim(), ""));
                case.env.insert(key.to_owned(), value.to_owned());
            }
            Some(("differs", why)) => case.differs = Some(why.trim().to_owned()),
            _ => assert!(line.is_empty() || line.starts_with('#'), "odd line in the head of a case: {line}"),
        }
    }
    for (name, text) in sections.drain(..).skip(1) {
        match name.as_str() {
            "expect" => case.expected = Some(Outcome::Json(text.trim().to_owned())),
            "error" => case.expected = Some(Outcome::Error(text.trim().to_owned())),
            "ours" => case.ours = Some(Outcome::Json(text.trim().to_owned())),
            "our error" => case.ours = Some(Outcome::Error(text.trim().to_owned())),
            _ => case.files.push((name, text)),
        }
    }
    case
}

/// Split at spaces, but not within quotes.
fn words(text: &str) -> Vec<String> {
    let (mut out, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in text.trim().chars() {
        match c {
            '\'' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    out.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        out.push(word);
    }
    out
}

/// Arguments as the command line reads them.
#[derive(Default)]
struct Asked {
    names: Vec<String>,
    targets: Vec<String>,
    vars: BTreeMap<String, String>,
    list: Option<String>,
    flags: Flags,
}

fn ask(args: &[String]) -> Asked {
    let mut asked = Asked::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (flag, inline) = match arg.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (arg.as_str(), None),
        };
        let mut value = || inline.clone().or_else(|| args.next().cloned()).expect("a value");
        match flag {
            "-f" => asked.names.push(value()),
            "--set" => asked.flags.set.push(value()),
            "--var" => {
                let pair = value();
                let (key, value) = pair.split_once('=').expect("key=value");
                asked.vars.insert(key.to_owned(), value.to_owned());
            }
            "--list" => asked.list = Some(value()),
            "--push" => asked.flags.push = true,
            "--load" => asked.flags.load = true,
            "--no-cache" => asked.flags.no_cache = Some(inline.as_deref() != Some("false")),
            "--pull" => asked.flags.pull = Some(inline.as_deref() != Some("false")),
            "--call" => asked.flags.call = Some(value()),
            "--sbom" => asked.flags.sbom = Some(value()),
            "--provenance" => asked.flags.provenance = Some(value()),
            "--policy" => asked.flags.policy.push(value()),
            target => asked.targets.push(target.to_owned()),
        }
    }
    asked
}

fn run(case: &Case) -> Outcome {
    let asked = ask(&case.args);
    let find = |name: &str| case.files.iter().find(|(n, _)| n == name).map(|(_, text)| text.clone());
    let files: Vec<File> = match asked.names.is_empty() {
        true => bake::DEFAULT_FILES.iter().filter_map(|n| Some(File::new(*n, find(n)?))).collect(),
        false => asked.names.iter().filter_map(|n| Some(File::new(n, find(n)?))).collect(),
    };
    let all = case.files.clone();
    let given = Given {
        environment: case.env.clone(),
        vars: asked.vars,
        built_in: [
            ("BAKE_CMD_CONTEXT".to_owned(), "cwd://".to_owned()),
            ("BAKE_LOCAL_PLATFORM".to_owned(), "linux/amd64".to_owned()),
        ]
        .into(),
        dotenv: find(".env").map(String::into_bytes),
        read: Box::new(move |name| {
            let name = name.trim_start_matches("./");
            let found = all.iter().find(|(n, _)| n == name).map(|(_, text)| text.clone().into_bytes());
            found.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))
        }),
        file_relative: case.env.get("BUILDX_BAKE_FILE_RELATIVE_PATHS").is_some_and(|v| v == "1"),
        remote: None,
        clock: Context::new(1_700_000_000, "/home/user", |bytes| bytes.fill(7)),
    };
    let targets = if asked.targets.is_empty() { vec!["default".to_owned()] } else { asked.targets };
    let printed =
        bake::require_files(&files).and_then(|()| Definition::load(files, given)).and_then(|definition| {
            match asked.list.as_deref() {
                None => Ok(definition.resolve(&targets, &asked.flags.overrides())?.print()),
                Some(list) => definition.list(list),
            }
        });
    match printed {
        Ok(json) => Outcome::Json(sorted(&json)),
        Err(e) => Outcome::Error(e.to_string()),
    }
}

/// JSON on one line, keys sorted.
fn sorted(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"));
    value.to_string()
}

fn oracle(buildx: &Path, case: &Case) -> Outcome {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in &case.files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    let agent = dir.path().join("agent");
    let _socket = std::os::unix::net::UnixListener::bind(&agent).expect("a socket");
    let print = if case.args.iter().any(|a| a.starts_with("--list")) { vec![] } else { vec!["--print"] };
    let out = Command::new(buildx)
        .arg("bake")
        .args(print)
        .args(&case.args)
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/home/user")
        .env("DOCKER_CONFIG", dir.path().join(".docker"))
        .env("SSH_AUTH_SOCK", agent)
        .envs(&case.env)
        .output()
        .expect("buildx runs");
    match out.status.success() {
        true => Outcome::Json(sorted(&String::from_utf8_lossy(&out.stdout))),
        false => {
            let stderr = String::from_utf8_lossy(&out.stderr);
            let line = stderr.lines().rev().find_map(|l| l.strip_prefix("ERROR: ")).unwrap_or(&stderr);
            let dir = format!("{}/", dir.path().display());
            Outcome::Error(line.replace(&dir, "").trim().to_owned())
        }
    }
}

/// `NAME:LINE` of an error, if it tells one.
fn place(error: &str) -> Option<&str> {
    let (place, _) = error.split_once(',')?;
    let (name, line) = place.rsplit_once(':')?;
    let named = !name.is_empty() && !name.contains(' ') && !line.is_empty();
    (named && line.bytes().all(|b| b.is_ascii_digit())).then_some(place)
}

fn check(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let mut case = parse(&text);
    if let Some(buildx) = std::env::var_os("BAKE_ORACLE").map(PathBuf::from) {
        let check = std::env::var_os("BAKE_ORACLE_CHECK").is_some();
        if case.expected.is_none() || check {
            let told = oracle(&buildx, &case);
            match &case.expected {
                Some(expected) if *expected != told => {
                    return Err(format!("buildx now says {told:?}, not {expected:?}"));
                }
                Some(_) => {}
                None => {
                    let (name, body) = match &told {
                        Outcome::Json(json) => ("expect", json),
                        Outcome::Error(error) => ("error", error),
                    };
                    std::fs::write(path, format!("{text}-- {name} --\n{body}\n"))
                        .map_err(|e| e.to_string())?;
                    case.expected = Some(told);
                }
            }
        }
    }
    let expected = case.expected.clone().ok_or("nothing is expected; set BAKE_ORACLE to ask buildx")?;
    let ours = run(&case);
    let wanted = match (&case.differs, &case.ours) {
        (Some(_), Some(wanted)) if expected == *wanted => return Err("this no longer differs".into()),
        (Some(_), Some(wanted)) => wanted.clone(),
        (None, None) => expected,
        _ => return Err(format!("`differs:` and `-- ours --` belong together; we say {ours:?}")),
    };
    match (&wanted, &ours) {
        (Outcome::Json(a), Outcome::Json(b)) if a == b => Ok(()),
        (Outcome::Error(a), Outcome::Error(b)) if case.differs.is_some() && !b.contains(a.as_str()) => {
            Err(format!("expected the error {a}\n     got {b}"))
        }
        // Words are our own, but the place must be the same.
        (Outcome::Error(a), Outcome::Error(b)) if place(a).is_none_or(|p| place(b) == Some(p)) => Ok(()),
        (Outcome::Error(a), Outcome::Error(b)) => {
            Err(format!("expected an error at {:?}: {a}\n     got {b}", place(a)))
        }
        _ => Err(format!("expected {wanted:?}\n     got {ours:?}")),
    }
}

#[test]
fn bakes_come_out_as_buildx_prints_them() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).expect("cases").map(|e| e.expect("a case").path()).collect();
    paths.sort();
    let only = std::env::var("BAKE_CASE").unwrap_or_default();
    paths.retain(|p| p.to_string_lossy().contains(&only));
    let failed: Vec<String> = paths
        .iter()
        .filter_map(|p| Some(format!("{}\n     {}", p.file_stem()?.to_string_lossy(), check(p).err()?)))
        .collect();
    assert!(failed.is_empty(), "{} of {} cases fail:\n{}", failed.len(), paths.len(), failed.join("\n"));
}

#[test]
fn places_of_errors_are_found() {
    assert_eq!(place("a.hcl:3,5-7: Unknown; x, y"), Some("a.hcl:3"));
    assert_eq!(place("no place, here: 3"), None);
}
