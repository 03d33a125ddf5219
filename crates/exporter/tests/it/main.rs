//! All exporters, from a store to a client, read by other people's programs. These tests make devices and trusted
//! attributes: they need root.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod archives;
mod attestations;
mod attributes;
mod files;
mod images;
mod world;
