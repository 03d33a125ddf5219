//! Containers on a root made of busybox. They need root, and Debian's `busybox-static` at `/bin/busybox`.

mod guest;
mod hooks;
mod kill;
mod links;
mod process;
mod rootfs;
mod sandbox;
mod tty;
mod usage;
mod world;

executor::entry_before_main!();
