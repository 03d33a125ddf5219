//! Compose files: services with a `build` section are targets.

use std::collections::BTreeMap;

use crate::diagnostic::{Fault, File};
use crate::target::{Group, Target};

type Read = dyn Fn(&str) -> std::io::Result<Vec<u8>>;

pub fn environment(
    environment: &BTreeMap<String, String>,
    _dotenv: Option<&[u8]>,
    vars: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Fault> {
    let mut out = environment.clone();
    out.extend(vars.clone());
    Ok(out)
}

pub fn looks_like(_file: &File, _index: u16, _environment: &BTreeMap<String, String>) -> bool {
    false
}

pub fn load(
    _files: &[File],
    _which: &[u16],
    _environment: &BTreeMap<String, String>,
    _read: &Read,
) -> Result<(Vec<Target>, Vec<Group>), Fault> {
    Ok((Vec::new(), Vec::new()))
}
