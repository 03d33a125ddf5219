//! The program as a user starts it. Needs root, since a real engine runs, and what `./setup test` installs.

mod bad_input;
mod cache;
mod docker;
mod engine;
mod harness;
mod instructions;
mod interrupt;
mod outputs;
mod registries;
mod run;
mod usage;
