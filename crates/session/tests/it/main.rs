//! Both ends joined by a pipe.

mod calls;
mod outputs;
mod trees;
mod wire;
