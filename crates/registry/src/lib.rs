//! OCI distribution: resolve, pull, push, auth, mirrors.
//!
//! Never: know builds.
