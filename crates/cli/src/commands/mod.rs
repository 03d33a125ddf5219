//! One module per command: takes settings, does it, prints.

mod bake;
mod build;
mod builder;
mod call;
mod completion;
mod confirm;
mod dockerfile;
mod du;
mod engine;
mod filter;
mod history;
mod image;
mod imagetools;
mod policy;
mod prune;
mod run;
mod version;

pub(crate) use bake::{bake, web_files};
pub(crate) use build::build;
pub(crate) use builder::builder;
pub(crate) use completion::completion;
pub(crate) use dockerfile::dockerfile;
pub(crate) use du::du;
pub(crate) use engine::engine;
pub(crate) use history::{Local, history};
pub(crate) use image::{image, images};
pub(crate) use imagetools::imagetools;
pub(crate) use policy::policy;
pub(crate) use prune::prune;
pub(crate) use run::run;
pub(crate) use version::{VERSION, version};
