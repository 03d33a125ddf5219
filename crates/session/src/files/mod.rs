//! The fsutil protocol: a tree of files, listed in order, whose contents the receiver asks for one by one.
//!
//! ```text
//! sender  STAT STAT STAT .. STAT(empty)      DATA(1) DATA(0) DATA(1) DATA(1, empty) ..        FIN
//! receiver         REQ(0) REQ(1) ..                                                     FIN
//! ```
//!
//! Entries count from 0 in the order of the listing, and that number names them. Either side may send ERR and stop.

mod direct;
mod local;
mod order;
mod packet;
mod receive;
mod send;
mod stat;

pub(crate) use direct::direct;
pub(crate) use local::names_in;
pub use local::{Filter, LocalTree};
pub use order::compare_paths;
pub use receive::receive;
pub use receive::{FileSink, SyncReceiver};
pub use send::Tree;
pub(crate) use send::send;
pub use stat::{Kind, Stat};
