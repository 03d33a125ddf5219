//! What to run and in what: plain data, sent whole to the helper process.

use std::net::IpAddr;
use std::path::PathBuf;

use cdi::{Hook, NetDevice, Node as Device};
use fsutil::mount::Mount;
use serde::{Deserialize, Serialize};

/// The hostname of a step that names none.
pub const DEFAULT_HOSTNAME: &str = "buildkitsandbox";

/// One container: a root, what is mounted into it, and the process that runs as its first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// Names the container and its cgroup: one path component, unique among those that run.
    pub id: String,
    pub process: Process,
    /// The root file system; its target is `/`.
    pub root: Mount,
    /// Mounted in this order, after `/proc`, `/dev` and their like. A mount on the target of one of those replaces it,
    /// so a tmpfs on `/dev/shm` sets the size of the shared memory.
    pub mounts: Vec<Mount>,
    /// Empty: [`DEFAULT_HOSTNAME`].
    pub hostname: String,
    /// Names added to `/etc/hosts`.
    pub extra_hosts: Vec<HostIp>,
    pub network: Network,
    /// A network namespace of somebody else's, who keeps it until the container has ended. It takes the place of the one
    /// that `network` names.
    pub namespace: Option<PathBuf>,
    /// For programs that the processor cannot run.
    pub emulator: Option<Emulator>,
    /// A certificate in PEM, which the container trusts while it runs.
    pub trusted: Option<String>,
    /// Device nodes besides those that every container has; it may use what they stand for.
    pub devices: Vec<Device>,
    /// Programs that are run beside it, with the rights of the engine; those in it have its own.
    pub hooks: Vec<Hook>,
    /// Network interfaces of the machine that it has while it runs. It must have a network of its own.
    pub net_devices: Vec<NetDevice>,
    /// Every capability, no seccomp filter, writable sysfs and all devices (`--security=insecure`).
    pub insecure: bool,
    /// The step sees its root read-only. Mount points are made nevertheless.
    pub readonly_root: bool,
    /// Also removes the parents that were made for a mount point, when they are empty after the run.
    pub remove_stubs_recursive: bool,
    /// Empty: the executor's own. Not empty: the cgroup is `<parent>/buildkit/<id>`.
    pub cgroup_parent: String,
    pub resources: Resources,
    /// What it uses is measured while it runs, and told at its end.
    pub metered: bool,
}

/// An emulator that the kernel starts in this container alone, for programs of one architecture. The container is then
/// root of a user namespace with the ids of the host: it can neither make devices, nor raise its resource limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Emulator {
    /// A static program of the host.
    pub program: PathBuf,
    /// As platforms have it, `arm64`.
    pub architecture: String,
}

/// One process inside a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Process {
    /// The program and its arguments. A name without `/` is looked up in the `PATH` of `env`.
    pub args: Vec<String>,
    /// `NAME=value`. `HOME` is added from the container's `/etc/passwd` when missing.
    pub env: Vec<String>,
    /// Absolute; made, owned by the user, when missing. Empty: `/`.
    pub cwd: String,
    /// `name`, `uid`, `name:group`, ... as in `USER`; looked up inside the container. Empty: root.
    pub user: String,
    /// Groups besides those of the user.
    pub groups: Vec<u32>,
    /// A terminal of this size becomes stdin, stdout and stderr.
    pub tty: Option<WinSize>,
    pub ulimits: Vec<Ulimit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Network {
    /// BuildKit's default: that of the spec's namespace, or without one the host's. Loopback name servers are not used.
    #[default]
    Sandbox,
    /// The network of the host.
    Host,
    /// Nothing but `lo`.
    None,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIp {
    pub host: String,
    pub ip: IpAddr,
}

/// A resource limit: `name` as in `ulimit` options (`nofile`), -1 is "no limit".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

/// Limits by cgroup; zero or empty is "not set". Units as in the OCI runtime specification.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes.
    pub memory: i64,
    /// Bytes of memory and swap together; -1 for no limit.
    pub memory_swap: i64,
    /// Relative weight, 2 to 262144.
    pub cpu_shares: u64,
    /// Microseconds.
    pub cpu_period: u64,
    /// Microseconds of CPU time in each period; -1 for no limit.
    pub cpu_quota: i64,
    /// A list such as `0-2,7`.
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
}

impl Resources {
    pub fn is_empty(&self) -> bool {
        *self == Resources::default()
    }
}

/// Characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WinSize {
    pub rows: u16,
    pub cols: u16,
}

impl Spec {
    /// A container with `root` that runs `args` as root.
    pub fn new(
        id: impl Into<String>,
        root: Mount,
        args: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Spec {
            id: id.into(),
            process: Process { args: args.into_iter().map(Into::into).collect(), ..Process::default() },
            root,
            mounts: Vec::new(),
            hostname: String::new(),
            extra_hosts: Vec::new(),
            network: Network::default(),
            namespace: None,
            emulator: None,
            trusted: None,
            devices: Vec::new(),
            hooks: Vec::new(),
            net_devices: Vec::new(),
            insecure: false,
            readonly_root: false,
            remove_stubs_recursive: false,
            cgroup_parent: String::new(),
            resources: Resources::default(),
            metered: false,
        }
    }
}

/// How a container's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 and the number of the signal when a signal ended it. 127 or 126 when the program was not
    /// found or could not be executed.
    pub code: u32,
    pub signal: Option<i32>,
    /// The kernel killed a process of the container for lack of memory.
    pub oom: bool,
    /// The program was executed at all. When not, stderr says why (BuildKit on runc then tells exit code 1).
    pub started: bool,
}

impl Exit {
    pub fn success(&self) -> bool {
        self.code == 0
    }
}
