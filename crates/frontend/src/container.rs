//! Containers that a frontend asks for: to try a result, to look into a step that failed, or to run another frontend.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Code, Detail, Error, Result};
use llb::{HostIp, Mount, NetMode, SecretEnv, SecurityMode};
use oci::Platform;

use crate::{FileInfo, FileRange, Ref};

/// What all processes of a container share.
#[derive(Debug, Clone, Default)]
pub struct ContainerRequest {
    /// One of them is at `/`.
    pub mounts: Vec<ContainerMount>,
    /// Files in memory that root can read, by absolute path.
    pub files: BTreeMap<String, Bytes>,
    pub network: NetMode,
    /// Empty for the usual one.
    pub hostname: String,
    pub extra_hosts: Vec<HostIp>,
    /// None: that of the engine.
    pub platform: Option<Platform>,
}

/// A mount, and what it shows. Its `input`, `output` and `result_id` do not count.
#[derive(Debug, Clone, Default)]
pub struct ContainerMount {
    pub mount: Mount,
    /// None: nothing.
    pub input: Option<Ref>,
}

/// A process of a container.
#[derive(Debug, Clone, Default)]
pub struct ProcessRequest {
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub secret_env: Vec<SecretEnv>,
    /// Empty: `/`.
    pub cwd: String,
    /// Empty: root, or in a container that runs the user of its first process.
    pub user: String,
    /// A terminal becomes stdin, stdout and stderr.
    pub tty: bool,
    /// Counts for the first process, and holds for all.
    pub security: SecurityMode,
    pub remove_mount_stubs_recursive: bool,
}

/// Where the input of a process comes from.
#[derive(Debug, Default)]
pub enum Input {
    #[default]
    None,
    /// Is handed to the process as it is.
    Given(OwnedFd),
    /// What is written to [`Started::stdin`].
    Written,
}

/// Standard streams of a process.
pub struct ProcessIo {
    pub stdin: Input,
    /// Is handed to the process as it is; `output` then hears of its stderr alone.
    pub stdout: Option<OwnedFd>,
    /// Is given each piece of output, with 1 for stdout and the terminal, 2 for stderr. May block, which stops the
    /// process.
    pub output: Box<dyn FnMut(u32, Bytes) + Send>,
}

/// A process that was started.
pub struct Started {
    pub process: Arc<dyn Process>,
    /// There for [`Input::Written`].
    pub stdin: Option<Box<dyn Stdin>>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessExit {
    /// 128 and the number of the signal when a signal ended it.
    pub code: u32,
    /// It was ended because its container is released.
    pub released: bool,
}

impl ProcessExit {
    /// What an end means that is no success.
    pub fn into_error(self) -> Option<Error> {
        let ProcessExit { code, released } = self;
        if code == 0 && !released {
            return None;
        }
        let error = Error::user(format!("exit code: {code}")).with_code(Code::Unknown);
        let error = if released { Error::canceled().context(error) } else { error };
        Some(error.with_detail(Detail::Exit { code, signal: None, oom: false }))
    }
}

/// A container. Several processes may run in it; the first is its pid 1, and all end with it.
#[async_trait]
pub trait Container: Send + Sync {
    async fn start(&self, process: ProcessRequest, io: ProcessIo) -> Result<Started>;

    /// Reads what the mount of this index shows, the path taken from its root.
    async fn read_file(&self, mount: usize, path: &str, range: Option<FileRange>) -> Result<Bytes>;

    async fn read_dir(&self, mount: usize, path: &str, include: &str) -> Result<Vec<FileInfo>>;

    async fn stat_file(&self, mount: usize, path: &str) -> Result<FileInfo>;

    /// Kills what runs, and removes what it left.
    ///
    /// # Errors
    /// That of the first process which did not end well, as one that was killed did not. The container is gone then too.
    async fn release(&self) -> Result<()>;
}

#[async_trait]
pub trait Process: Send + Sync {
    fn signal(&self, signal: i32);

    /// Sets the size of the terminal, if there is one.
    fn resize(&self, rows: u16, cols: u16);

    /// Waits for the end. All output was handed out before.
    async fn wait(&self) -> Result<ProcessExit>;
}

/// Takes the input of a process. Dropping it is the end of the input.
#[async_trait]
pub trait Stdin: Send {
    /// False when nobody reads it any more.
    async fn write_all(&mut self, bytes: &[u8]) -> bool;
}
