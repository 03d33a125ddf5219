//! SOURCE_DATE_EPOCH.

use std::collections::BTreeMap;

use dockerfile::{Environment, Stage};
use errdefs::{Error, Result};
use jiff::Timestamp;

use crate::environment::Variables;
use crate::frontend::Client;

const NAME: &str = "SOURCE_DATE_EPOCH";

/// The time that stands in the image, in seconds and as text. What the variable holds afterwards is the resolved time.
pub(super) fn read(
    given: &mut BTreeMap<String, String>,
    globals: &mut Variables,
    client: &Client,
    stages: &[Stage],
) -> Result<Option<(i64, String)>> {
    let value = match given.get(NAME) {
        Some(value) => value.clone(),
        None => globals.get(NAME).unwrap_or_default().to_owned(),
    };
    let epoch = resolve(&value, client, stages)?;
    let text = epoch.as_ref().map_or(String::new(), |(seconds, _)| seconds.to_string());
    if given.contains_key(NAME) {
        given.remove(NAME);
        if !text.is_empty() {
            given.insert(NAME.into(), text.clone());
        }
    }
    if globals.get(NAME).is_some() {
        globals.remove(NAME);
        if !text.is_empty() {
            globals.set(NAME, &text);
        }
    }
    Ok(epoch)
}

fn resolve(value: &str, client: &Client, stages: &[Stage]) -> Result<Option<(i64, String)>> {
    let invalid = || Error::user(format!("invalid {NAME}: {value}"));
    if value.is_empty() {
        return Ok(None);
    }
    if let Ok(seconds) = value.parse::<i64>() {
        let time = Timestamp::from_second(seconds).map_err(|_| invalid())?;
        return Ok(Some((seconds, time.to_string())));
    }
    // A folder of the client has no time of its own.
    if value == "context" && client.has_local_context() {
        return Ok(None);
    }
    let names_source = value == "context"
        || client.config().contexts.contains_key(value)
        || stages.iter().any(|s| s.name.eq_ignore_ascii_case(value));
    if names_source {
        return Err(Error::unimplemented(format!(
            "taking {NAME} from the source `{value}` is not supported yet"
        ))
        .hint("give the time in seconds since 1970"));
    }
    Err(invalid())
}
