//! `kiln run`: tries an image of Kiln's own store.

use std::path::Path;
use std::process::ExitCode;

use client::{BindMount, RunNetwork, RunRequest};
use errdefs::{Code, Error, Result};

use crate::args::RunArgs;
use crate::attach::{Ended, attach};
use crate::engine::{Place, connect};
use crate::environment::Environment;
use crate::flags::extra_hosts;
use crate::{console, report, terminal};

/// What failed was not the program but ourselves, as `docker run` tells it.
const OWN_FAILURE: u8 = 125;

/// Tries an image of Kiln's own store, and gives the exit code of its program.
pub(crate) async fn run(args: &RunArgs, place: &Place, env: &Environment) -> Result<ExitCode> {
    match try_run(args, place, env).await {
        Ok(ended) => Ok(ExitCode::from(ended.code())),
        Err(e) => {
            report::error(&e);
            Ok(ExitCode::from(OWN_FAILURE))
        }
    }
}

async fn try_run(args: &RunArgs, place: &Place, env: &Environment) -> Result<Ended> {
    let mut request = request(args, env)?;
    for mount in &request.mounts {
        check_source(&mount.source)?;
    }
    request.tty = args.tty.then(terminal::size);
    let container = connect(place).await?.run_container(&request).await?;
    let ended = attach(container, args.tty && args.interactive).await?;
    if let Ended::Exited(exit) = ended
        && exit.out_of_memory
    {
        console::note("hint: the kernel killed a process of the container for lack of memory\n");
    }
    Ok(ended)
}

/// The request that these words mean. It says nothing of the terminal.
fn request(args: &RunArgs, env: &Environment) -> Result<RunRequest> {
    let (image, command) = args.words.split_first().ok_or_else(|| Error::user("which image?"))?;
    if image.starts_with('-') {
        return Err(Error::user(format!("unknown option `{image}`")).hint("see `kiln run --help`"));
    }
    if args.tty && args.interactive && !env.stdin_is_terminal {
        return Err(Error::user("the input device is not a TTY").hint("leave `-t` away"));
    }
    let hosts = extra_hosts(&args.add_hosts)?;
    let hosts = hosts.split(',').filter_map(|host| host.split_once('='));
    Ok(RunRequest {
        image: image.clone(),
        platform: args.platform.clone().unwrap_or_default(),
        command: command.to_vec(),
        entrypoint: args.entrypoint.clone(),
        env: args.env.iter().filter_map(|text| variable(text, env)).collect::<Result<_>>()?,
        workdir: args.workdir.clone().unwrap_or_default(),
        user: args.user.clone().unwrap_or_default(),
        mounts: args.volumes.iter().map(|v| volume(v, env)).collect::<Result<_>>()?,
        stdin: args.interactive,
        tty: None,
        network: network(args.network.as_deref())?,
        readonly: args.read_only,
        hostname: args.hostname.clone().unwrap_or_default(),
        extra_hosts: hosts.map(|(host, ip)| (host.to_owned(), ip.to_owned())).collect(),
    })
}

/// A bare name takes its value from here; nothing where there is none.
fn variable(text: &str, env: &Environment) -> Option<Result<String>> {
    match text.split_once('=') {
        Some(("", _)) => Some(Err(Error::user(format!("invalid environment variable: {text}")))),
        Some(_) => Some(Ok(text.to_owned())),
        None => env.get(text).map(|value| Ok(format!("{text}={value}"))),
    }
}

fn network(name: Option<&str>) -> Result<RunNetwork> {
    match name {
        None | Some("default") => Ok(RunNetwork::Default),
        Some("host") => Ok(RunNetwork::Host),
        Some("none") => Ok(RunNetwork::None),
        Some(other) => {
            Err(Error::user(format!("unknown network `{other}`"))
                .hint("choose one of default, host and none"))
        }
    }
}

/// Reads `HOST:CONTAINER[:ro|rw]`.
fn volume(text: &str, env: &Environment) -> Result<BindMount> {
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
    // In one form; `..` stays, since a link may stand before it.
    let source = env.cwd.join(host).components().collect();
    Ok(BindMount { source, target: container.into(), readonly })
}

/// A folder that is missing is more often a mistake than a wish for an empty one.
fn check_source(path: &Path) -> Result<()> {
    match path.metadata() {
        Ok(_) => Ok(()),
        Err(e) => {
            let error = Error::from(e).context(format!("cannot mount `{}`", path.display()));
            Err(match error.code() {
                Code::NotFound => error.hint("make the folder first"),
                _ => error,
            })
        }
    }
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
                Ok(v) => format!("{} {} {}", v.source.display(), v.target.display(), v.readonly),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{text}");
        };
        check("/a:/b", "/a /b false");
        check("/a:/b:ro", "/a /b true");
        check("./a:/b:rw", "/work/a /b false");
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
            let told = match request(&args, &Environment::of(&[])) {
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
        let request = request(&args, &Environment::of(&[("HOME", "/root")])).expect("valid");
        assert_eq!(request.env, ["A=1", "HOME=/root"]);
    }

    #[test]
    fn options() {
        let check = |line: &str, expect: &str| {
            let cli = Cli::try_parse_from(line.split(' ')).expect(line);
            let Some(Command::Run(args)) = cli.command else { panic!("{line}") };
            let told = match request(&args, &Environment::of(&[])) {
                Ok(r) => format!("{:?} {} {} {:?}", r.network, r.readonly, r.hostname, r.extra_hosts),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{line}");
        };
        check("kiln run app", "Default false  []");
        check("kiln run --network=none --read-only --hostname h app", "None true h []");
        check("kiln run --net host --add-host a:::1 app", "Host false  [(\"a\", \"::1\")]");
        check("kiln run --network mine app", "unknown network `mine`");
        check("kiln run -it app", "the input device is not a TTY");
        check("kiln run -t app", "Default false  []");
    }

    #[test]
    fn sources_must_be_there() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(check_source(dir.path()).is_ok());
        let missing = dir.path().join("missing");
        let error = check_source(&missing).expect_err("nothing there");
        assert_eq!(error.hints(), ["make the folder first"]);
    }
}
