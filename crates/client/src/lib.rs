//! Typed client of the daemon; drives Kiln or BuildKit alike.
//!
//! Never: draw or parse arguments.
