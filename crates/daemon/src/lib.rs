//! Configuration, wiring, listeners, shutdown.
//!
//! [`main`] reads the arguments of `kiln daemon`, opens the store, puts the parts together and serves until it is told
//! to stop or has been idle for long enough. It is the only place that chooses parts.
//!
//! Never: holds logic of a build.

mod args;
mod config;
mod foreign;
mod idle;
mod listen;
mod lock;
mod run;
mod wiring;

pub use args::Args;
pub use config::Config;
pub use run::main;
