//! Configuration, wiring, listeners, shutdown.
//!
//! [`main`] reads the arguments of `kiln daemon`, opens the store, puts the parts together and serves until it is told
//! to stop or has been idle for long enough. It is the only place that chooses parts.
//!
//! Never: holds logic of a build.

mod args;
mod check;
mod config;
mod database;
mod debug;
mod foreign;
mod gc;
mod group;
mod idle;
mod listen;
mod lock;
mod log;
mod networks;
mod notify;
mod place;
mod run;
mod stores;
mod tls;
mod told;
mod units;
mod wiring;

pub use args::Args;
pub use config::Config;
pub use run::main;
