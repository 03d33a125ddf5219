//! Streams recorded from `buildctl build --progress=rawjson`, drawn by every renderer.

mod any;
mod plain;
mod rawjson;
mod stream;
mod tty;
