//! EXPOSE: `[ip:][host port:]port[-port][/protocol]`.

use std::net::IpAddr;

use dockerfile::lint::rules;
use dockerfile::{Error, Result, go};
use errdefs::Range;

use super::dispatch::Dispatch;
use crate::image::{self, Layer};

impl Dispatch<'_> {
    /// A variable may hold several ports.
    pub(super) fn expose(&mut self, words: &[String], ranges: &[Range]) -> Result<()> {
        let mut specs = Vec::new();
        for word in words {
            let ports = self.shared.lexer.words(word, &self.stage.state.env).map_err(|e| e.about(word))?;
            specs.extend(ports.into_iter().map(|spec| (spec, word)));
        }
        let mut ports = Vec::new();
        for (spec, word) in specs {
            let spec = PortSpec::split(&spec).map_err(|e| e.about(word))?;
            self.check(&spec, ranges);
            ports.extend(spec.ports().map_err(|e| e.about(word))?);
        }
        image::insert_all(&mut self.stage.image.config.exposed_ports, &ports);
        self.note(format!("EXPOSE {}", go::list(&ports)), Layer::None);
        Ok(())
    }

    fn check(&mut self, spec: &PortSpec<'_>, ranges: &[Range]) {
        let text = spec.text;
        if spec.protocol != spec.protocol.to_lowercase() {
            let message = format!("Defined protocol '{text}' in EXPOSE instruction should be lowercase");
            self.find(rules::EXPOSE_PROTO_CASING, message, ranges);
        }
        if !spec.ip.is_empty() || !spec.host.is_empty() {
            let message = format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'"
            );
            self.find(rules::EXPOSE_INVALID_FORMAT, message, ranges);
        }
    }
}

/// A port or a range of ports as it is written.
struct PortSpec<'a> {
    text: &'a str,
    ip: &'a str,
    host: &'a str,
    range: &'a str,
    protocol: &'a str,
}

impl<'a> PortSpec<'a> {
    fn split(text: &'a str) -> Result<Self> {
        let mut parts = text.rsplitn(3, ':');
        let container = parts.next().unwrap_or_default();
        let (host, ip) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let invalid = |what: &str| Error::new(format!("invalid port: {}: {what}", go::quote(text)));
        let (range, protocol) = container.split_once('/').unwrap_or((container, ""));
        if range.is_empty() {
            return Err(invalid("no port specified"));
        }
        let protocol = match protocol.to_lowercase().as_str() {
            "" => "tcp",
            "tcp" | "udp" | "sctp" => protocol,
            _ => return Err(invalid(&format!("invalid proto: {protocol}"))),
        };
        Ok(PortSpec { text, ip, host, range, protocol })
    }

    /// Each as `number/protocol`.
    fn ports(&self) -> Result<Vec<String>> {
        let PortSpec { ip, host, range, .. } = *self;
        let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
        if !ip.is_empty() && bare.parse::<IpAddr>().is_err() {
            return Err(Error::new(format!("invalid IP address: {bare}")));
        }
        let (first, last) =
            ports(range).ok_or_else(|| Error::new(format!("invalid containerPort: {range}")))?;
        if !host.is_empty() {
            let (from, to) = ports(host).ok_or_else(|| Error::new(format!("invalid hostPort: {host}")))?;
            if last != first && last - first != to - from {
                let message =
                    format!("invalid ranges specified for container and host Ports: {range} and {host}");
                return Err(Error::new(message));
            }
        }
        let protocol = self.protocol.to_lowercase();
        Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
    }
}

fn ports(range: &str) -> Option<(u16, u16)> {
    let number = |text: &str| text.parse::<u16>().ok();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<String>> {
        PortSpec::split(text)?.ports()
    }

    #[test]
    fn ports_are_listed() {
        let check = |text, expected: &[&str]| assert_eq!(parse(text).expect(text), expected, "{text}");
        check("80", &["80/tcp"]);
        check("80-82/UDP", &["80/udp", "81/udp", "82/udp"]);
        check("8080:80", &["80/tcp"]);
        check("127.0.0.1:8080:80/sctp", &["80/sctp"]);
        check("[::1]:8080:80", &["80/tcp"]);
        check("8000-8010:80", &["80/tcp"]);
    }

    #[test]
    fn nonsense_is_refused() {
        let check = |text, expected| assert_eq!(parse(text).expect_err(text).to_string(), expected, "{text}");
        check("80/x", "invalid port: \"80/x\": invalid proto: x");
        check("/tcp", "invalid port: \"/tcp\": no port specified");
        check("x", "invalid containerPort: x");
        check("70000", "invalid containerPort: 70000");
        check("82-80", "invalid containerPort: 82-80");
        check("x:80", "invalid hostPort: x");
        check("1.2.3:1:80", "invalid IP address: 1.2.3");
        check("1-2:80-85", "invalid ranges specified for container and host Ports: 80-85 and 1-2");
    }
}
