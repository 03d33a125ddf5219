//! `kiln run`: tries an image of Kiln's own store.

use std::path::PathBuf;
use std::process::ExitCode;

use errdefs::{Error, Result};

use crate::args::RunArgs;
use crate::engine::Place;
use crate::environment::Environment;
use crate::settings::not_yet;

/// What is to be run, complete: this is all that an engine needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunSettings {
    /// Name or ID.
    pub image: String,
    /// In place of the image's command, unless empty.
    pub command: Vec<String>,
    /// In place of the image's entrypoint. Empty text means none at all.
    pub entrypoint: Option<String>,
    /// `NAME=VALUE`, over the image's.
    pub env: Vec<String>,
    pub workdir: Option<String>,
    pub user: Option<String>,
    pub volumes: Vec<Volume>,
    /// Pass stdin on.
    pub stdin: bool,
    pub tty: bool,
}

/// A folder or file of the host that shows in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    pub host: PathBuf,
    pub container: PathBuf,
    pub readonly: bool,
}

impl RunSettings {
    pub(crate) fn new(args: &RunArgs, env: &Environment) -> Result<Self> {
        let (image, command) = args.words.split_first().ok_or_else(|| Error::user("which image?"))?;
        if image.starts_with('-') {
            return Err(Error::user(format!("unknown option `{image}`")).hint("see `kiln run --help`"));
        }
        if args.tty && !(env.stdin_is_terminal && env.stdout_is_terminal) {
            return Err(Error::user("the input device is not a TTY").hint("leave `-t` away"));
        }
        let variable = |text: &String| match text.split_once('=') {
            Some(("", _)) => Some(Err(Error::user(format!("invalid environment variable: {text}")))),
            Some(_) => Some(Ok(text.clone())),
            None => env.get(text).map(|value| Ok(format!("{text}={value}"))),
        };
        Ok(RunSettings {
            image: image.clone(),
            command: command.to_vec(),
            entrypoint: args.entrypoint.clone(),
            env: args.env.iter().filter_map(variable).collect::<Result<_>>()?,
            workdir: args.workdir.clone(),
            user: args.user.clone(),
            volumes: args.volumes.iter().map(|v| volume(v, env)).collect::<Result<_>>()?,
            stdin: args.interactive,
            tty: args.tty,
        })
    }
}

/// Reads `HOST:CONTAINER[:ro|rw]`.
fn volume(text: &str, env: &Environment) -> Result<Volume> {
    let bad = |why: &str| Error::user(format!("invalid volume `{text}`: {why}"));
    let mut parts = text.split(':');
    let (Some(host), Some(container)) = (parts.next().filter(|h| !h.is_empty()), parts.next()) else {
        return Err(bad("expected HOST:CONTAINER"));
    };
    let readonly = match (parts.next(), parts.next()) {
        (None | Some("rw"), None) => false,
        (Some("ro"), None) => true,
        _ => return Err(bad("the third part is `ro` or `rw`")),
    };
    if !container.starts_with('/') {
        return Err(bad("the path in the container must be absolute"));
    }
    let is_path = host.contains('/') || host == "." || host == "..";
    if !is_path {
        return Err(bad("named volumes are not supported").hint(format!("for a folder write `./{host}`")));
    }
    Ok(Volume { host: env.cwd.join(host), container: container.into(), readonly })
}

/// Runs an image and gives its exit code.
pub(crate) async fn run(args: &RunArgs, place: &Place, env: &Environment) -> Result<ExitCode> {
    let settings = RunSettings::new(args, env)?;
    tracing::debug!(?settings, ?place, "run");
    Err(not_yet("`kiln run`"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn volumes() {
        let check = |text: &str, expect: &str| {
            let told = match volume(text, &Environment::of(&[])) {
                Ok(v) => format!("{} {} {}", v.host.display(), v.container.display(), v.readonly),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{text}");
        };
        check("/a:/b", "/a /b false");
        check("/a:/b:ro", "/a /b true");
        check("./a:/b:rw", "/work/./a /b false");
        check("/a", "invalid volume `/a`: expected HOST:CONTAINER");
        check(":/b", "invalid volume `:/b`: expected HOST:CONTAINER");
        check("/a:b", "invalid volume `/a:b`: the path in the container must be absolute");
        check("/a:/b:z", "invalid volume `/a:/b:z`: the third part is `ro` or `rw`");
        check("name:/b", "invalid volume `name:/b`: named volumes are not supported");
    }

    #[test]
    fn what_follows_the_image_is_the_command() {
        let check = |line: &str, expect: &str| {
            let cli = Cli::try_parse_from(line.split(' ')).expect(line);
            let Some(Command::Run(args)) = cli.command else { panic!("{line}") };
            let told = match RunSettings::new(&args, &Environment::of(&[])) {
                Ok(s) => format!("{} {:?} {:?} {}", s.image, s.command, s.env, s.stdin),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{line}");
        };
        check("kiln run app", "app [] [] false");
        check(
            "kiln run -i -e A=1 app sh -c x -e B=2",
            "app [\"sh\", \"-c\", \"x\", \"-e\", \"B=2\"] [\"A=1\"] true",
        );
        check("kiln run --rm app --help", "app [\"--help\"] [] false");
        check("kiln run app -e A=1", "app [\"-e\", \"A=1\"] [] false");
        check("kiln run --no-such app", "unknown option `--no-such`");
    }

    #[test]
    fn variables() {
        let args = RunArgs {
            words: vec!["app".into()],
            env: vec!["A=1".into(), "HOME".into(), "UNSET".into()],
            ..RunArgs::default()
        };
        let settings = RunSettings::new(&args, &Environment::of(&[("HOME", "/root")])).expect("valid");
        assert_eq!(settings.env, ["A=1", "HOME=/root"]);
    }
}
