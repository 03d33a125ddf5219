//! The exec op (`pb.ExecOp`). The `Serialize` forms are those of BuildKit's JSON, on which its cache keys stand.

use serde::Serialize;

use crate::op::{is_false, is_zero};

/// Runs one process on mounts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ExecOp {
    pub meta: Meta,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "NetMode::is_default")]
    pub network: NetMode,
    #[serde(skip_serializing_if = "SecurityMode::is_default")]
    pub security: SecurityMode,
    #[serde(rename = "secretenv", skip_serializing_if = "Vec::is_empty")]
    pub secret_env: Vec<SecretEnv>,
    #[serde(rename = "cdiDevices", skip_serializing_if = "Vec::is_empty")]
    pub cdi_devices: Vec<CdiDevice>,
    /// The network is reached through a proxy of the engine. It says so itself of the graphs of a build; nobody else
    /// knows the field.
    #[serde(skip)]
    pub proxied: bool,
}

/// What the process is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Meta {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cwd: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_env: Option<ProxyEnv>,
    #[serde(rename = "extraHosts", skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<HostIp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ulimit: Vec<Ulimit>,
    #[serde(rename = "cgroupParent", skip_serializing_if = "String::is_empty")]
    pub cgroup_parent: String,
    #[serde(rename = "removeMountStubsRecursive", skip_serializing_if = "is_false")]
    pub remove_mount_stubs_recursive: bool,
    #[serde(rename = "validExitCodes", skip_serializing_if = "Vec::is_empty")]
    pub valid_exit_codes: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ProxyEnv {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub http_proxy: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub https_proxy: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ftp_proxy: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub no_proxy: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub all_proxy: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HostIp {
    #[serde(rename = "Host", skip_serializing_if = "String::is_empty")]
    pub host: String,
    #[serde(rename = "IP", skip_serializing_if = "String::is_empty")]
    pub ip: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Ulimit {
    #[serde(rename = "Name", skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(rename = "Soft", skip_serializing_if = "is_zero")]
    pub soft: i64,
    #[serde(rename = "Hard", skip_serializing_if = "is_zero")]
    pub hard: i64,
}

/// A secret handed to the process as an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SecretEnv {
    #[serde(rename = "ID", skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CdiDevice {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// A mount of an exec op. `input` and `output` are indexes, or [`crate::NONE`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Mount {
    #[serde(skip_serializing_if = "is_zero")]
    pub input: i64,
    /// Path inside the input.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dest: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub output: i64,
    #[serde(skip_serializing_if = "is_false")]
    pub readonly: bool,
    #[serde(rename = "mountType", skip_serializing_if = "MountType::is_default")]
    pub mount_type: MountType,
    #[serde(rename = "TmpfsOpt", skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<TmpfsOpt>,
    #[serde(rename = "cacheOpt", skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheOpt>,
    #[serde(rename = "secretOpt", skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretOpt>,
    #[serde(rename = "SSHOpt", skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshOpt>,
    #[serde(rename = "resultID", skip_serializing_if = "String::is_empty")]
    pub result_id: String,
    #[serde(rename = "contentCache", skip_serializing_if = "ContentCache::is_default")]
    pub content_cache: ContentCache,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TmpfsOpt {
    /// Bytes; 0 leaves it to the kernel.
    #[serde(skip_serializing_if = "is_zero")]
    pub size: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CacheOpt {
    #[serde(rename = "ID", skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(skip_serializing_if = "CacheSharing::is_default")]
    pub sharing: CacheSharing,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SecretOpt {
    #[serde(rename = "ID", skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub uid: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub gid: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: u32,
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SshOpt {
    #[serde(rename = "ID", skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub uid: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub gid: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: u32,
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// An enum that travels as a number and stands in JSON as one.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[repr(i32)]
        pub enum $name {
            #[default]
            $($(#[$vdoc])* $variant = $number),+
        }

        impl $name {
            pub(crate) fn from_wire(number: i32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)+
                    _ => None,
                }
            }

            fn is_default(&self) -> bool {
                *self == Self::default()
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_i32(*self as i32)
            }
        }
    };
}

wire_enum!(
    /// The network that a process sees. `Unset` is the engine's default.
    NetMode { Unset = 0, Host = 1, None = 2 }
);
wire_enum!(
    /// `Insecure` lifts the sandbox and needs an entitlement.
    SecurityMode { Sandbox = 0, Insecure = 1 }
);
wire_enum!(
    /// What is mounted.
    MountType { Bind = 0, Secret = 1, Ssh = 2, Cache = 3, Tmpfs = 4 }
);
wire_enum!(
    /// Who may use a cache mount at the same time.
    CacheSharing {
        /// Anybody.
        Shared = 0,
        /// Each writer its own.
        Private = 1,
        /// One after the other.
        Locked = 2,
    }
);
wire_enum!(
    /// Whether the content of an input decides its key.
    ContentCache { Default = 0, On = 1, Off = 2 }
);
