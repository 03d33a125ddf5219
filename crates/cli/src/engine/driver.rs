//! What makes, reaches and ends the engines of a builder. Each kind of builder is one implementation of [`Driver`].

mod own;
mod remote;

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use builder::Node;
use client::Client;
use errdefs::{Error, Result};

use crate::engine::Place;
use crate::environment::Environment;
use crate::settings::not_yet;

pub(crate) use own::Own;
use remote::Remote;

/// Whether an engine runs, in the words of buildx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nobody answers, or there is nothing yet.
    Inactive,
    Running,
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Inactive => "inactive",
            Status::Running => "running",
            Status::Stopped => "stopped",
        })
    }
}

/// The engine of one node.
#[async_trait]
pub(crate) trait Driver: Send + Sync {
    /// Where it is reached once it runs.
    fn place(&self) -> &Place;

    /// What is done in [`Driver::boot`], for those who wait.
    fn booting(&self) -> &'static str;

    /// Sees to it that the engine runs, and connects to it.
    async fn boot(&self) -> Result<Client>;

    /// Whether the engine runs, and a connection if it does. Starts nothing.
    async fn look(&self) -> Result<(Status, Option<Client>)>;

    /// Ends the engine, if that is for this program to do.
    async fn stop(&self) -> Result<()>;

    /// Removes what was made for it, once it has stopped; with its store, unless that is to be kept.
    async fn remove(&self, keep_store: bool) -> Result<()>;
}

/// What there is to know of a kind of builder before there is a node.
pub(crate) struct Kind {
    pub name: &'static str,
    /// Whether its engines can be given arguments and configuration.
    pub is_configured: bool,
}

/// Kiln's own engine.
pub(crate) const KILN: &str = "kiln";
pub(crate) const REMOTE: &str = "remote";
/// Those that a builder can be made of.
const KINDS: [Kind; 2] =
    [Kind { name: KILN, is_configured: true }, Kind { name: REMOTE, is_configured: false }];
/// Drivers of buildx of which builders are not made here yet.
const LATER: [&str; 3] = ["cloud", "docker-container", "kubernetes"];

/// The kind of builder that a name stands for.
pub(crate) fn kind(name: &str) -> Result<&'static Kind> {
    if let Some(kind) = KINDS.iter().find(|kind| kind.name == name) {
        return Ok(kind);
    }
    Err(match name {
        "docker" => Error::user("additional instances of driver \"docker\" cannot be created"),
        _ if LATER.contains(&name) => not_yet(&format!("the driver `{name}`")),
        _ => Error::user(format!("failed to find driver {name:?}")),
    }
    .hint("there are `kiln`, for engines on this machine, and `remote`, for those that others look after"))
}

/// Whether a driver can be used at all.
///
/// # Errors
/// It cannot.
pub(crate) fn check(driver: &str) -> Result<()> {
    match driver {
        "docker-container" => Ok(()),
        driver => kind(driver).map(drop),
    }
}

/// The driver of a node of a builder.
///
/// # Errors
/// There is no such driver, or its options make no sense.
pub(crate) fn of_node(driver: &str, node: &Node, env: &Environment) -> Result<Box<dyn Driver>> {
    match driver {
        KILN => Ok(Box::new(Own::of_node(node, env)?)),
        REMOTE => Ok(Box::new(Remote::of_node(node)?)),
        // One that buildx has made.
        "docker-container" => Ok(Box::new(Remote::in_container(node)?)),
        driver => Err(kind(driver).err().unwrap_or_else(|| not_yet(&format!("the driver `{driver}`")))),
    }
}

/// The driver of an engine that no builder names.
pub(crate) fn at(place: Place) -> Box<dyn Driver> {
    match place {
        Place::Own(home) => Box::new(Own(Place::Own(home))),
        given @ Place::Given(..) => Box::new(Remote(given)),
    }
}

/// Whether a path of an option can be read from anywhere.
fn check_absolute(name: &str, path: &str) -> Result<()> {
    match Path::new(path).is_absolute() {
        true => Ok(()),
        false => Err(Error::user(format!("non-absolute path '{path}' provided for {name}"))),
    }
}
