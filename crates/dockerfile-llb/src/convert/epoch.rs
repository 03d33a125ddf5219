//! SOURCE_DATE_EPOCH.
//!
//! Its value is a number of seconds, or names a source whose time is taken: `context`, a named context, or a stage that
//! does nothing but ADD one file or repository of the web to scratch. The time of a repository is that of the commit. That
//! of a file is what the server says, or else the latest one in it, if it is an archive. What has no time of its own, as
//! a folder of the client, sets none.

use std::collections::BTreeMap;

use dockerfile::{Environment, Stage};
use errdefs::{Error, Result};
use jiff::Timestamp;

use super::Request;
use crate::environment::Variables;

mod source;
mod stage;

const NAME: &str = "SOURCE_DATE_EPOCH";

/// The time that stands in the image, in seconds and as text. What the variable holds afterwards is the resolved time.
pub(super) async fn read(
    given: &mut BTreeMap<String, String>,
    globals: &mut Variables,
    request: &Request<'_>,
) -> Result<Option<(i64, String)>> {
    let value = match given.get(NAME) {
        Some(value) => value.clone(),
        None => globals.get(NAME).unwrap_or_default().to_owned(),
    };
    let seconds = match value.parse::<i64>() {
        _ if value.is_empty() => None,
        Ok(seconds) => Some(seconds),
        Err(_) => named(&value, given, globals, request).await?,
    };
    let epoch = seconds.map(|seconds| with_text(seconds, &value)).transpose()?;
    let text = seconds.map_or(String::new(), |seconds| seconds.to_string());
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

fn invalid(value: &str) -> Error {
    Error::user(format!("invalid {NAME}: {value}"))
}

fn with_text(seconds: i64, value: &str) -> Result<(i64, String)> {
    let time = Timestamp::from_second(seconds).map_err(|_| invalid(value))?;
    Ok((seconds, time.to_string()))
}

/// The time of the source that `value` names.
async fn named(
    value: &str,
    given: &BTreeMap<String, String>,
    globals: &Variables,
    request: &Request<'_>,
) -> Result<Option<i64>> {
    let client = request.client;
    let (found, title) = if value == "context" {
        (client.context_source()?, "[internal] resolve main build context metadata".to_owned())
    } else if let Some(context) = client.named_context(value, None)? {
        let source = client.load(&context).await?.source()?;
        (source, format!("[internal] resolve {NAME} named context {value}"))
    } else if let Some(stage) = find(value, &request.dockerfile.stages) {
        let source = stage::source(stage, given, globals, request)?;
        (Some(source), format!("[internal] resolve {NAME} source stage {}", stage.name))
    } else {
        return Err(invalid(value));
    };
    match found {
        Some(op) => source::time(client, op, title).await,
        None => Ok(None),
    }
}

fn find<'a>(name: &str, stages: &'a [Stage]) -> Option<&'a Stage> {
    stages.iter().find(|stage| stage.name.eq_ignore_ascii_case(name))
}
