//! The small languages inside of flag values, as buildx reads them.

mod annotation;
mod attestation;
mod cache;
mod hosts;
mod keyvalue;
mod output;
mod resource;
mod secret;
mod size;
mod ssh;
mod ulimit;

pub(crate) use annotation::{Annotation, AnnotationKind};
pub(crate) use attestation::AttestationFlag;
pub(crate) use cache::CacheFlag;
pub(crate) use hosts::extra_hosts;
pub(crate) use keyvalue::key_values;
pub(crate) use oci::parse_bool;
pub(crate) use output::OutputFlag;
pub(crate) use resource::resources;
pub(crate) use secret::SecretFlag;
pub(crate) use size::{binary_size, go_duration, human_duration, human_size, parse_duration, parse_size};
pub(crate) use ssh::{DEFAULT_ID as DEFAULT_SSH, SshFlag};
pub(crate) use ulimit::ulimits;

/// The comma-separated fields of a value.
pub(crate) fn fields(text: &str) -> errdefs::Result<Vec<String>> {
    Ok(dockerfile::csv::fields(text)?)
}
