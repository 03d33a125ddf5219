//! What an engine and its store live through: kills, damage, power cuts, full disks, engines of other versions.
//!
//! Each test takes a few rounds; `KILN_STRESS=200` makes it 200. Needs root and what `./setup test` installs.

#[path = "../it/harness/mod.rs"]
mod harness;

mod damage;
mod disk;
mod faults;
mod kill;
mod power;
mod rounds;
mod versions;
mod work;
