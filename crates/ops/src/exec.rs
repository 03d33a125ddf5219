//! Runs one process on mounts.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use cdi::{Devices, Edits, Wanted};
use errdefs::{Class, Code, Detail, Error, Result, ResultExt};
use executor::emulation::Emulation;
use executor::{Exit, Io, Network, Process, Resources, Spec};
use llb::{CdiDevice, HostIp, LinuxResources, Mount, MountType, NetMode, SecretEnv, SecurityMode};
use meter::Usage;
use network::{Attached, Judge, Needs, Traffic};
use oci::Platform;
use solver::{CacheMap, CacheMapPart, ContentKey, Dep, Op, OpContext, ParallelClass};

use crate::content::{ContentHash, Selector, dedupe_paths};
use crate::domain::{BuildContext, BuildDomain, Failure, Value, any_session};
use crate::judge::AllBuilds;
use crate::key;
use crate::mounts::{self, Prepared, Purpose};
use crate::tail::Tail;
use crate::vertex::Ops;

/// The `PATH` of a step that sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const WINDOWS_PATH: &str = r"c:\Windows\System32;c:\Windows;C:\Windows\System32\WindowsPowerShell\v1.0";

pub struct ExecOp {
    ops: Ops,
    op: llb::ExecOp,
    platform: Platform,
    inputs: usize,
    name: String,
    resources: Option<LinuxResources>,
    seen: Mutex<Seen>,
}

/// What was seen of a step when it last ran.
#[derive(Default)]
struct Seen {
    /// What it fetched, if that was through a proxy.
    traffic: Option<Traffic>,
    /// What it used, if a build asked for that before it ran.
    usage: Option<Usage>,
}

impl ExecOp {
    pub fn new(
        ops: Ops,
        op: llb::ExecOp,
        platform: Platform,
        inputs: usize,
        name: String,
        resources: Option<LinuxResources>,
    ) -> Self {
        ExecOp { ops, op, platform, inputs, name, resources, seen: Mutex::default() }
    }

    /// How each input counts: the paths that are mounted of it, and whether its content decides.
    fn deps(&self) -> Result<Vec<Dep<BuildDomain>>> {
        let mut paths: Vec<Vec<String>> = vec![Vec::new(); self.inputs];
        let mut by_content = vec![false; self.inputs];
        for mount in &self.op.mounts {
            if matches!(mount.mount_type, MountType::Secret | MountType::Ssh | MountType::Tmpfs) {
                continue;
            }
            let Ok(input) = usize::try_from(mount.input) else { continue };
            let path = clean(&mount.selector);
            by_content[input] = content_decides(mount, &path)?;
            paths[input].push(path);
        }
        let deps = paths.into_iter().zip(by_content).enumerate().map(|(input, (paths, by_content))| {
            let selector = key::exec_selector(&paths);
            let content = by_content
                .then(|| Arc::new(ContentHash::new(input, selectors(paths))) as Arc<dyn ContentKey<_>>);
            Dep { selector, content }
        });
        Ok(deps.collect())
    }

    async fn run(&self, cx: &OpContext<BuildDomain>, prepared: &Prepared) -> Result<Exit> {
        let attached = cx.while_wanted(self.attach(cx)).await?;
        let emulation = Emulation::of(&self.platform);
        let mut spec = self.spec(cx, prepared, &attached).await?;
        emulation.equip(&mut spec, &self.platform);
        let tail = Tail::default();
        let output = {
            let (step, tail) = (cx.step.clone(), tail.clone());
            move |stream: executor::Stream, data: bytes::Bytes| {
                tail.push(&data);
                step.log(stream.fd(), data);
            }
        };
        let executor = &self.ops.parts().executor;
        let run = executor.run_metered(spec, Io::new(output), cx.cancel.clone());
        let result = match emulation.name() {
            Some(emulator) => cx.step.emulated(&self.platform.to_string(), &emulator, run).await,
            None => run.await,
        };
        if let Some(traffic) = attached.detach().await {
            if let Some(told) = traffic.told() {
                cx.step.log(executor::Stream::Stderr.fd(), told.into());
            }
            self.seen().traffic = Some(traffic);
        }
        let (exit, usage) = result.with_context(|| self.failure())?;
        self.seen().usage = usage;
        if self.accepts(exit) {
            return Ok(exit);
        }
        Err(self.exit_error(exit, &tail, &emulation))
    }

