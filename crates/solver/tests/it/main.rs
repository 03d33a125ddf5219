//! The scheduler on tokio, through its public face.

mod build;
mod cancel;
mod progress_events;
mod scale;
mod world;
