//! One build start to end: jobs, bridge, entitlements.
//!
//! Never: choose its parts.
