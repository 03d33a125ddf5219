//! Engines: builders and what drives their nodes; the user's own one: where it is, whether it answers, starting and
//! stopping it.

pub(crate) mod builder;
pub(crate) mod driver;
mod home;
mod place;
mod process;
mod start;

pub(crate) use builder::{Builder, Member, Reached};
pub(crate) use home::Home;
pub(crate) use place::Place;
pub(crate) use process::EngineProcess;
pub(crate) use start::{connect, connect_running};
