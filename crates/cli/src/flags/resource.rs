//! `--resource`.

use std::collections::BTreeMap;

use errdefs::{Error, Result, ResultExt as _};

use crate::flags::parse_size;

/// Turns `key=value` flags into frontend attributes. What is zero is left out.
pub(crate) fn resources(flags: &[String]) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for flag in flags {
        let (key, value) = flag
            .split_once('=')
            .ok_or_else(|| Error::user(format!("invalid resource {flag:?}, expected key=value")))?;
        let (key, value) = (key.trim(), value.trim());
        let invalid = || format!("invalid value {value:?} for resource {key}");
        let (attr, value) = match key {
            "memory" => ("memory", positive(parse_size(value).with_context(invalid)?)),
            "memory-swap" if value == "-1" => ("memswap", Some("-1".to_owned())),
            "memory-swap" => ("memswap", positive(parse_size(value).with_context(invalid)?)),
            "cpu-shares" => ("cpushares", positive(whole(value).with_context(invalid)?)),
            "cpu-period" => ("cpuperiod", positive(whole(value).with_context(invalid)?)),
            "cpu-quota" => ("cpuquota", positive(whole(value).with_context(invalid)?)),
            "cpuset-cpus" => ("cpusetcpus", Some(value.to_owned()).filter(|v| !v.is_empty())),
            "cpuset-mems" => ("cpusetmems", Some(value.to_owned()).filter(|v| !v.is_empty())),
            _ => return Err(Error::user(format!("unknown resource {key:?}"))),
        };
        match value {
            Some(value) => out.insert(attr.to_owned(), value),
            None => out.remove(attr),
        };
    }
    Ok(out)
}

fn whole(text: &str) -> Result<i64> {
    text.parse().map_err(|_| Error::user("expected a whole number"))
}

fn positive(n: i64) -> Option<String> {
    (n > 0).then(|| n.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let check = |flags: &[&str], expect: &str| {
            let flags: Vec<_> = flags.iter().map(|f| (*f).to_owned()).collect();
            let told = match resources(&flags) {
                Ok(map) => map.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{flags:?}");
        };
        check(&["memory=64m", "cpu-quota=50000"], "cpuquota=50000 memory=67108864");
        check(&["memory-swap=-1", "cpuset-cpus=0-3"], "cpusetcpus=0-3 memswap=-1");
        check(&["memory=64m", "memory=0"], "");
        check(&["memory"], "invalid resource \"memory\", expected key=value");
        check(&["disk=1"], "unknown resource \"disk\"");
        check(&["memory=x"], "invalid value \"x\" for resource memory: invalid size: 'x'");
        check(&["cpu-shares=1.5"], "invalid value \"1.5\" for resource cpu-shares: expected a whole number");
    }
}
