//! Engines that are reached through another program: in a container, in a pod, on another machine. The program runs
//! `buildctl dial-stdio` next to the engine, whose input and output are then the connection.

use std::collections::BTreeMap;
use std::fmt;

use errdefs::{Error, Result};

/// A program, and the address that named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    address: String,
    /// Program and arguments.
    command: Vec<String>,
}

/// The parts of `scheme://user@host:port/path?a=b`.
#[derive(Default)]
struct Parts<'a> {
    user: Option<&'a str>,
    host: &'a str,
    port: Option<&'a str>,
    path: &'a str,
    query: BTreeMap<&'a str, &'a str>,
}

impl Helper {
    pub(crate) fn knows(scheme: &str) -> bool {
        matches!(scheme, "docker-container" | "podman-container" | "nerdctl-container" | "kube-pod" | "ssh")
    }

    pub(crate) fn parse(scheme: &str, rest: &str) -> Result<Self> {
        let address = format!("{scheme}://{rest}");
        let command = command(scheme, &Parts::of(rest));
        let command = command.map_err(|e| e.context(format!("invalid engine address `{address}`")))?;
        Ok(Helper { address, command })
    }

    pub(crate) fn command(&self) -> (&str, &[String]) {
        match self.command.split_first() {
            Some((program, args)) => (program, args),
            None => ("", &[]),
        }
    }
}

impl fmt::Display for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Self {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (user, host) = match host.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, host),
        };
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (host, None),
        };
        let query = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        Parts { user, host, port, path, query }
    }

    fn query(&self, key: &str) -> &'a str {
        self.query.get(key).copied().unwrap_or_default()
    }
}

fn command(scheme: &str, parts: &Parts<'_>) -> Result<Vec<String>> {
    let mut words: Vec<&str> = Vec::new();
    let (context, namespace) = (parts.query("context"), parts.query("namespace"));
    let container = parts.query("container");
    let with = |flag: &str, value: &str| format!("{flag}={value}");
    let (context_flag, namespace_flag) = (with("--context", context), with("--namespace", namespace));
    let container_flag = with("--container", container);
    let socket = format!("unix://{}", parts.path);
    let what = if scheme == "kube-pod" { "pod" } else { "container" };
    match scheme {
        "ssh" => return ssh(parts, &socket),
        _ if parts.host.is_empty() => return Err(Error::user(format!("it names no {what}"))),
        // A name that begins so would be read as a flag.
        _ if parts.host.starts_with('-') => {
            return Err(Error::user(format!("`{}` names no {what}", parts.host)));
        }
        "docker-container" => {
            words.push("docker");
            words.extend((!context.is_empty()).then_some(&*context_flag));
            words.extend(["exec", "-i", parts.host]);
        }
        "podman-container" => words.extend(["podman", "exec", "-i", parts.host]),
        "nerdctl-container" => {
            words.extend(["nerdctl", "exec"]);
            words.extend((!namespace.is_empty()).then_some(&*namespace_flag));
            words.extend(["-i", parts.host]);
        }
        _ => {
            for name in [namespace, container, parts.host] {
                if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b)) {
                    return Err(Error::user(format!("`{name}` is no name of Kubernetes")));
                }
            }
            words.push("kubectl");
            words.extend((!context.is_empty()).then_some(&*context_flag));
            words.extend((!namespace.is_empty()).then_some(&*namespace_flag));
            words.push("exec");
            words.extend((!container.is_empty()).then_some(&*container_flag));
            words.extend(["-i", parts.host, "--"]);
        }
    }
    words.extend(["buildctl", "dial-stdio"]);
    Ok(words.into_iter().map(str::to_owned).collect())
}

fn ssh(parts: &Parts<'_>, socket: &str) -> Result<Vec<String>> {
    if parts.host.is_empty() {
        return Err(Error::user("it names no host"));
    }
    if parts.user.is_some_and(|user| user.contains(':')) {
        return Err(Error::user("a password does not belong there").hint("use a key"));
    }
    if !parts.query.is_empty() {
        return Err(Error::user("nothing may follow the path"));
    }
    let mut words = vec!["ssh"];
    words.extend(parts.user.into_iter().flat_map(|user| ["-l", user]));
    words.extend(parts.port.into_iter().flat_map(|port| ["-p", port]));
    words.extend(["--", parts.host.trim_matches(['[', ']']), "buildctl"]);
    if !parts.path.is_empty() {
        words.extend(["--addr", socket]);
    }
    words.push("dial-stdio");
    Ok(words.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let check = |address: &str, expect: &str| {
            let (scheme, rest) = address.split_once("://").expect("an address");
            match Helper::parse(scheme, rest) {
                Ok(helper) => assert_eq!(helper.command.join(" "), expect, "{address}"),
                Err(e) => assert_eq!(e.to_string(), format!("invalid engine address `{address}`: {expect}")),
            }
        };
        check("docker-container://b", "docker exec -i b buildctl dial-stdio");
        check("docker-container://b?context=c", "docker --context=c exec -i b buildctl dial-stdio");
        check("podman-container://b", "podman exec -i b buildctl dial-stdio");
        check("nerdctl-container://b?namespace=n", "nerdctl exec --namespace=n -i b buildctl dial-stdio");
        check("kube-pod://p", "kubectl exec -i p -- buildctl dial-stdio");
        check(
            "kube-pod://p?context=c&namespace=n&container=x",
            "kubectl --context=c --namespace=n exec --container=x -i p -- buildctl dial-stdio",
        );
        check("ssh://h", "ssh -- h buildctl dial-stdio");
        check("ssh://u@h:22/run/b.sock", "ssh -l u -p 22 -- h buildctl --addr unix:///run/b.sock dial-stdio");
        check("ssh://[::1]:22", "ssh -p 22 -- ::1 buildctl dial-stdio");
        check("docker-container://", "it names no container");
        check("docker-container://-it", "`-it` names no container");
        check("kube-pod://P", "`P` is no name of Kubernetes");
        check("ssh://u:x@h", "a password does not belong there");
        check("ssh://h?x=y", "nothing may follow the path");
    }
}