    async fn attach(&self, cx: &OpContext<BuildDomain>) -> Result<Attached> {
        let judge = self.op.proxied.then(|| Arc::new(AllBuilds(cx.jobs())) as Arc<dyn Judge>);
        let needs = Needs {
            network: network(self.op.network),
            hostname: &self.op.meta.hostname,
            privileged: self.op.security == SecurityMode::Insecure,
            judge,
        };
        self.ops.parts().networks.attach(needs).await.context("failed to set up the network")
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is there after a failure for all builds that want this step.
    async fn keep(&self, cx: &OpContext<BuildDomain>, prepared: Prepared, inputs: Vec<Value>) {
        let mounts = prepared.leave().await.unwrap_or_else(|e| {
            tracing::warn!(vertex = %cx.vertex, "what a failed step has left is lost: {e}");
            Vec::new()
        });
        let of_mount =
            |m: &Mount| usize::try_from(m.input).ok().and_then(|i| inputs.get(i)).cloned().flatten();
        let inputs = self.op.mounts.iter().map(of_mount).collect();
        Failure { inputs, mounts, subject: None }.tell(cx);
    }

    fn accepts(&self, exit: Exit) -> bool {
        let valid = &self.op.meta.valid_exit_codes;
        if valid.is_empty() { exit.success() } else { valid.iter().any(|&c| c as u32 == exit.code) }
    }

    fn failure(&self) -> String {
        format!("process {:?} did not complete successfully", self.op.meta.args.join(" "))
    }

    fn exit_error(&self, exit: Exit, tail: &Tail, emulation: &Emulation) -> Error {
        let cause = if exit.oom {
            format!("exit code: {}: out of memory", exit.code)
        } else {
            format!("exit code: {}", exit.code)
        };
        let mut error = Error::new(Class::User, Code::Unknown, format!("{}: {cause}", self.failure()))
            .with_detail(Detail::Output { lines: tail.lines() })
            .with_detail(Detail::Exit { code: exit.code, signal: exit.signal, oom: exit.oom });
        for hint in hints(exit, &tail.lines(), &self.platform, emulation) {
            error = error.hint(hint);
        }
        error
    }

    async fn devices(&self) -> Result<Given> {
        if self.op.cdi_devices.is_empty() {
            return Ok(Given::default());
        }
        let (ops, wanted) = (self.ops.clone(), wanted(&self.op.cdi_devices));
        let given = tokio::task::spawn_blocking(move || Given::look(&ops.parts().devices, &wanted)).await;
        let given = given.map_err(|e| Error::internal(format!("looking for devices ended: {e}")))?;
        given.context("CDI device injection failed")
    }

    async fn spec(
        &self,
        cx: &OpContext<BuildDomain>,
        prepared: &Prepared,
        attached: &Attached,
    ) -> Result<Spec> {
        let meta = &self.op.meta;
        let mut env = meta.env.clone();
        env.extend(proxy_env(meta.proxy_env.as_ref()));
        default_path(&mut env, &self.platform);
        env.extend(secret_env(&self.op.secret_env, &cx.job_contexts()).await?);
        let given = self.devices().await?;
        env.extend(given.env);
        env.extend(attached.env());
        let mut mounts = prepared.mounts.clone();
        mounts.extend(given.mounts);
        let ulimits =
            meta.ulimit.iter().map(|u| executor::Ulimit { name: u.name.clone(), soft: u.soft, hard: u.hard });
        Ok(Spec {
            process: Process {
                args: meta.args.clone(),
                env,
                cwd: if meta.cwd.is_empty() { "/".into() } else { meta.cwd.clone() },
                user: meta.user.clone(),
                groups: given.groups,
                tty: None,
                ulimits: ulimits.collect(),
            },
            mounts,
            devices: given.nodes,
            hooks: given.hooks,
            net_devices: given.net_devices,
            hostname: meta.hostname.clone(),
            extra_hosts: extra_hosts(&meta.extra_hosts)?,
            network: network(self.op.network),
            namespace: attached.namespace(),
            trusted: attached.certificate(),
            insecure: self.op.security == SecurityMode::Insecure,
            readonly_root: prepared.readonly_root,
            remove_stubs_recursive: meta.remove_mount_stubs_recursive,
            cgroup_parent: meta.cgroup_parent.clone(),
            resources: self.resources.as_ref().map(resources).unwrap_or_default(),
            metered: cx.job_contexts().iter().any(|build| build.metered),
            ..Spec::new(mounts::unique_id(), prepared.root.clone(), [""; 0])
        })
    }
}

/// What a step fetched through its proxy when it ran; nothing for other ops, and where its result was known.
pub fn traffic(op: &dyn Op<BuildDomain>) -> Option<Traffic> {
    (op as &dyn Any).downcast_ref::<ExecOp>()?.seen().traffic.clone()
}

/// What a step used when it ran, where that was measured.
pub fn usage(op: &dyn Op<BuildDomain>) -> Option<Usage> {
    (op as &dyn Any).downcast_ref::<ExecOp>()?.seen().usage.clone()
}

/// What a step gets of the devices that it may use.
#[derive(Default)]
struct Given {
    env: Vec<String>,
    nodes: Vec<executor::Device>,
    mounts: Vec<fsutil::mount::Mount>,
    groups: Vec<u32>,
    hooks: Vec<executor::Hook>,
    net_devices: Vec<executor::NetDevice>,
}

impl Given {
    fn look(devices: &Devices, wanted: &[Wanted]) -> Result<Self> {
        let (edits, nodes) = devices.look().edits(wanted)?;
        let mounts = edits.mounts.iter().map(mount_of_device).collect::<Result<_>>()?;
        let Edits { env, groups, hooks, net_devices, .. } = edits;
        Ok(Given { env, nodes, mounts, groups, hooks, net_devices })
    }
}

/// The devices that a step names.
pub fn wanted(devices: &[CdiDevice]) -> Vec<Wanted> {
    devices.iter().map(|d| Wanted { name: d.name.clone(), optional: d.optional }).collect()
}

fn mount_of_device(mount: &cdi::Mount) -> Result<fsutil::mount::Mount> {
    if !matches!(mount.kind.as_str(), "" | "bind") {
        let (path, kind) = (mount.container_path.display(), &mount.kind);
        return Err(Error::unimplemented(format!(
            "mounts of devices of type {kind} are not supported: `{path}`"
        )));
    }
    let has = |option: &str| mount.options.iter().any(|o| o == option);
    let source = fsutil::mount::Source::Bind(mount.host_path.clone());
    Ok(fsutil::mount::Mount {
        nosuid: has("nosuid"),
        nodev: has("nodev"),
        noexec: has("noexec"),
        ..fsutil::mount::Mount::new(source, &mount.container_path).readonly(has("ro"))
    })
}

/// Secrets as variables of the environment.
pub async fn secret_env(secrets: &[SecretEnv], builds: &[Arc<BuildContext>]) -> Result<Vec<String>> {
    let mut env = Vec::with_capacity(secrets.len());
    for secret in secrets {
        let value = any_session(builds).await?.secret(&secret.id).await?;
        let value = match value {
            Some(value) => value,
            None if secret.optional => Vec::new(),
            None => return Err(mounts::missing_secret(&secret.id)),
        };
        let value = String::from_utf8(value).map_err(|_| {
            Error::user(format!("secret {} is no text and cannot be in the environment", secret.id))
        })?;
        env.push(format!("{}={value}", secret.name));
    }
    Ok(env)
}

/// What a step finds in `PATH` when it sets none.
pub fn default_path(env: &mut Vec<String>, platform: &Platform) {
    let path = if platform.os == "windows" { WINDOWS_PATH } else { DEFAULT_PATH };
    if !env.iter().any(|e| e.starts_with("PATH=")) {
        env.push(format!("PATH={path}"));
    }
}

/// Names for `/etc/hosts`.
pub fn extra_hosts(hosts: &[HostIp]) -> Result<Vec<executor::HostIp>> {
    let convert = |h: &HostIp| {
        let ip = h.ip.parse().map_err(|_| Error::user(format!("failed to parse IP {}", h.ip)))?;
        Ok(executor::HostIp { host: h.host.clone(), ip })
    };
    hosts.iter().map(convert).collect()
}

/// The network of a container.
pub fn network(mode: NetMode) -> Network {
    match mode {
        NetMode::Unset => Network::Sandbox,
        NetMode::Host => Network::Host,
        NetMode::None => Network::None,
    }
}

#[async_trait]
impl Op<BuildDomain> for ExecOp {
    async fn cache_map(&self, _: &OpContext<BuildDomain>, _: usize) -> Result<CacheMapPart<BuildDomain>> {
        let key = key::exec(&self.op, &self.platform);
        let mut map = CacheMap::new(key.digest);
        map.deps = self.deps()?;
        map.ingredients = key.ingredients;
        Ok(CacheMapPart::only(map))
    }

