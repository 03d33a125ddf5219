//! Builders that `docker buildx create` made: where their engines are.

use std::path::PathBuf;

use client::{Address, Tls};
use errdefs::{Error, Result, ResultExt as _};
use serde_json::Value;

use crate::environment::Environment;
use crate::settings::not_yet;

/// The engine of the first node of a builder.
pub(crate) fn find(name: &str, env: &Environment) -> Result<(Address, Tls)> {
    let unknown = || {
        Error::not_found(format!("no builder {name:?} found"))
            .hint("`docker buildx ls` lists builders; leave `--builder` out for an engine of your own")
    };
    // It names a file.
    if name.contains('/') || name.starts_with('.') {
        return Err(unknown());
    }
    let path = folder(env).ok_or_else(unknown)?.join("instances").join(name);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(unknown()),
        Err(e) => return Err(Error::from(e).context(format!("failed to read `{}`", path.display()))),
    };
    let json: Value = serde_json::from_slice(&text)
        .map_err(|e| Error::user(e.to_string()))
        .with_context(|| format!("failed to read `{}`", path.display()))?;
    let node = json["Nodes"].get(0).ok_or_else(|| Error::user(format!("builder {name:?} has no node")))?;
    of_node(json["Driver"].as_str().unwrap_or_default(), node)
        .map_err(|e| e.context(format!("builder {name:?}")))
}

/// The folder of buildx.
fn folder(env: &Environment) -> Option<PathBuf> {
    match env.filled("BUILDX_CONFIG") {
        Some(dir) => Some(PathBuf::from(dir)),
        None => Some(env.docker_config_dir()?.join("buildx")),
    }
}

fn of_node(driver: &str, node: &Value) -> Result<(Address, Tls)> {
    let text = |value: &Value| value.as_str().filter(|t| !t.is_empty()).map(str::to_owned);
    let endpoint = text(&node["Endpoint"]).unwrap_or_default();
    let option = |key: &str| text(&node["DriverOpts"][key]);
    match driver {
        "remote" => {
            let tls = Tls {
                ca: option("cacert").map(PathBuf::from),
                cert: option("cert").map(PathBuf::from),
                key: option("key").map(PathBuf::from),
                server_name: option("servername"),
            };
            Ok((endpoint.parse()?, tls))
        }
        "docker-container" => {
            let container = format!("buildx_buildkit_{}", text(&node["Name"]).unwrap_or_default());
            // The endpoint is a socket or the name of a Docker context.
            let context = match endpoint.contains("://") || endpoint.is_empty() || endpoint == "default" {
                true => String::new(),
                false => format!("?context={endpoint}"),
            };
            Ok((format!("docker-container://{container}{context}").parse()?, Tls::default()))
        }
        other => Err(not_yet(&format!("the driver `{other}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("instances")).expect("made");
        let env = Environment::of(&[("BUILDX_CONFIG", dir.path().to_str().expect("UTF-8"))]);
        let check = |json: &str, expect: &str| {
            std::fs::write(dir.path().join("instances/b"), json).expect("written");
            let told = match find("b", &env) {
                Ok((address, tls)) => format!("{address} {:?}", tls.server_name),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{json}");
        };
        check(
            r#"{"Driver":"remote","Nodes":[{"Endpoint":"tcp://h:1","DriverOpts":{"servername":"s"}}]}"#,
            "tcp://h:1 Some(\"s\")",
        );
        check(
            r#"{"Driver":"docker-container","Nodes":[{"Name":"b0","Endpoint":"unix:///var/run/docker.sock"}]}"#,
            "docker-container://buildx_buildkit_b0 None",
        );
        check(
            r#"{"Driver":"docker-container","Nodes":[{"Name":"b0","Endpoint":"far"}]}"#,
            "docker-container://buildx_buildkit_b0?context=far None",
        );
        check(
            r#"{"Driver":"kubernetes","Nodes":[{}]}"#,
            "builder \"b\": the driver `kubernetes` is not supported yet",
        );
        check(r#"{"Driver":"remote","Nodes":[]}"#, "builder \"b\" has no node");
        assert_eq!(find("../b", &env).expect_err("no name").to_string(), "no builder \"../b\" found");
    }
}
