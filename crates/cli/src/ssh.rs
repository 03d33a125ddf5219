//! The ssh agents that a build may use.

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use errdefs::{Error, Result, ResultExt as _};
use session::Attachables;
use tempfile::TempDir;

use crate::environment::Environment;
use crate::flags::{DEFAULT_SSH, SshFlag};
use crate::inputs::is_scp;

/// How long an agent of our own may take to listen.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the agent of each id listens, and those that were started for keys.
#[derive(Default)]
pub(crate) struct Agents {
    sockets: BTreeMap<String, PathBuf>,
    started: Vec<KeyAgent>,
}

impl Agents {
    /// Those of a build of `context`: a repository that is reached over ssh has the default one.
    pub(crate) fn for_context(flags: &[SshFlag], context: &str, env: &Environment) -> Result<Self> {
        let mut flags = flags.to_vec();
        let is_ssh = context.starts_with("ssh://") || is_scp(context);
        if is_ssh && flags.iter().all(|f| f.id != DEFAULT_SSH) && env.filled("SSH_AUTH_SOCK").is_some() {
            flags.push(SshFlag { id: DEFAULT_SSH.to_owned(), paths: Vec::new() });
        }
        Self::open(&flags, env)
    }

    /// Offers the agents to the engine.
    pub(crate) fn offer(&self, attachables: Attachables) -> Attachables {
        self.sockets.iter().fold(attachables, |all, (id, socket)| all.ssh_agent(id, socket))
    }

    /// Finds the agents, and starts one for each set of keys.
    pub(crate) fn open(flags: &[SshFlag], env: &Environment) -> Result<Self> {
        let mut agents = Agents::default();
        for flag in flags {
            let paths: Vec<PathBuf> = flag.paths.iter().map(|path| env.cwd.join(path)).collect();
            let socket = match paths.as_slice() {
                [] => match env.filled("SSH_AUTH_SOCK") {
                    Some(socket) => env.cwd.join(socket),
                    None => {
                        return Err(Error::user(format!("invalid empty ssh agent socket for `{}`", flag.id))
                            .hint(
                                "start an agent (`eval $(ssh-agent); ssh-add`), so that SSH_AUTH_SOCK is set",
                            )
                            .hint(format!("or name a key: `--ssh {}=~/.ssh/id_ed25519`", flag.id)));
                    }
                },
                [one] if is_socket(one)? => one.clone(),
                keys => {
                    for key in keys {
                        if is_socket(key)? {
                            return Err(Error::user(format!(
                                "only a single socket is allowed for `{}`",
                                flag.id
                            )));
                        }
                    }
                    let agent = KeyAgent::start(keys)?;
                    let socket = agent.socket();
                    agents.started.push(agent);
                    socket
                }
            };
            agents.sockets.insert(flag.id.clone(), socket);
        }
        Ok(agents)
    }
}

fn is_socket(path: &Path) -> Result<bool> {
    let meta = path.metadata().with_context(|| format!("failed to open `{}`", path.display()))?;
    Ok(meta.file_type().is_socket())
}

/// An agent of OpenSSH that holds the keys of one build. It ends with this value.
struct KeyAgent {
    agent: Child,
    dir: TempDir,
}

impl KeyAgent {
    fn start(keys: &[PathBuf]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("kiln-ssh-").tempdir()?;
        let socket = dir.path().join("agent");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket).stdin(Stdio::null()).stdout(Stdio::null());
        let agent = command.spawn().map_err(|e| missing("ssh-agent", e))?;
        let mut started = KeyAgent { agent, dir };
        started.wait_until_it_listens()?;
        // It asks for passphrases at the terminal by itself.
        let added = Command::new("ssh-add").arg("-q").args(keys).env("SSH_AUTH_SOCK", &socket).output();
        let added = added.map_err(|e| missing("ssh-add", e))?;
        match added.status.success() {
            true => Ok(started),
            false => {
                let why = String::from_utf8_lossy(&added.stderr).trim().to_owned();
                Err(Error::user(format!("failed to read the ssh key: {why}")))
            }
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("agent")
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let socket = self.socket();
        let begin = Instant::now();
        while !listens(&socket) {
            if let Some(status) = self.agent.try_wait()? {
                return Err(Error::environment(format!("ssh-agent ended at its start: {status}")));
            }
            if begin.elapsed() > PATIENCE {
                return Err(Error::environment("ssh-agent does not start"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        // One that is gone already cannot be ended again.
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

/// Its file alone says little: an agent has it before it accepts connections.
fn listens(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

fn missing(program: &str, e: std::io::Error) -> Error {
    Error::from(e).context(format_args!("failed to run `{program}`")).hint(
        "keys are held by OpenSSH's agent: install it (Debian: openssh-client), or name an agent's socket",
    )
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};

    use super::*;

    #[test]
    fn an_agent_whose_socket_is_there_may_not_listen_yet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent");
        assert!(!listens(&path));
        let agent = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&agent, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        assert!(path.exists() && !listens(&path));
        listen(&agent, 1).unwrap();
        assert!(listens(&path));
    }
}
