//! Wire types and services of the BuildKit protocol, generated from the files in `proto/`.
//!
//! Never: hold logic.
