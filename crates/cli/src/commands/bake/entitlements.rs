//! What bake files may do with this machine: who runs them need not have written them.

use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::path::{Component, Path, PathBuf};

use errdefs::{Error, Result, ResultExt as _};
use tokio_util::sync::CancellationToken;

use crate::console;
use crate::environment::Environment;
use crate::flags::{fields, parse_bool};
use crate::inputs::{TARGET, is_git, is_http};
use crate::job::until;
use crate::outputs::resolve;
use crate::settings::{BuildSettings, Destination, ProgressMode};

const LOCAL_DELETE: &str = "buildx.local.delete";
/// Switches the questions for paths and agents off.
const FS_CHECKS: &str = "BUILDX_BAKE_ENTITLEMENTS_FS";
/// The same for files of the web.
const REMOTE_FS: &str = "BAKE_ALLOW_REMOTE_FS_ACCESS";

/// What is granted, or what is wanted beyond that.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rights {
    network_host: bool,
    insecure: bool,
    all_devices: bool,
    devices: BTreeSet<String>,
    ssh: bool,
    pub local_delete: bool,
    /// Resolved, and all that lies below.
    read: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
    read_all: bool,
    write_all: bool,
}

impl Rights {
    /// Those of `--allow`, and the working directory.
    pub(super) fn granted(allow: &[String], env: &Environment) -> Result<Self> {
        let mut rights = Rights::default();
        rights.add_path(".", true, true, env)?;
        for flag in allow.iter().filter(|flag| !flag.is_empty()) {
            let (key, value) = flag.split_once('=').map_or((flag.as_str(), None), |(k, v)| (k, Some(v)));
            let path = value.unwrap_or_default();
            match (key, value) {
                ("network.host", None) => rights.network_host = true,
                ("security.insecure", None) => rights.insecure = true,
                ("ssh", None) => rights.ssh = true,
                (LOCAL_DELETE, None) => rights.local_delete = true,
                (LOCAL_DELETE, Some(_)) => {
                    return Err(Error::user(format!("{LOCAL_DELETE} does not accept a value")));
                }
                ("device", None | Some("")) => rights.all_devices = true,
                ("device", Some(device)) => _ = rights.devices.insert(device_name(device)?),
                ("fs.read", _) => rights.add_path(path, true, false, env)?,
                ("fs.write", _) => rights.add_path(path, false, true, env)?,
                ("fs", _) => rights.add_path(path, true, true, env)?,
                // Known to buildx, which asks nobody for them.
                ("image" | "image.push" | "image.load", _) => {}
                _ => {
                    return Err(Error::user(format!("unknown entitlement key {key:?}")).hint(
                        "known are network.host, security.insecure, device[=NAME], ssh, fs[.read|.write]=PATH and \
                         buildx.local.delete",
                    ));
                }
            }
        }
        Ok(rights)
    }

    fn add_path(&mut self, path: &str, read: bool, write: bool, env: &Environment) -> Result<()> {
        if path == "*" {
            self.read_all |= read;
            self.write_all |= write;
            return Ok(());
        }
        let path = evaluate(Path::new(path), env)?;
        if read {
            self.read.insert(path.clone());
        }
        if write {
            self.write.insert(path);
        }
        Ok(())
    }

    /// Adds to `wanted` what a build asks for and does not have here.
    pub(super) fn miss(&self, build: &BuildSettings, wanted: &mut Rights, env: &Environment) -> Result<()> {
        for entitlement in &build.frontend.entitlements {
            match entitlement.split_once('=').unwrap_or((entitlement, "")) {
                ("network.host", _) => wanted.network_host |= !self.network_host,
                ("security.insecure", _) => wanted.insecure |= !self.insecure,
                ("device", "") => wanted.all_devices |= !self.all_devices,
                ("device", device) => {
                    let device = device_name(device)?;
                    if !self.all_devices && !self.devices.contains(&device) {
                        wanted.devices.insert(device);
                    }
                }
                _ => {}
            }
        }
        wanted.ssh |= !self.ssh && build.ssh.iter().any(|agent| agent.paths.is_empty());
        let mirrors = |dest: &Destination| matches!(dest, Destination::Dir { mirror: true, .. });
        wanted.local_delete |= !self.local_delete && build.outputs.iter().any(|o| mirrors(&o.dest));
        let missing =
            |paths: Vec<PathBuf>, known: &BTreeSet<PathBuf>, all: bool, wanted: &mut BTreeSet<_>| {
                for path in paths {
                    let path = evaluate(&path, env)?;
                    if !all && !known.iter().any(|known| path.starts_with(known)) {
                        wanted.insert(path);
                    }
                }
                Ok(())
            };
        missing(reads(build), &self.read, self.read_all, &mut wanted.read)?;
        missing(writes(build), &self.write, self.write_all, &mut wanted.write)
    }

