//! `/etc/hosts` and `/etc/resolv.conf` of a container, in BuildKit's forms.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::spec::DEFAULT_HOSTNAME;
use crate::{HostIp, Network, Spec};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What systemd-resolved would have a resolver use that is not on its own machine.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
/// Used when the host's file leaves none that a container can reach.
const PUBLIC_SERVERS: [&str; 4] = ["8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"];

/// Replaces what the host's `resolv.conf` says, part by part where not empty (`[dns]` in `buildkitd.toml`).
#[derive(Debug, Clone, Default)]
pub struct Dns {
    pub nameservers: Vec<IpAddr>,
    pub options: Vec<String>,
    pub search_domains: Vec<String>,
}

/// The two files, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetFiles {
    pub hosts: String,
    pub resolv_conf: String,
}

impl NetFiles {
    pub fn new(spec: &Spec, dns: &Dns) -> Self {
        // A file that cannot be read is as good as an empty one: the public servers take its place.
        let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
        let mut conf = ResolvConf::parse(&read(RESOLV_CONF));
        if spec.network != Network::Host && conf.only_resolved() {
            conf = ResolvConf::parse(&read(RESOLVED));
        }
        NetFiles {
            hosts: hosts(&spec.hostname, &spec.extra_hosts),
            resolv_conf: conf.for_container(dns, spec.network).to_string(),
        }
    }
}

fn hosts(hostname: &str, extra: &[HostIp]) -> String {
    let hostname = if hostname.is_empty() { DEFAULT_HOSTNAME } else { hostname };
    let mut text = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for HostIp { host, ip } in extra {
        let _ = writeln!(text, "{ip}\t{host}");
    }
    text
}

#[derive(Debug, Default)]
struct ResolvConf {
    nameservers: Vec<IpAddr>,
    search: Vec<String>,
    options: Vec<String>,
    /// Lines with a directive of some other name, kept as they are.
    other: Vec<String>,
}

impl ResolvConf {
    fn parse(text: &str) -> Self {
        let mut conf = ResolvConf::default();
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            let Some(directive) = words.next() else { continue };
            let mut values = words.map(str::to_owned).peekable();
            match directive {
                "nameserver" | "domain" | "search" | "options" if values.peek().is_none() => {}
                // An address that does not parse is dropped, and so is one with a zone: it names a link of the host.
                "nameserver" => conf.nameservers.extend(values.next().and_then(|v| v.parse::<IpAddr>().ok())),
                "domain" | "search" => conf.search = values.collect(),
                "options" => conf.options.extend(values),
                _ => conf.other.push(line.to_owned()),
            }
        }
        conf
    }

    fn only_resolved(&self) -> bool {
        self.nameservers == [IpAddr::from([127, 0, 0, 53])]
    }

    /// Applies `dns`, and takes out servers on the host's loopback, which only a step on the host's network reaches.
    fn for_container(mut self, dns: &Dns, network: Network) -> Self {
        if !dns.search_domains.is_empty() {
            self.search = dns.search_domains.iter().filter(|s| *s != ".").cloned().collect();
        }
        if !dns.options.is_empty() {
            self.options.clone_from(&dns.options);
        }
        if !dns.nameservers.is_empty() {
            self.nameservers.clone_from(&dns.nameservers);
            return self;
        }
        if network != Network::Host {
            self.nameservers.retain(|ip| !ip.is_loopback());
        }
        if self.nameservers.is_empty() {
            self.nameservers = PUBLIC_SERVERS.iter().filter_map(|ip| ip.parse().ok()).collect();
        }
        self
    }
}

impl std::fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for ip in &self.nameservers {
            writeln!(f, "nameserver {ip}")?;
        }
        for (directive, values) in [("search", &self.search), ("options", &self.options)] {
            if !values.is_empty() {
                writeln!(f, "{directive} {}", values.join(" "))?;
            }
        }
        self.other.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "nameserver 8.8.8.8\nnameserver 8.8.4.4\nnameserver 2001:4860:4860::8888\n\
                          nameserver 2001:4860:4860::8844\n";

    #[test]
    fn resolv_conf() {
        let check = |text: &str, network, expected: &str| {
            let conf = ResolvConf::parse(text).for_container(&Dns::default(), network);
            assert_eq!(conf.to_string(), expected, "{text:?} on {network:?}");
        };
        let local = "nameserver 127.0.0.11\noptions ndots:0\n";
        check("", Network::Sandbox, PUBLIC);
        check("", Network::Host, PUBLIC);
        check("nameserver 192.168.65.5\n", Network::Sandbox, "nameserver 192.168.65.5\n");
        check(local, Network::Host, local);
        check(local, Network::None, &format!("{PUBLIC}options ndots:0\n"));
        check(
            "# c\n; c\n\nnameserver x\nnameserver\nnameserver 1.2.3.4 # x\ndomain a\nsearch b c\noptions x\n\
             options y:1\nsortlist 1.2.3.0\n",
            Network::Sandbox,
            "nameserver 1.2.3.4\nsearch b c\noptions x y:1\nsortlist 1.2.3.0\n",
        );
    }

    proptest::proptest! {
        #[test]
        fn what_was_written_reads_the_same(text in "((nameserver|search|options|x|#) ?[0-9a-z.: ]{0,20}\n){0,6}") {
            let once = ResolvConf::parse(&text).to_string();
            proptest::prop_assert_eq!(ResolvConf::parse(&once).to_string(), once);
        }
    }

    #[test]
    fn configured_dns_wins() {
        let dns = Dns {
            nameservers: vec![IpAddr::from([127, 0, 0, 1])],
            options: vec!["edns0".into()],
            search_domains: vec![".".into(), "x".into()],
        };
        let conf = ResolvConf::parse("nameserver 1.1.1.1\nsearch y\n").for_container(&dns, Network::Sandbox);
        assert_eq!(conf.to_string(), "nameserver 127.0.0.1\nsearch x\noptions edns0\n");
    }

    #[test]
    fn hosts_file() {
        let extra = [HostIp { host: "db".into(), ip: IpAddr::from([10, 0, 0, 7]) }];
        assert_eq!(
            hosts("", &extra),
            "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.7\tdb\n"
        );
    }
}