    async fn exec(&self, cx: &OpContext<BuildDomain>, inputs: Vec<Value>) -> Result<Vec<Option<Value>>> {
        let purpose = Purpose {
            builds: cx.job_contexts(),
            cwd: &self.op.meta.cwd,
            name: &self.name,
            command: self.op.meta.args.join(" "),
        };
        let preparing = mounts::prepare(&self.ops, purpose, &self.op.mounts, &inputs);
        let prepared = cx.while_wanted(preparing).await?;
        match self.run(cx, &prepared).await {
            Ok(_) => prepared.commit().await,
            Err(e) => {
                if !e.is_canceled() {
                    self.keep(cx, prepared, inputs).await;
                }
                Err(e)
            }
        }
    }

    fn parallel_class(&self) -> ParallelClass {
        ParallelClass::Limited
    }
}

/// Whether the content of a mount's input decides rather than its definition. It may where the step cannot hand on
/// files that it did not look at: read-only, without an output, or mounted whole. The root is never looked at.
fn content_decides(mount: &Mount, path: &str) -> Result<bool> {
    let safe = mount.output == llb::NONE || mount.readonly || path == "/";
    match mount.content_cache {
        llb::ContentCache::Off => Ok(false),
        llb::ContentCache::On if !safe => {
            Err(Error::user(format!("invalid mount cache content at {}", mount.dest)))
        }
        llb::ContentCache::On => Ok(true),
        llb::ContentCache::Default => Ok(safe && mount.dest != "/"),
    }
}

/// The whole input where the root is among the paths.
fn selectors(paths: Vec<String>) -> Vec<Selector> {
    let paths = dedupe_paths(paths);
    if paths.iter().any(|p| p == "/") {
        return Vec::new();
    }
    paths.into_iter().map(|p| Selector::plain(p, true)).collect()
}

/// An absolute path without `.`, `..` and doubled slashes.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn proxy_env(proxy: Option<&llb::ProxyEnv>) -> Vec<String> {
    let Some(p) = proxy else { return Vec::new() };
    let pairs = [
        ("HTTP_PROXY", "http_proxy", &p.http_proxy),
        ("HTTPS_PROXY", "https_proxy", &p.https_proxy),
        ("FTP_PROXY", "ftp_proxy", &p.ftp_proxy),
        ("NO_PROXY", "no_proxy", &p.no_proxy),
        ("ALL_PROXY", "all_proxy", &p.all_proxy),
    ];
    let set = pairs.into_iter().filter(|(_, _, value)| !value.is_empty());
    set.flat_map(|(upper, lower, value)| [format!("{upper}={value}"), format!("{lower}={value}")]).collect()
}

