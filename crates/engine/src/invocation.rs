//! What is asked of an image, and the process that comes of it: the image's config with what is given over it, as
//! `docker run` has it.

use std::path::PathBuf;

use errdefs::{Error, Result};
use executor::{HostIp, Network, Process, WinSize};
use fsutil::mount::{Mount, Source};
use oci::{Platform, RunConfig};

/// The `PATH` of an image that sets none.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One run of an image of Kiln's own store.
#[derive(Debug, Clone, Default)]
pub struct RunRequest {
    /// By name, or by the beginning of a digest.
    pub image: String,
    /// None: what suits this machine best.
    pub platform: Option<Platform>,
    /// In place of the image's command, unless empty.
    pub command: Vec<String>,
    /// In place of the image's entrypoint; empty for none at all.
    pub entrypoint: Option<String>,
    /// `NAME=value`, over the image's.
    pub env: Vec<String>,
    /// Empty: the image's.
    pub workdir: String,
    /// Empty: the image's.
    pub user: String,
    pub mounts: Vec<BindMount>,
    /// There will be input.
    pub stdin: bool,
    /// A terminal of this size becomes stdin, stdout and stderr.
    pub tty: Option<WinSize>,
    pub network: Network,
    pub readonly: bool,
    /// Empty: a name of its own.
    pub hostname: String,
    pub extra_hosts: Vec<HostIp>,
}

/// A folder or file of the host that shows in the container. Both paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    pub source: PathBuf,
    pub target: PathBuf,
    pub readonly: bool,
}

/// The process of a request.
pub fn process(request: &RunRequest, image: &RunConfig, hostname: &str) -> Result<Process> {
    let own = |asked: &String, image: &String| if asked.is_empty() { image.clone() } else { asked.clone() };
    let cwd = own(&request.workdir, &image.working_dir);
    if !cwd.is_empty() && !cwd.starts_with('/') {
        return Err(Error::user(format!("the working directory `{cwd}` is not an absolute path")));
    }
    Ok(Process {
        args: args(request, image)?,
        env: env(request, image, hostname),
        cwd,
        user: own(&request.user, &image.user),
        groups: Vec::new(),
        tty: request.tty,
        ulimits: Vec::new(),
    })
}

/// An entrypoint that is given takes the image's command away too: it would not know what to do with it.
fn args(request: &RunRequest, image: &RunConfig) -> Result<Vec<String>> {
    let (mut args, command) = match &request.entrypoint {
        Some(given) => (Vec::from_iter(Some(given.clone()).filter(|g| !g.is_empty())), None),
        None => (image.entrypoint.clone().unwrap_or_default(), image.cmd.as_ref()),
    };
    match command {
        Some(command) if request.command.is_empty() => args.extend_from_slice(command),
        _ => args.extend_from_slice(&request.command),
    }
    if args.is_empty() {
        return Err(Error::user(format!("no command: `{}` names none", request.image))
            .hint(format!("give one: `kiln run {} COMMAND`", request.image)));
    }
    Ok(args)
}

