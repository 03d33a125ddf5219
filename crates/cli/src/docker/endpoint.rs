use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt as _};
use serde_json::Value;

use crate::environment::Environment;
use crate::settings::not_yet;

pub(super) const DEFAULT: &str = "/var/run/docker.sock";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Unix(PathBuf),
    /// `host:port`, without encryption.
    Tcp(String),
}

impl Endpoint {
    /// The given context, DOCKER_HOST, DOCKER_CONTEXT, the current context of Docker's configuration, or the usual
    /// socket.
    pub(crate) fn find(context: Option<&str>, env: &Environment) -> Result<Self> {
        if let Some(name) = context.filter(|c| !c.is_empty()) {
            return of_context(name, env);
        }
        if let Some(host) = env.filled("DOCKER_HOST") {
            return Self::parse(host);
        }
        match env.filled("DOCKER_CONTEXT").map(str::to_owned).or_else(|| current_context(env)) {
            Some(name) => of_context(&name, env),
            None => Ok(Endpoint::Unix(DEFAULT.into())),
        }
    }

    fn parse(host: &str) -> Result<Self> {
        match host.split_once("://") {
            Some(("unix", path)) => Ok(Endpoint::Unix(path.into())),
            Some(("tcp", host)) => Ok(Endpoint::Tcp(host.trim_end_matches('/').to_owned())),
            _ => Err(not_yet(&format!("loading into Docker at `{host}`"))),
        }
    }
}

fn of_context(name: &str, env: &Environment) -> Result<Endpoint> {
    if name == "default" {
        return Ok(Endpoint::Unix(DEFAULT.into()));
    }
    let dir = env.docker_config_dir().ok_or_else(|| Error::environment("HOME is not set"))?;
    let path = dir.join("contexts/meta").join(oci::Digest::of(name).hex()).join("meta.json");
    let meta = read(&path).with_context(|| format!("failed to read the Docker context `{name}`"))?;
    let host = meta["Endpoints"]["docker"]["Host"].as_str().unwrap_or_default();
    Endpoint::parse(host)
}

pub(super) fn current_context(env: &Environment) -> Option<String> {
    let config = read(&env.docker_config_dir()?.join("config.json")).ok()?;
    config["currentContext"].as_str().filter(|c| !c.is_empty()).map(str::to_owned)
}

pub(super) fn read(path: &Path) -> Result<Value> {
    serde_json::from_slice(&std::fs::read(path)?).map_err(|e| Error::user(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let dir = tempfile::tempdir().expect("a folder");
        let meta = dir.path().join("contexts/meta").join(oci::Digest::of("remote").hex());
        std::fs::create_dir_all(&meta).expect("made");
        std::fs::write(meta.join("meta.json"), r#"{"Endpoints":{"docker":{"Host":"unix:///r.sock"}}}"#)
            .expect("written");
        let config = dir.path().to_str().expect("UTF-8");
        let check = |context: Option<&str>, vars: &[(&str, &str)], expect: &str| {
            let vars = [vars, &[("DOCKER_CONFIG", config)]].concat();
            let told = match Endpoint::find(context, &Environment::of(&vars)) {
                Ok(Endpoint::Unix(path)) => path.display().to_string(),
                Ok(Endpoint::Tcp(host)) => host,
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect);
        };
        check(None, &[], "/var/run/docker.sock");
        check(None, &[("DOCKER_HOST", "unix:///x.sock")], "/x.sock");
        check(None, &[("DOCKER_HOST", "tcp://h:2375/")], "h:2375");
        check(None, &[("DOCKER_HOST", "ssh://h")], "loading into Docker at `ssh://h` is not supported yet");
        check(None, &[("DOCKER_CONTEXT", "remote")], "/r.sock");
        check(Some("remote"), &[("DOCKER_HOST", "unix:///x.sock")], "/r.sock");
        check(Some("default"), &[], "/var/run/docker.sock");
        std::fs::write(dir.path().join("config.json"), r#"{"currentContext":"remote"}"#).expect("written");
        check(None, &[], "/r.sock");
        check(
            Some("gone"),
            &[],
            "failed to read the Docker context `gone`: No such file or directory (os error 2)",
        );
    }
}