    /// What is asked for beside files and agents: for a reader, and as flags.
    fn told(&self) -> Vec<(String, String)> {
        let mut out = Vec::new();
        let mut tell = |text: &str, flag: &str| out.push((text.to_owned(), flag.to_owned()));
        if self.network_host {
            tell("Running build containers that can access host network", "network.host");
        }
        if self.insecure {
            tell("Running privileged containers that can make system changes", "security.insecure");
        }
        match self.all_devices {
            true => tell("Access to CDI devices", "device"),
            false => self
                .devices
                .iter()
                .for_each(|name| tell(&format!("Access to device {name}"), &format!("device={name}"))),
        }
        if self.local_delete {
            tell("Deleting stale files from local output destinations", LOCAL_DELETE);
        }
        out
    }

    /// Files and agents.
    fn told_files(&self, env: &Environment) -> Vec<(String, String)> {
        let mut out = Vec::new();
        if self.ssh {
            out.push(("Forwarding default SSH agent socket".to_owned(), "ssh".to_owned()));
        }
        let (read, write) = (topmost(&self.read), topmost(&self.write));
        let both = read.intersection(&write).map(|path| ("Read and write", "fs", path));
        let read_only = read.difference(&write).map(|path| ("Read", "fs.read", path));
        let write_only = write.difference(&read).map(|path| ("Write", "fs.write", path));
        out.extend(both.chain(read_only).chain(write_only).map(|(what, key, path)| {
            let path = from_here(path, env);
            (format!("{what} access to path {path}"), format!("{key}={path}"))
        }));
        out
    }

    /// Asks the user for what is wanted beyond what is granted.
    ///
    /// # Errors
    /// It is not granted, or there is no terminal to ask at.
    pub(super) async fn ask(
        &self,
        mode: ProgressMode,
        is_remote: bool,
        env: &Environment,
        cancel: &CancellationToken,
    ) -> Result<()> {
        // Programs read this; they cannot answer. What they may lose are files.
        if mode == ProgressMode::RawJson {
            let flag = format!("--allow={LOCAL_DELETE}");
            return match self.local_delete {
                true => Err(Error::user(format!(
                    "additional privileges requested: pass {flag:?} to grant requested privileges"
                ))),
                false => Ok(()),
            };
        }
        let (first, files) = (self.told(), self.told_files(env));
        let counts = files_count(is_remote, env)?;
        if first.is_empty() && files.is_empty() {
            return Ok(());
        }
        let all: Vec<_> = first.iter().chain(&files).collect();
        let flags: Vec<_> = all.iter().map(|(_, flag)| format!("--allow={flag}")).collect();
        let flags = flags.join(" ");
        let mut text = String::from(
            "Your build is requesting privileges for following possibly insecure capabilities:\n\n",
        );
        all.iter().for_each(|(what, _)| text.push_str(&format!(" - {what}\n")));
        text.push_str(&match env.stdin_is_terminal {
            true => format!(
                "\nIn order to not see this message in the future pass {flags:?} to grant requested privileges.\n"
            ),
            false => format!("\nPass {flags:?} to grant requested privileges.\n"),
        });
        if let Some(command) = with_flags(std::env::args().collect(), &flags, env) {
            text.push_str(&format!("\nYour full command with requested privileges:\n\n{command}\n\n"));
        }
        let is_settled = !counts && first.is_empty();
        if !is_settled && counts && env.get(FS_CHECKS).is_none() && !files.is_empty() {
            text.push_str(&format!(
                "To disable filesystem entitlements checks, you can set {FS_CHECKS}=0 .\n\n"
            ));
        }
        console::note(text);
        match is_settled || (env.stdin_is_terminal && yes(cancel).await?) {
            true => Ok(()),
            false => Err(Error::user("additional privileges requested")),
        }
    }
}

