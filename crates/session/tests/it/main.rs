//! Both ends joined by a pipe.

mod calls;
mod frames;
mod outputs;
mod trees;
mod wire;
