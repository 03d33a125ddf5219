//! Both ends joined by a pipe.

mod calls;
mod trees;
mod wire;
