//! Network interfaces of the machine that a container has while it runs (OCI runtime specification, config-linux.md,
//! "Network Devices"), by the program `ip`.
//!
//! They keep their addresses, and are given back with them at the end: also those that the kernel would remove with the
//! container's network, and those in a network that others have next.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};

use cdi::NetDevice;
use errdefs::{Error, Result, ResultExt};
use rustix::thread::LinkNameSpaceType;
use serde::Deserialize;

use crate::namespace;

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The interfaces that a container has.
#[derive(Default)]
pub(super) struct Links {
    given: Vec<Given>,
    /// The container's network, which stays until they were taken back.
    inside: Option<File>,
}

struct Given {
    device: NetDevice,
    addresses: Vec<Address>,
}

/// What `ip -json address` tells of an interface.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Address {
    local: String,
    prefixlen: u8,
}

impl Links {
    /// Moves interfaces into the network of a process. What was moved when one fails is taken back by
    /// [`Links::take_back`].
    pub fn give(&mut self, devices: &[NetDevice], pid: u32) -> Result<()> {
        if devices.is_empty() {
            return Ok(());
        }
        let inside =
            File::open(format!("/proc/{pid}/ns/net")).context("failed to open the container's network")?;
        let inside = self.inside.insert(inside);
        for device in devices {
            let failed = || format!("failed to give the network device `{}` to the container", device.host);
            let addresses = addresses(&device.host).with_context(failed)?;
            move_to(pid, &device.host, &device.name).with_context(failed)?;
            self.given.push(Given { device: device.clone(), addresses });
            let Some(Given { addresses, .. }) = self.given.last() else { continue };
            visit(inside, || set_up(&device.name, addresses)).with_context(failed)?;
        }
        Ok(())
    }

    /// Moves all of them back to the network of the engine. One that cannot be does not keep others.
    pub fn take_back(&mut self) -> Result<()> {
        let Some(inside) = self.inside.take() else { return Ok(()) };
        let mut result = Ok(());
        for Given { device: NetDevice { host, name }, addresses } in self.given.drain(..) {
            // The supervisor itself is inside meanwhile; the helper, its parent, is where it was.
            let engine = std::os::unix::process::parent_id();
            let back =
                visit(&inside, || move_to(engine, &name, &host)).and_then(|()| set_up(&host, &addresses));
            result =
                result.and(back.with_context(|| format!("failed to take the network device `{host}` back")));
        }
        result
    }
}

/// Does some work in another network. Only for processes of one thread.
pub(super) fn visit<T>(network: &File, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let own = namespace::open(Path::new("/proc/self/ns/net")).context("failed to open the network")?;
    let enter = |to: std::os::fd::BorrowedFd<'_>| {
        rustix::thread::move_into_link_name_space(to, Some(LinkNameSpaceType::Network))
            .map_err(io::Error::from)
    };
    enter(network.as_fd()).context("failed to enter a network")?;
    let done = work();
    enter(own.as_fd()).context("failed to come back from a network")?;
    done
}

/// Those that were set for all of the network: the others come by themselves.
fn addresses(device: &str) -> Result<Vec<Address>> {
    let told = ip(&["-json", "address", "show", "dev", device, "scope", "global"])?;
    let told: Vec<Told> = serde_json::from_slice(&told)
        .map_err(|e| Error::environment(format!("failed to read what `ip` told: {e}")))?;
    Ok(told.into_iter().flat_map(|told| told.addr_info).collect())
}

fn move_to(pid: u32, device: &str, name: &str) -> Result<()> {
    // One that is up cannot get another name.
    ip(&["link", "set", "dev", device, "down"])?;
    ip(&["link", "set", "dev", device, "netns", &pid.to_string(), "name", name]).map(drop)
}

fn set_up(device: &str, addresses: &[Address]) -> Result<()> {
    for Address { local, prefixlen } in addresses {
        ip(&["address", "add", &format!("{local}/{prefixlen}"), "dev", device])?;
    }
    ip(&["link", "set", "dev", device, "up"]).map(drop)
}

fn ip(args: &[&str]) -> Result<Vec<u8>> {
    let mut command = Command::new("ip");
    command.args(args).env_clear().env("PATH", PATH).stdin(Stdio::null());
    let output = command.output().map_err(|e| {
        Error::from(e).context("failed to run `ip`").hint("install iproute2 where the engine runs")
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::environment(format!("ip {}: {said}", args.join(" "))))
}
