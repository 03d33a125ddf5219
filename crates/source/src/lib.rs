//! Where bytes come from: image, http, local, oci-layout; each gives a ref and a stable key.
//!
//! Never: decide when to fetch.
