//! `--registry-auth-tlscontext`.

use std::collections::BTreeMap;

use errdefs::{Error, Result};
use registry::{HostConfig, KeyPair};

use crate::environment::Environment;
use crate::flags::fields as split;

/// Reads `host=HOST[,ca=FILE][,cert=FILE,key=FILE][,insecure=BOOL]`; what is said of one host adds up.
pub(super) fn tls_contexts(specs: &[String], env: &Environment) -> Result<BTreeMap<String, HostConfig>> {
    let mut hosts = BTreeMap::<String, HostConfig>::new();
    for spec in specs {
        let mut fields = BTreeMap::new();
        for field in split(spec)? {
            let (key, value) =
                field.split_once('=').ok_or_else(|| Error::user(format!("invalid value {field}")))?;
            fields.insert(key.to_ascii_lowercase(), value.to_owned());
        }
        let needs = |what: &str| Error::user(format!("--registry-auth-tlscontext requires {what}"));
        let field = |key: &str| fields.get(key).filter(|value| !value.is_empty());
        let file = |key: &str| field(key).map(|path| env.cwd.join(path));
        let host = hosts.entry(field("host").ok_or_else(|| needs("host=<host>"))?.clone()).or_default();
        let insecure = field("insecure").and_then(|value| oci::parse_bool(value)) == Some(true);
        match (file("ca"), file("cert"), file("key")) {
            (None, Some(_), None) | (None, None, _) if !insecure => {
                return Err(needs("ca=<ca> or cert=<cert>,key=<key> or insecure=true"));
            }
            (Some(_), Some(_), None) | (Some(_), None, Some(_)) => {
                return Err(needs("cert=<cert>,key=<key>"));
            }
            (ca, cert, key) => {
                host.ca.extend(ca);
                host.keys.extend(cert.zip(key).map(|(cert, key)| KeyPair { cert, key }));
            }
        }
        host.insecure |= insecure;
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(specs: &[&str]) -> Result<BTreeMap<String, HostConfig>> {
        let specs: Vec<String> = specs.iter().map(|spec| (*spec).to_owned()).collect();
        tls_contexts(&specs, &Environment::of(&[]))
    }

    #[test]
    fn what_is_said_of_a_host_adds_up() {
        let hosts = read(&[
            "host=a:1,ca=/ca.pem",
            "Host=a:1,cert=/c.pem,key=/k.pem,ca=/other.pem",
            "host=b,insecure=true",
        ])
        .unwrap();
        let key = KeyPair { cert: "/c.pem".into(), key: "/k.pem".into() };
        let a = HostConfig {
            ca: vec!["/ca.pem".into(), "/other.pem".into()],
            keys: vec![key],
            ..HostConfig::default()
        };
        let b = HostConfig { insecure: true, ..HostConfig::default() };
        assert_eq!(hosts, BTreeMap::from([("a:1".into(), a), ("b".into(), b)]));
    }

    #[test]
    fn what_is_missing_is_told() {
        for (spec, want) in [
            ("ca=x", "--registry-auth-tlscontext requires host=<host>"),
            (
                "host=a",
                "--registry-auth-tlscontext requires ca=<ca> or cert=<cert>,key=<key> or insecure=true",
            ),
            ("host=a,ca=x,key=y", "--registry-auth-tlscontext requires cert=<cert>,key=<key>"),
            ("host", "invalid value host"),
        ] {
            assert_eq!(read(&[spec]).unwrap_err().to_string(), want);
        }
    }
}
