//! Where results go: image, oci, docker, local, tar.
//!
//! Never: run a build.
