//! `--ulimit`.

use std::collections::BTreeMap;

use dockerfile::ULIMITS;
use errdefs::{Error, Result};

/// Turns `name=soft[:hard]` flags into the frontend's form. The last of a name wins.
pub(crate) fn ulimits(flags: &[String]) -> Result<String> {
    let mut out = BTreeMap::new();
    for flag in flags {
        let bad = |why: &str| Error::user(format!("invalid ulimit argument: {flag}: {why}"));
        let (name, limits) = flag.split_once('=').ok_or_else(|| bad("expected name=soft[:hard]"))?;
        if !ULIMITS.contains(&name) {
            return Err(Error::user(format!("invalid ulimit type: {name}")));
        }
        let number = |text: &str| text.parse::<i64>().map_err(|_| bad("limits are whole numbers"));
        let (soft, hard) = match limits.split_once(':') {
            Some((soft, hard)) => (number(soft)?, number(hard)?),
            None => (number(limits)?, number(limits)?),
        };
        if hard != -1 && (soft == -1 || soft > hard) {
            return Err(Error::user(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )));
        }
        out.insert(name, format!("{name}={soft}:{hard}"));
    }
    Ok(out.into_values().collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let check = |flags: &[&str], expect: &str| {
            let flags: Vec<_> = flags.iter().map(|f| (*f).to_owned()).collect();
            assert_eq!(ulimits(&flags).unwrap_or_else(|e| e.to_string()), expect, "{flags:?}");
        };
        check(&[], "");
        check(&["nofile=1024"], "nofile=1024:1024");
        check(&["nofile=1024:2048", "core=0"], "core=0:0,nofile=1024:2048");
        check(&["nofile=1:2", "nofile=3:4"], "nofile=3:4");
        check(&["nofile=5:-1"], "nofile=5:-1");
        check(&["nofile=-1:5"], "ulimit soft limit must be less than or equal to hard limit: -1 > 5");
        check(&["nofile=3:2"], "ulimit soft limit must be less than or equal to hard limit: 3 > 2");
        check(&["files=3"], "invalid ulimit type: files");
        check(&["nofile"], "invalid ulimit argument: nofile: expected name=soft[:hard]");
        check(&["nofile=x"], "invalid ulimit argument: nofile=x: limits are whole numbers");
    }
}
