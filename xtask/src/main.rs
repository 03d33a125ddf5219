//! Tasks of the project itself: tidy, docs, generated code.

mod proto;
mod tidy;

use std::path::Path;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["proto"] => proto::run(false),
        ["proto", "--check"] => proto::run(true),
        ["tidy"] => tidy_up(),
        _ => bail!("usage: cargo xtask proto [--check] | tidy"),
    }
}

fn tidy_up() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let findings = tidy::check(&root).map_err(anyhow::Error::msg)?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("{count} findings"),
    }
}
