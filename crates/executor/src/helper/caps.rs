//! Capabilities of a container's process.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};

/// What containerd gives by default, `00000000a80425fb`.
const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// The sets that a process is to have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    bounding: CapabilitySet,
    /// Ambient capabilities need the inheritable ones. Only an insecure step has them.
    inheritable: CapabilitySet,
}

impl Caps {
    /// `insecure`: all that this process has itself. Where the kernel does not guard devices, a container cannot be
    /// let make nodes for them.
    pub fn new(insecure: bool, guarded_devices: bool) -> io::Result<Caps> {
        let own = rustix::thread::capabilities(None)?.permitted;
        let usual = if guarded_devices { DEFAULT } else { DEFAULT - CapabilitySet::MKNOD };
        Ok(if insecure {
            Caps { bounding: own, inheritable: own }
        } else {
            Caps { bounding: usual & own, inheritable: CapabilitySet::empty() }
        })
    }

    /// Takes the rest out of the bounding set: no program can ever get it. Needs `CAP_SETPCAP`.
    pub fn limit(&self) -> io::Result<()> {
        for cap in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
            // The kernel knows no capability beyond the first that it does not know.
            let Ok(has) = rustix::thread::capability_is_in_bounding_set(cap) else { break };
            if has && !self.bounding.contains(cap) {
                rustix::thread::remove_capability_from_bounding_set(cap)?;
            }
        }
        Ok(())
    }

    /// Gives the calling thread its sets, after its user was set.
    pub fn apply(&self) -> io::Result<()> {
        let sets = CapabilitySets {
            effective: self.bounding,
            permitted: self.bounding,
            inheritable: self.inheritable,
        };
        rustix::thread::set_capabilities(None, sets)?;
        rustix::thread::clear_ambient_capability_set()?;
        for cap in self.inheritable.iter() {
            rustix::thread::configure_capability_in_ambient_set(cap, true)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_default_set() {
        assert_eq!(super::DEFAULT.bits(), 0xa804_25fb);
    }
}