fn resources(r: &LinuxResources) -> Resources {
    Resources {
        memory: r.memory,
        memory_swap: r.memory_swap,
        cpu_shares: r.cpu_shares,
        cpu_period: r.cpu_period,
        cpu_quota: r.cpu_quota,
        cpuset_cpus: r.cpuset_cpus.clone(),
        cpuset_mems: r.cpuset_mems.clone(),
    }
}

/// What to try, from the way a process ended and what it said last.
fn hints(exit: Exit, lines: &[String], platform: &Platform, emulation: &Emulation) -> Vec<String> {
    let said = |words: &str| lines.iter().any(|l| l.contains(words));
    if exit.oom || exit.signal == Some(9) {
        return vec!["the step was killed, most likely for lack of memory: give the machine more, or run fewer steps at once".into()];
    }
    if exit.code == 127 && said("not found") {
        return vec![
            "the program is not in this image: install it in an earlier step, or check its name and PATH"
                .into(),
        ];
    }
    if !said("exec format error") {
        return Vec::new();
    }
    if *emulation != Emulation::Missing {
        return vec![format!("the program is not for {platform}, though its image says so")];
    }
    let architecture = &platform.architecture;
    vec![
        format!("this machine cannot run programs for {platform}. Three things help:"),
        format!("register an emulator: `apt-get install qemu-user-static binfmt-support`, or `docker run --privileged --rm tonistiigi/binfmt --install {architecture}`"),
        format!("let a machine of that platform build it: `kiln builder create --append --platform {platform} ssh://HOST`"),
        "cross-compile: `FROM --platform=$BUILDPLATFORM` for the stage that compiles, and $TARGETARCH for its compiler".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_try_when_a_step_fails() {
        let arm = Platform::new("linux", "arm64", "");
        let check = |code, signal, line: &str, emulation: Emulation, expected: &[&str]| {
            let exit = Exit { code, signal, oom: false, started: true };
            let told = hints(exit, &[line.to_owned()], &arm, &emulation);
            assert_eq!(told.len(), expected.len(), "{told:?}");
            for (told, expected) in told.iter().zip(expected) {
                assert!(told.contains(expected), "no `{expected}` in {told:?}");
            }
        };
        check(1, None, "no", Emulation::Needless, &[]);
        check(137, Some(9), "", Emulation::Needless, &["lack of memory"]);
        check(127, None, "sh: x: not found", Emulation::Needless, &["not in this image"]);
        let refused = "exec /p: exec format error";
        check(126, None, refused, Emulation::Registered("qemu".into()), &["is not for linux/arm64"]);
        let remedies =
            ["cannot run programs", "--install arm64", "--platform linux/arm64 ssh://", "$TARGETARCH"];
        check(126, None, refused, Emulation::Missing, &remedies);
    }

    #[test]
    fn paths_are_made_clean() {
        let cases = [("", "/"), ("/", "/"), ("a//b/./c", "/a/b/c"), ("../../x", "/x"), ("/a/../b/", "/b")];
        for (path, expected) in cases {
            assert_eq!(clean(path), expected, "{path}");
        }
    }
}