/// Of variables that are given twice the later counts.
fn env(request: &RunRequest, image: &RunConfig, hostname: &str) -> Vec<String> {
    let mut env = vec![DEFAULT_PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if request.tty.is_some() {
        env.push("TERM=xterm".into());
    }
    for variable in image.env.iter().chain(&request.env) {
        let name = |e: &str| e.split('=').next().unwrap_or_default().to_owned();
        match env.iter_mut().find(|e| name(e) == name(variable)) {
            Some(earlier) => earlier.clone_from(variable),
            None => env.push(variable.clone()),
        }
    }
    env
}

/// The mounts of a request, parents before what lies in them.
pub fn mounts(asked: &[BindMount]) -> Result<Vec<Mount>> {
    let mut mounts: Vec<Mount> = Vec::with_capacity(asked.len());
    for BindMount { source, target, readonly } in asked {
        if !source.is_absolute() || !target.is_absolute() {
            return Err(Error::user(format!("mount `{}`: both paths must be absolute", target.display())));
        }
        // Puts a path into one form; what it leads to is for the container's root to say.
        let target: PathBuf = target.components().collect();
        if target.parent().is_none() {
            return Err(Error::user("a mount cannot take the place of `/`"));
        }
        if mounts.iter().any(|m| m.target == target) {
            return Err(Error::user(format!("two mounts at `{}`", target.display())));
        }
        mounts.push(Mount::new(Source::Bind(source.clone()), target).readonly(*readonly));
    }
    mounts.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(mounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn commands() {
        // Image: entrypoint, command. Request: entrypoint, command.
        let check = |entrypoint: &str, cmd: &str, given: Option<&str>, command: &str, expected: &str| {
            let image = RunConfig {
                entrypoint: Some(words(entrypoint)).filter(|e| !e.is_empty()),
                cmd: Some(words(cmd)).filter(|c| !c.is_empty()),
                ..RunConfig::default()
            };
            let request = RunRequest {
                image: "app".into(),
                entrypoint: given.map(str::to_owned),
                command: words(command),
                ..RunRequest::default()
            };
            let told = match args(&request, &image) {
                Ok(args) => args.join(" "),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expected, "{entrypoint} | {cmd} | {given:?} | {command}");
        };
        check("", "sh", None, "", "sh");
        check("", "sh", None, "ls -l", "ls -l");
        check("run -v", "all", None, "", "run -v all");
        check("run -v", "all", None, "one", "run -v one");
        check("run -v", "", None, "", "run -v");
        check("run -v", "all", Some("sh"), "", "sh");
        check("run -v", "all", Some("sh"), "-c x", "sh -c x");
        check("run -v", "all", Some(""), "ls", "ls");
        check("run -v", "all", Some(""), "", "no command: `app` names none");
        check("", "", None, "", "no command: `app` names none");
    }

    #[test]
    fn variables() {
        let check = |image: &str, given: &str, tty: bool, expected: &str| {
            let image = RunConfig { env: words(image), ..RunConfig::default() };
            let tty = tty.then_some(WinSize { rows: 24, cols: 80 });
            let request = RunRequest { env: words(given), tty, ..RunRequest::default() };
            let env = env(&request, &image, "h");
            assert_eq!(env.join(" ").replace(DEFAULT_PATH, "PATH"), expected, "{given}");
        };
        check("", "", false, "PATH HOSTNAME=h");
        check("", "", true, "PATH HOSTNAME=h TERM=xterm");
        check("PATH=/bin A=1", "A=2 B=", false, "PATH=/bin HOSTNAME=h A=2 B=");
        check("A=1", "TERM=vt100 A=2 A=3", true, "PATH HOSTNAME=h TERM=vt100 A=3");
    }

    #[test]
    fn places() {
        let check = |image: (&str, &str), given: (&str, &str), expected: &str| {
            let (user, working_dir) = (image.0.to_owned(), image.1.to_owned());
            let image = RunConfig { user, working_dir, cmd: Some(vec!["x".into()]), ..RunConfig::default() };
            let (user, workdir) = (given.0.to_owned(), given.1.to_owned());
            let told = match process(&RunRequest { user, workdir, ..RunRequest::default() }, &image, "h") {
                Ok(p) => format!("{} {}", p.user, p.cwd),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expected);
        };
        check(("", ""), ("", ""), " ");
        check(("app", "/srv"), ("", ""), "app /srv");
        check(("app", "/srv"), ("0:0", "/tmp"), "0:0 /tmp");
        check(("app", "/srv"), ("", "tmp"), "the working directory `tmp` is not an absolute path");
    }

    #[test]
    fn mounts_are_put_in_order() {
        let check = |asked: &[(&str, &str)], expected: &str| {
            let bind =
                |(s, t): &(&str, &str)| BindMount { source: s.into(), target: t.into(), readonly: false };
            let told = match mounts(&Vec::from_iter(asked.iter().map(bind))) {
                Ok(mounts) => {
                    let told = mounts.iter().map(|m| format!("{} at {}", m.source, m.target.display()));
                    Vec::from_iter(told).join(", ")
                }
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expected);
        };
        check(&[], "");
        check(&[("/a", "/x/y"), ("/b", "/x")], "`/b` at /x, `/a` at /x/y");
        check(&[("/a", "/x"), ("/b", "//x/./")], "two mounts at `/x`");
        check(&[("/a", "/")], "a mount cannot take the place of `/`");
        check(&[("a", "/x")], "mount `/x`: both paths must be absolute");
        check(&[("/a", "x")], "mount `x`: both paths must be absolute");
    }
}