/// Whether files and agents have to be granted.
fn files_count(is_remote: bool, env: &Environment) -> Result<bool> {
    let switch = |name: &str| {
        let parse = |text: &str| {
            parse_bool(text).ok_or_else(|| Error::user(format!("failed to parse {name} value {text:?}")))
        };
        env.get(name).map(parse).transpose()
    };
    let remote = if is_remote { switch(REMOTE_FS)?.map(|allowed| !allowed) } else { None };
    Ok(switch(FS_CHECKS)?.or(remote).unwrap_or(true))
}

/// The command line, with more flags behind the word `bake`.
fn with_flags(mut args: Vec<String>, flags: &str, env: &Environment) -> Option<String> {
    if let (Some(own), Some(docker)) =
        (args.first_mut(), env.filled("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"))
    {
        docker.clone_into(own);
    }
    let at = args.iter().position(|word| word == "bake")?;
    args.insert(at + 1, flags.to_owned());
    Some(args.join(" "))
}

async fn yes(cancel: &CancellationToken) -> Result<bool> {
    console::note("Do you want to grant requested privileges and continue? [y/N] ");
    // A signal does not end a read.
    let read = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    let answer = until(cancel, async { read.await.map_err(|e| Error::internal(e.to_string())) }).await?;
    let answer = answer.context("failed to read the answer")?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

/// Paths of this machine that a build reads.
fn reads(build: &BuildSettings) -> Vec<PathBuf> {
    let local = |text: &str| {
        let elsewhere = [TARGET, "docker-image:"].iter().any(|prefix| text.starts_with(prefix));
        let text = text.strip_prefix("oci-layout://").map_or(text, layout_folder);
        (!elsewhere && !is_git(text) && !is_http(text)).then(|| PathBuf::from(text))
    };
    let has_folder = !build.graphs.contains_key("context") && local(&build.context).is_some();
    let context = has_folder.then(|| PathBuf::from(&build.context));
    let file = build.dockerfile.as_deref().and_then(local);
    let file = file.filter(|file| (has_folder || file.is_absolute()) && build.dockerfile_text.is_none());
    let contexts = build.contexts.iter().filter(|(name, _)| !build.graphs.contains_key(*name));
    let contexts = contexts.filter_map(|(_, source)| local(source));
    let caches = build.caches.from.iter().filter(|c| c.kind == "local");
    let caches = caches.filter_map(|c| c.attrs.get("src").map(PathBuf::from));
    let secrets = build.secrets.iter().filter(|s| s.env.is_none());
    let secrets = secrets.filter_map(|s| s.path.as_ref().map(PathBuf::from));
    let keys = build.ssh.iter().flat_map(|agent| &agent.paths).map(PathBuf::from);
    context.into_iter().chain(file).chain(contexts).chain(caches).chain(secrets).chain(keys).collect()
}

/// The folder of `DIR[:TAG][@DIGEST]`.
fn layout_folder(reference: &str) -> &str {
    let folder = reference.split_once('@').map_or(reference, |(folder, _)| folder);
    match folder.rsplit_once(':') {
        Some((folder, tag)) if !tag.contains('/') => folder,
        _ => folder,
    }
}

/// And those that it writes to.
fn writes(build: &BuildSettings) -> Vec<PathBuf> {
    let outputs = build.outputs.iter().filter_map(|o| match &o.dest {
        Destination::File(path) | Destination::Layout(path) | Destination::Dir { path, .. } => {
            Some(path.clone())
        }
        Destination::Engine
        | Destination::Stdout
        | Destination::Docker { .. }
        | Destination::Containerd(_) => None,
    });
    let caches = build.caches.to.iter().filter(|c| c.kind == "local");
    outputs.chain(caches.filter_map(|c| c.attrs.get("dest").map(PathBuf::from))).collect()
}

/// The name in `NAME[,KEY=VALUE]`.
fn device_name(text: &str) -> Result<String> {
    let fields = fields(text).with_context(|| format!("failed to parse device entitlement {text:?}"))?;
    Ok(fields.into_iter().next().unwrap_or_default())
}

/// A path with all links in it followed, as far as it is there.
fn evaluate(path: &Path, env: &Environment) -> Result<PathBuf> {
    resolve(&env.cwd.join(path))
        .with_context(|| format!("failed to evaluate path {:?}", path.display().to_string()))
}

/// Without those that lie in others.
fn topmost(paths: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let is_top = |path: &&PathBuf| !path.ancestors().skip(1).any(|above| paths.contains(above));
    paths.iter().filter(is_top).cloned().collect()
}

/// A path as it is short to write: one step up from the working directory at most.
fn from_here(path: &Path, env: &Environment) -> String {
    let here = env.cwd.canonicalize().unwrap_or_else(|_| env.cwd.clone());
    if let Ok(below) = path.strip_prefix(&here) {
        return below.display().to_string();
    }
    let above = here.parent().and_then(|above| path.strip_prefix(above).ok());
    match above {
        Some(rest) => Component::ParentDir.as_os_str().display().to_string() + &slashed(rest),
        None => path.display().to_string(),
    }
}

fn slashed(rest: &Path) -> String {
    if rest.as_os_str().is_empty() { String::new() } else { format!("/{}", rest.display()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::BuildArgs;

    /// What a build misses in a folder `here`, beside which are `other` and `link`, which leads to it.
    fn missed(allow: &[&str], build: BuildArgs) -> String {
        let top = tempfile::tempdir().expect("a folder");
        for dir in ["here", "other"] {
            std::fs::create_dir(top.path().join(dir)).expect("made");
        }
        std::os::unix::fs::symlink("../other", top.path().join("here/link")).expect("linked");
        let mut env = Environment::of(&[]);
        env.cwd = top.path().join("here");
        let allow: Vec<_> = allow.iter().map(|flag| (*flag).to_owned()).collect();
        let missed = || -> Result<Rights> {
            let settings = BuildSettings::new(&build, &env, &Default::default())?;
            let mut wanted = Rights::default();
            Rights::granted(&allow, &env)?.miss(&settings, &mut wanted, &env)?;
            Ok(wanted)
        };
        match missed() {
            Ok(wanted) => {
                let all = [wanted.told(), wanted.told_files(&env)].concat();
                let flags: std::collections::BTreeSet<_> = all.into_iter().map(|(_, flag)| flag).collect();
                flags.into_iter().collect::<Vec<_>>().join(" ")
            }
            Err(e) => format!("ERROR: {e}"),
        }
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn paths_outside_are_missed() {
        let check = |context: &str, contexts: &[&str], outputs: &[&str], expect: &str| {
            let (build_contexts, outputs) = (texts(contexts), texts(outputs));
            let build =
                BuildArgs { context: context.into(), build_contexts, outputs, ..BuildArgs::default() };
            assert_eq!(missed(&[], build), expect, "{context} {contexts:?}");
        };
        check(".", &[], &["out"], "");
        check("../other", &[], &[], "fs.read=../other");
        check("link", &[], &["link/out"], "fs.read=../other fs.write=../other/out");
        check("https://h/x.git", &["a=docker-image://x", "b=target:b"], &["type=image"], "");
        check(".", &["a=..", "b=../other"], &["type=oci,dest=../x.tar"], "fs.read=.. fs.write=../x.tar");
        check(".", &["a=oci-layout:///nowhere/l:tag"], &["-"], "fs.read=/nowhere/l");
        check("..", &[], &[".."], "fs=..");
        check(".", &[], &["type=local,dest=out,mode=delete"], "buildx.local.delete");
    }

    #[test]
    fn what_is_granted_is_not_missed() {
        let check = |allow: &[&str], expect: &str| {
            let build = BuildArgs {
                context: "../other".into(),
                outputs: texts(&["../out"]),
                secrets: texts(&["id=a,src=/secret", "id=b,env=B"]),
                ssh: texts(&["default", "k=/key"]),
                allow: texts(&["network.host", "security.insecure", "device=v/c=x,alias=y"]),
                cache_from: texts(&["type=local,src=/from"]),
                cache_to: texts(&["type=local,dest=/to"]),
                ..BuildArgs::default()
            };
            assert_eq!(missed(allow, build), expect, "{allow:?}");
        };
        check(
            &[],
            "device=v/c=x fs.read=../other fs.read=/from fs.read=/key fs.read=/secret fs.write=../out fs.write=/to \
             network.host security.insecure ssh",
        );
        check(
            &["network.host", "device=v/c=x", "ssh", "fs.read=/", "fs.write=../out", "fs.write=/to/there"],
            "fs.write=/to security.insecure",
        );
        check(&["security.insecure", "network.host", "device", "ssh", "fs=*"], "");
        check(&["buildx.local.delete=x"], "ERROR: buildx.local.delete does not accept a value");
        check(&["fs.what=x"], "ERROR: unknown entitlement key \"fs.what\"");
    }
}
