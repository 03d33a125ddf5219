//! `--add-host`.

use std::net::IpAddr;

use errdefs::{Error, Result};

use crate::flags::fields;

/// Turns `host:ip`, `host=ip` and lists of them into the frontend's form, `host=ip,host=ip`.
pub(crate) fn extra_hosts(flags: &[String]) -> Result<String> {
    let mut out = Vec::new();
    for flag in flags {
        for entry in fields(flag)? {
            let bad = || Error::user(format!("invalid host {entry}"));
            let (host, addresses) =
                entry.split_once('=').or_else(|| entry.split_once(':')).ok_or_else(bad)?;
            if host.is_empty() || addresses.is_empty() {
                return Err(bad());
            }
            if addresses == "host-gateway" {
                return Err(Error::unimplemented("`--add-host` with `host-gateway` is not supported yet")
                    .hint("give the address of the host in place of `host-gateway`"));
            }
            for address in addresses.split(',') {
                let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
                bare.parse::<IpAddr>().map_err(|_| bad())?;
                out.push(format!("{host}={bare}"));
            }
        }
    }
    Ok(out.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let check = |flags: &[&str], expect: &str| {
            let flags: Vec<_> = flags.iter().map(|f| (*f).to_owned()).collect();
            let told = extra_hosts(&flags).unwrap_or_else(|e| e.to_string());
            assert_eq!(told, expect, "{flags:?}");
        };
        check(&[], "");
        check(&["a:1.2.3.4"], "a=1.2.3.4");
        check(&["a=1.2.3.4", "b:::1"], "a=1.2.3.4,b=::1");
        check(&["a:1.2.3.4,b:5.6.7.8"], "a=1.2.3.4,b=5.6.7.8");
        check(&["\"a=1.2.3.4,[::1]\""], "a=1.2.3.4,a=::1");
        check(&["a=[::1]"], "a=::1");
        check(&["a"], "invalid host a");
        check(&["a:"], "invalid host a:");
        check(&[":1.2.3.4"], "invalid host :1.2.3.4");
        check(&["a:1.2.3"], "invalid host a:1.2.3");
    }
}
