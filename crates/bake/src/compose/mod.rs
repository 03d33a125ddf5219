//! Compose files: services with a `build` section are targets.
//!
//! Of a file only services (image, build, environment, env_file, extends), secrets and includes are read. What is wrong
//! names the key; where that stands is looked up once it is told.

mod dotenv;
mod interpolate;
mod keys;
mod places;
mod project;
mod service;
mod tags;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::diagnostic::{Fault, File, Span};
use crate::target::{Group, Target};

type Environment = BTreeMap<String, String>;
/// What a file says, and what of it takes the place of what others say.
type Document = (Map<String, Json>, Vec<tags::Tag>);
type Read = dyn Fn(&str) -> std::io::Result<Vec<u8>>;

/// What Compose files see: the environment, then `.env`, and `--var` above both.
pub fn environment(
    environment: &Environment,
    dotenv: Option<&[u8]>,
    vars: &Environment,
) -> Result<Environment, Fault> {
    let mut out = environment.clone();
    if let Some(text) = dotenv {
        let text = String::from_utf8_lossy(text);
        let found = dotenv::parse(&text, environment)
            .map_err(|e| Fault::plain(format!("failed to read .env: {e}")))?;
        for (key, value) in found {
            out.entry(key).or_insert(value);
        }
    }
    out.extend(vars.iter().map(|(k, v)| (k.clone(), v.clone())));
    Ok(out)
}

/// Whether a file without a telling name is a Compose file.
pub fn looks_like(file: &File, index: u16, environment: &Environment) -> bool {
    let refuse = |_: &str| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let Ok((root, _)) = parse(file, index) else { return false };
    let has = |key| root.get(key).is_some_and(|v| !v.is_null());
    let known = (has("services") || has("secrets")) && !has("target") && !has("group");
    known && load(std::slice::from_ref(file), &[0], environment, &refuse).is_ok()
}

/// Targets and the group `default` of all Compose files together.
///
/// # Errors
/// If a file is no Compose file, or a service says what no target can.
pub fn load(
    files: &[File],
    which: &[u16],
    environment: &Environment,
    read: &Read,
) -> Result<(Vec<Target>, Vec<Group>), Fault> {
    let failed = |why: String| {
        // What a later file says stands above what earlier ones do.
        let place = which.iter().rev().find_map(|index| {
            let text = std::str::from_utf8(&files[usize::from(*index)].data).ok()?;
            let (start, end) = places::find(text, &why)?;
            Some(Span { file: *index, start: start as u32, end: end as u32 })
        });
        let fault = Fault::plain(format!("failed to parse compose file: {why}"));
        place.map_or(fault.clone(), |span| fault.at(span))
    };
    let mut project = project::Project::new(environment, read);
    for index in which {
        let file = &files[usize::from(*index)];
        let (root, tags) = parse(file, *index)?;
        project.add(root, &tags, *index, "").map_err(failed)?;
    }
    project.targets().map_err(failed)
}

/// Reads YAML. Words such as `yes` are text, as YAML 1.2 has it.
fn parse(file: &File, index: u16) -> Result<Document, Fault> {
    let text = std::str::from_utf8(&file.data).map_err(|e| {
        let start = e.valid_up_to() as u32;
        Fault::plain("the file is not UTF-8").at(Span { file: index, start, end: start + 1 })
    })?;
    yaml(text).map_err(|(message, offset)| {
        let start = offset.unwrap_or(0) as u32;
        Fault::new("Invalid YAML", message).at(Span { file: index, start, end: start + 1 })
    })
}

/// The mapping that a file holds, with the tags in it, or what is wrong and where.
fn yaml(text: &str) -> Result<Document, (String, Option<usize>)> {
    let options =
        serde_saphyr::options! { strict_booleans: true, legacy_octal_numbers: true, with_snippet: false };
    let value: Json = serde_saphyr::from_str_with_options(text, options).map_err(|e| {
        let offset = e.location().map(|l| line_offset(text, l.line() as usize));
        let message = e.to_string();
        (message.lines().next().unwrap_or_default().to_owned(), offset)
    })?;
    match value {
        Json::Object(mut map) => {
            let tags = tags::read(text);
            tags::drop_resets(&mut map, &tags);
            Ok((map, tags))
        }
        Json::Null => Err(("empty compose file".into(), None)),
        _ => Err(("top-level object must be a mapping".into(), Some(0))),
    }
}

/// Where a line begins, lines counted from 1.
fn line_offset(text: &str, line: usize) -> usize {
    text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum()
}
