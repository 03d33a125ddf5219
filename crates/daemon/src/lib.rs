//! Configuration, wiring, listeners, shutdown.
//!
//! Never: hold logic.
