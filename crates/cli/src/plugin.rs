//! `docker-buildx`: the plugin of Docker's command line behind `docker buildx` and `docker build`.

use std::ffi::OsString;
use std::process::ExitCode;

use errdefs::Error;
use serde_json::json;

use crate::environment::Environment;
use crate::{commands, console, report, run_cli};

/// The word with which Docker asks what a plugin is.
const METADATA: &str = "docker-cli-plugin-metadata";

/// Commands of buildx that are not there yet.
const MISSING: &[&str] = &["dap", "debug", "dial-stdio", "install", "policy", "uninstall"];

/// Commands of buildx for builders, which are below `kiln builder` here.
const BUILDERS: &[&str] = &["create", "inspect", "ls", "rm", "stop", "use"];

/// What Docker's own flags, which come before the plugin's name, say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Docker {
    debug: bool,
    /// Variables that say the same.
    vars: Vec<(&'static str, String)>,
}

/// Runs the plugin with these arguments, its own name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_some_and(|word| word == METADATA) {
        return told(console::out(format!("{:#}\n", metadata())));
    }
    let (docker, rest) = split(args.drain(1..).collect());
    args.extend(rest);
    let at = command(&args);
    let is_one_of = |names: &[&str]| args.get(at).is_some_and(|word| names.iter().any(|name| word == *name));
    if is_one_of(MISSING) {
        let missing = args[at].to_string_lossy();
        let message = format!("`docker buildx {missing}` is not supported yet");
        return report::error(
            &Error::unimplemented(message).hint("`docker buildx --help` lists what is there"),
        );
    }
    if is_one_of(&["version"]) {
        return told(console::out(format!("{}\n", commands::version())));
    }
    if is_one_of(BUILDERS) {
        args.insert(at, "builder".into());
    }
    if docker.debug {
        args.push("--debug".into());
    }
    let mut env = Environment::here();
    env.is_plugin = true;
    docker.vars.into_iter().for_each(|(name, value)| env.set(name, value));
    run_cli(args, env)
}

/// Where the command stands: behind the flags that all commands have.
fn command(args: &[OsString]) -> usize {
    let mut at = 1;
    while let Some(flag) = args.get(at).and_then(|word| word.to_str()).filter(|word| word.starts_with('-')) {
        at += if flag == "--builder" { 2 } else { 1 };
    }
    at
}

fn told(done: errdefs::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => report::error(&e),
    }
}

/// What a plugin says of itself.
fn metadata() -> serde_json::Value {
    json!({
        "SchemaVersion": "0.1.0",
        "Vendor": "Kiln",
        "Version": commands::VERSION,
        "ShortDescription": "Build with Kiln in place of BuildKit",
    })
}

/// Takes Docker's flags and the plugin's name off. Started by hand, there are none.
fn split(args: Vec<OsString>) -> (Docker, Vec<OsString>) {
    let mut docker = Docker::default();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else { break };
        let (flag, inline) = text.split_once('=').map_or((text, None), |(f, v)| (f, Some(v.to_owned())));
        let mut value =
            || inline.clone().or_else(|| words.next()?.to_str().map(str::to_owned)).unwrap_or_default();
        match flag {
            "buildx" => return (docker, words.cloned().collect()),
            "-D" | "--debug" => docker.debug = true,
            "-c" | "--context" => docker.vars.push(("DOCKER_CONTEXT", value())),
            "-H" | "--host" => docker.vars.push(("DOCKER_HOST", value())),
            "--config" => docker.vars.push(("DOCKER_CONFIG", value())),
            "-l" | "--log-level" | "--tlscacert" | "--tlscert" | "--tlskey" => drop(value()),
            "--tls" | "--tlsverify" => {}
            _ => break,
        }
    }
    (Docker::default(), args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_docker() {
        let check = |line: &str, debug: bool, vars: &[(&'static str, &str)], rest: &str| {
            let (docker, left) = split(line.split(' ').map(OsString::from).collect());
            let vars: Vec<_> = vars.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
            assert_eq!(docker, Docker { debug, vars }, "{line}");
            assert_eq!(left.join(" ".as_ref()), rest, "{line}");
        };
        check("buildx build .", false, &[], "build .");
        check("build .", false, &[], "build .");
        check("--debug buildx du", true, &[], "du");
        check(
            "-c far --config=/c buildx du",
            false,
            &[("DOCKER_CONTEXT", "far"), ("DOCKER_CONFIG", "/c")],
            "du",
        );
        // A flag of ours, not of Docker's.
        check("--root /x build", false, &[], "--root /x build");
        check("-D build .", false, &[], "-D build .");
    }

    #[test]
    fn commands_stand_behind_flags() {
        let check = |line: &str, expect: usize| {
            let words: Vec<_> = line.split(' ').map(OsString::from).collect();
            assert_eq!(command(&words), expect, "{line}");
        };
        check("docker-buildx ls --format json", 1);
        check("docker-buildx --builder b inspect", 3);
        check("docker-buildx -D --builder=b inspect", 3);
        check("docker-buildx --builder b", 3);
        check("docker-buildx", 1);
    }

    #[test]
    fn docker_accepts_the_metadata() {
        let metadata = metadata();
        assert_eq!(metadata["SchemaVersion"], "0.1.0");
        assert!(metadata["Vendor"].as_str().is_some_and(|vendor| !vendor.is_empty()));
    }
}
