//! What each instruction of a Dockerfile does to files and to the image's config.

mod add;
mod config;
mod contexts;
mod copy;
mod devices;
mod mounts;
mod onbuild;
mod run;
mod stages;
mod variables;
