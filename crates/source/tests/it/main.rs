//! Sources of a store in a folder, with clients at the other end of a pipe.

mod chain;
mod git;
mod http;
mod image;
mod local;
mod server;
mod signature;
mod world;
