//! Runs the `git` program, apart from the configuration of the machine and its users.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use errdefs::{Class, Code, Error, Result, ResultExt};
use progress::Step;
use tokio::process::Command;

use super::options::is_commit;

const DISCARD: &str = "/dev/null";
const PROXIES: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
];

/// How `git` is to be run.
#[derive(Clone)]
pub struct Git {
    pub step: Step,
    /// Options before the command, as `-c key=value`.
    pub options: Vec<String>,
    pub git_dir: Option<PathBuf>,
    pub work_tree: Option<PathBuf>,
    pub ssh_socket: Option<PathBuf>,
    pub known_hosts: Option<PathBuf>,
}

impl Git {
    pub fn new(step: Step) -> Self {
        Git { step, options: Vec::new(), git_dir: None, work_tree: None, ssh_socket: None, known_hosts: None }
    }

    /// The same for another repository.
    pub fn at(&self, git_dir: &Path, work_tree: Option<&Path>) -> Self {
        Git { git_dir: Some(git_dir.to_owned()), work_tree: work_tree.map(Path::to_owned), ..self.clone() }
    }

    /// Runs a command, and gives what it prints. Servers that cannot do what would save work are asked for more.
    pub async fn run(&self, args: &[&str]) -> Result<Vec<u8>> {
        let mut args = args.to_vec();
        loop {
            let output = self.once(&args).await?;
            if output.status.success() {
                return Ok(output.stdout);
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if (said.contains("--depth") || said.contains("shallow")) && args.contains(&"--depth=1") {
                args.retain(|a| *a != "--depth=1");
                continue;
            }
            if (said.contains("not our ref") || said.contains("unadvertised object"))
                && args.first() == Some(&"fetch")
                && args.len() > 2
                && args.last().is_some_and(|last| is_commit(last))
            {
                args.pop();
                continue;
            }
            let status = output.status;
            return Err(Error::new(Class::User, Code::Unknown, format!("git stderr:\n{said}: {status}")));
        }
    }

    /// The same for what prints one line.
    pub async fn line(&self, args: &[&str]) -> Result<String> {
        let out = self.run(args).await?;
        Ok(String::from_utf8_lossy(&out).trim().to_owned())
    }

    async fn once(&self, args: &[&str]) -> Result<std::process::Output> {
        let mut command = Command::new("git");
        // A repository must not have others of this machine as its submodules.
        command.args(["-c", "protocol.file.allow=user"]);
        if let Some(tree) = &self.work_tree {
            command.arg("--work-tree").arg(tree).current_dir(tree);
        }
        if let Some(dir) = &self.git_dir {
            command.arg("--git-dir").arg(dir);
        }
        command.args(&self.options).args(args).env_clear().envs(self.environment());
        command.stdin(Stdio::null()).kill_on_drop(true);
        // SAFETY: umask is async-signal-safe, and the closure touches nothing of the parent.
        unsafe {
            // Modes of files are those of the repository, whatever the engine was started with.
            command.pre_exec(|| {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
                Ok(())
            });
        }
        let output = command.output().await.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::environment("the program `git` is not on this machine")
                .hint("install git where the engine runs"),
            _ => Error::from(e),
        });
        let output = output.context("failed to run git")?;
        for (stream, text) in [(1, &output.stdout), (2, &output.stderr)] {
            if !text.is_empty() && !matches!(args.first(), Some(&"cat-file")) {
                self.step.log(stream, Bytes::copy_from_slice(text));
            }
        }
        Ok(output)
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut env = vec![
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()),
            ("GIT_TERMINAL_PROMPT".into(), "0".into()),
            ("GIT_SSH_COMMAND".into(), ssh(self.known_hosts.as_deref())),
            ("LC_ALL".into(), "C".into()),
            ("GIT_CONFIG_NOSYSTEM".into(), "1".into()),
            ("HOME".into(), DISCARD.into()),
            ("GIT_CONFIG_GLOBAL".into(), DISCARD.into()),
        ];
        env.extend(PROXIES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))));
        if let Some(socket) = &self.ssh_socket {
            env.push(("SSH_AUTH_SOCK".into(), socket.display().to_string()));
        }
        env
    }
}

/// The program that reaches servers over ssh, for a shell. Without known hosts all are trusted, and none is remembered:
/// what the machine's users know of hosts stays as it is.
fn ssh(known_hosts: Option<&Path>) -> String {
    let hosts = match known_hosts {
        // Quotes for the shell, and for ssh.
        Some(path) => format!("'UserKnownHostsFile=\"{}\"'", path.display()),
        None => format!("StrictHostKeyChecking=no -o UserKnownHostsFile={DISCARD} -o LogLevel=ERROR"),
    };
    format!("ssh -F {DISCARD} -o BatchMode=yes -o {hosts}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_knows_the_hosts_that_it_is_told_of() {
        let known = "ssh -F /dev/null -o BatchMode=yes -o 'UserKnownHostsFile=\"/a b/hosts\"'";
        assert_eq!(ssh(Some(Path::new("/a b/hosts"))), known);
        assert!(ssh(None).contains(" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "));
    }
}
