//! What is kept of builds once they are over, and told of them while they run.
//!
//! ```text
//! History::begin -> Recording                       a build has started; listeners are told
//! Recording::complete(log, outcome)                 log and error become blobs, the record goes to the table
//! History::{listen, get, update, remove}            what clients ask for
//! History::keep_limits                              old records go
//! ```
//!
//! A record keeps its blobs; they go when it does.

mod filter;
mod limits;
mod listen;
mod record;
mod recording;
mod store;
mod table;
mod trace;

pub use filter::{Query, RecordFilter};
pub use limits::Limits;
pub use listen::{HistoryEvent, Listening};
pub use record::{BuildRecord, End, Failure, Steps};
pub use recording::{Recording, Wire, WireError};
pub use store::{Change, History};

#[cfg(test)]
mod tests;
