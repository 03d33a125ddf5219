//! What an editor asks about a Dockerfile, and the answers: the Language Server Protocol as a state machine.
//!
//! [`Server::handle`] takes a message and gives the answer to it. What is wrong with the files that changed is asked for
//! with [`Server::news`] when no message waits, so that fast typing is looked at once.
//!
//! Never: do I/O.

mod actions;
mod completion;
mod diagnostics;
mod document;
mod hover;
mod model;
mod navigation;
mod server;
mod text;
mod variables;

pub use document::Document;
pub use server::Server;

#[cfg(test)]
mod tests;
