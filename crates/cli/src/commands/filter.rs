//! `--filter` of `du` and `prune`.

use std::collections::BTreeMap;
use std::time::Duration;

use errdefs::{Error, Result, ResultExt as _};

use crate::flags::parse_duration;

/// What the engine is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct UsageFilter {
    /// In containerd's syntax; all terms of one text must hold.
    pub filter: Vec<String>,
    /// Only what was not used within this time.
    pub older_than: Duration,
}

/// Reads `name`, `name=value`, `name~=value` and `name!=value`, and `until=24h`.
pub(crate) fn usage_filter(flags: &[String]) -> Result<UsageFilter> {
    let mut terms = BTreeMap::new();
    for flag in flags.iter().filter(|f| !f.is_empty()) {
        let (name, value) = flag.split_once('=').map_or((flag.as_str(), None), |(n, v)| (n, Some(v)));
        let (name, value) = (name.trim().to_lowercase(), value.map(|v| v.trim().to_owned()));
        if terms.insert(name.clone(), value).is_some() {
            return Err(Error::user(format!("{name:?} filter expects only one value")));
        }
    }
    let (until, unused_for) = (terms.remove("until"), terms.remove("unused-for"));
    if until.is_some() && unused_for.is_some() {
        return Err(Error::user("conflicting filters \"until\" and \"unused-for\""));
    }
    let older_than = match until.or(unused_for).flatten() {
        Some(text) => parse_duration(&text).context("\"until\" filter expects a duration (e.g., '24h')")?,
        None => Duration::ZERO,
    };
    let term = |(name, value): (&String, &Option<String>)| match value {
        None => name.clone(),
        Some(value) if name == "id" => format!("id~={value}"),
        Some(value) if name.ends_with(['!', '~']) => format!("{name}={value}"),
        Some(value) => format!("{name}=={value}"),
    };
    let text = terms.iter().map(term).collect::<Vec<_>>().join(",");
    Ok(UsageFilter { filter: vec![text], older_than })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let check = |flags: &[&str], expect: &str| {
            let flags: Vec<_> = flags.iter().map(|f| (*f).to_owned()).collect();
            let told = match usage_filter(&flags) {
                Ok(f) => format!("{} {}", f.filter.join(";"), f.older_than.as_secs()),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{flags:?}");
        };
        check(&[], " 0");
        check(&["type=regular", "inuse"], "inuse,type==regular 0");
        check(&["id=abc"], "id~=abc 0");
        check(&["description~=RUN", "type!=internal"], "description~=RUN,type!=internal 0");
        check(&["until=24h"], " 86400");
        check(&["type=a", "type=b"], "\"type\" filter expects only one value");
        check(&["until=1h", "unused-for=1h"], "conflicting filters \"until\" and \"unused-for\"");
        check(&["until=x"], "\"until\" filter expects a duration (e.g., '24h'): invalid duration `x`");
    }
}
