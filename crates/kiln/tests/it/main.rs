//! The program as a user starts it. Needs root, since a real engine runs, and what `./setup test` installs.

mod bad_input;
mod cache;
mod crowd;
mod docker;
mod editors;
mod engine;
mod faces;
mod frontends;
mod harness;
mod history;
mod inodes;
mod instructions;
mod interrupt;
mod networks;
mod outputs;
mod policies;
mod provenance;
mod questions;
mod registries;
mod remote;
mod remote_cache;
mod run;
mod sbom;
mod ssh;
mod storage;
mod usage;
