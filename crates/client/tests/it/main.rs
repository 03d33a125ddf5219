//! The client against an engine of a few lines, over a real socket.

mod build;
mod engine;
mod store;
