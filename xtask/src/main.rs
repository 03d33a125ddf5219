//! Tasks of the project itself: tidy, docs, generated code.

mod proto;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["proto"] => proto::run(false),
        ["proto", "--check"] => proto::run(true),
        _ => bail!("usage: cargo xtask proto [--check]"),
    }
}
