//! One plugin, once.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use errdefs::{Error, Result, ResultExt as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// Where distributions put plugins, after the place that the specification's authors use.
const FOLDERS: [&str; 3] = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];
/// What the names of plugins begin with that come with BuildKit. They are in PATH, not in a folder of plugins.
const BUILDKIT: &str = "buildkit-cni-";
/// Where plugins find the programs that they need, whatever the engine was started with.
const SYSTEM: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A plugin that takes longer has lost its way: addresses by DHCP take seconds.
const LONGEST: Duration = Duration::from_secs(120);
/// The name of the interface inside.
const INTERFACE: &str = "eth0";

/// The folders that plugins are in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plugins(Vec<PathBuf>);

#[derive(Debug, Clone, Copy)]
pub enum Verb {
    Add,
    Del,
}

/// Whom it is done for.
pub struct Container<'a> {
    pub id: &'a str,
    /// Its namespace; None when that is gone.
    pub namespace: Option<&'a Path>,
    pub args: &'a str,
}

/// What a plugin says that failed.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Failure {
    msg: String,
    details: String,
}

impl Plugins {
    /// In a folder, or where they usually are.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Plugins(folder.map_or_else(|| FOLDERS.map(PathBuf::from).into(), |folder| vec![folder]))
    }

    /// What the names of the plugins begin with that a bridge needs: those of BuildKit count first.
    pub fn prefix_for_bridges() -> &'static str {
        let is_there = |name| Plugins(Vec::new()).find(&format!("{BUILDKIT}{name}")).is_ok();
        if ["bridge", "host-local", "firewall"].into_iter().all(is_there) { BUILDKIT } else { "" }
    }

    pub fn find(&self, name: &str) -> Result<PathBuf> {
        let path = std::env::var_os("PATH").filter(|_| name.starts_with(BUILDKIT)).unwrap_or_default();
        let path: Vec<_> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
        let places = self.0.iter().chain(&path).map(|folder| folder.join(name));
        places.clone().find(|path| path.is_file()).ok_or_else(|| {
            let places: Vec<_> = places.map(|path| format!("`{}`", path.display())).collect();
            Error::environment(format!("the CNI plugin `{name}` is missing: there is no {}", places.join(", no ")))
                .hint("install the CNI plugins, as Debian's package containernetworking-plugins, or say where they are")
        })
    }

    /// Runs a plugin; what it answers to [`Verb::Add`] is the network so far.
    pub async fn run(
        &self,
        name: &str,
        verb: Verb,
        container: &Container<'_>,
        config: &Value,
    ) -> Result<Value> {
        let word = match verb {
            Verb::Add => "ADD",
            Verb::Del => "DEL",
        };
        let run = self.start(name, word, container, config).await;
        run.with_context(|| format!("CNI plugin `{name}` failed to {word}"))
    }

    async fn start(
        &self,
        name: &str,
        word: &str,
        container: &Container<'_>,
        config: &Value,
    ) -> Result<Value> {
        let program = self.find(name)?;
        // Plugins start others, such as those that give addresses.
        let folders = self.0.iter().map(PathBuf::as_path).chain(program.parent());
        let folders = std::env::join_paths(folders)
            .map_err(|e| Error::user(format!("a folder of CNI plugins cannot be named: {e}")))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = Command::new(&program)
            .env("PATH", format!("{path}:{SYSTEM}").trim_start_matches(':'))
            .env("CNI_COMMAND", word)
            .env("CNI_CONTAINERID", container.id)
            .env("CNI_NETNS", container.namespace.unwrap_or(Path::new("")))
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_PATH", folders)
            .env("CNI_ARGS", container.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("it does not start")?;
        let end = async {
            if let Some(mut stdin) = child.stdin.take() {
                // One that does not read to the end says why by how it ends.
                let _ = stdin.write_all(config.to_string().as_bytes()).await;
            }
            child.wait_with_output().await
        };
        let late = |_| Error::environment(format!("it does not end within {} s", LONGEST.as_secs()));
        let output = timeout(LONGEST, end).await.map_err(late)?.context("it cannot be waited for")?;
        if !output.status.success() {
            let why = why(&output);
            let lacks_iptables = why.contains("iptables") && why.contains("not found");
            let error = Error::environment(why);
            return Err(if lacks_iptables { error.hint("install iptables") } else { error });
        }
        match output.stdout.trim_ascii() {
            [] => Ok(Value::Null),
            answer => serde_json::from_slice(answer)
                .map_err(|e| Error::environment(format!("its answer is no JSON: {e}"))),
        }
    }
}

/// From what the plugin says on stdout, as it should, or on stderr.
fn why(output: &std::process::Output) -> String {
    let told: Failure = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match (told.msg.as_str(), told.details.as_str(), stderr.as_str()) {
        ("", _, "") => output.status.to_string(),
        ("", _, stderr) => stderr.to_owned(),
        (msg, "", _) => msg.to_owned(),
        (msg, details, _) => format!("{msg}: {details}"),
    }
}
