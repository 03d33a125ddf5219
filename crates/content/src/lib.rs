//! Blobs by digest: ingest, commit, read, leases, garbage roots. A blob is visible only after commit.
//!
//! Never: know images, layers or networks.
