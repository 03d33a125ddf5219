//! Words and environment to settings: what is asked for, checked and complete, before anything is touched.

mod attestations;
mod attrs;
mod build;
mod caches;
mod call;
mod output;
mod progress;
mod refuse;

pub(crate) use attestations::MetadataProvenance;
pub(crate) use build::{BuildSettings, no_list};
pub(crate) use caches::CacheSettings;
pub(crate) use call::CallSetting;
pub(crate) use output::{Destination, Notice, OutputSetting};
pub(crate) use progress::ProgressMode;
pub(crate) use refuse::not_yet;

#[cfg(test)]
mod tests;
