//! The user's own engine: where it is, whether it answers, starting and stopping it.

pub(crate) mod builder;
mod home;
mod place;
mod process;
mod start;

pub(crate) use home::Home;
pub(crate) use place::Place;
pub(crate) use process::EngineProcess;
pub(crate) use start::{connect, connect_running};
