//! Docker's configuration: what it knows of registries and proxies.

use std::collections::BTreeMap;

use errdefs::{Error, Result, ResultExt as _};
use serde_json::Value;

use crate::environment::Environment;

/// `config.json` of Docker.
#[derive(Debug, Default)]
pub(crate) struct DockerAuth {
    config: Value,
}

impl DockerAuth {
    /// Reads the file; a missing one is empty.
    pub(crate) fn load(env: &Environment) -> Result<Self> {
        let Some(dir) = env.docker_config_dir() else { return Ok(Self::default()) };
        let path = dir.join("config.json");
        let failed = || format!("failed to read `{}`", path.display());
        match std::fs::read(&path) {
            Ok(text) => {
                let config = serde_json::from_slice(&text).map_err(|e| Error::user(e.to_string()));
                Ok(DockerAuth { config: config.with_context(failed)? })
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(Error::from(e).context(failed())),
        }
    }

    /// Build arguments that the configuration asks for, in both cases that programs look for.
    pub(crate) fn proxies(&self) -> BTreeMap<String, String> {
        const NAMES: [(&str, &str); 5] = [
            ("httpProxy", "HTTP_PROXY"),
            ("httpsProxy", "HTTPS_PROXY"),
            ("ftpProxy", "FTP_PROXY"),
            ("noProxy", "NO_PROXY"),
            ("allProxy", "ALL_PROXY"),
        ];
        let proxies = &self.config["proxies"]["default"];
        let set = NAMES.iter().filter_map(|(key, name)| Some((*name, proxies[*key].as_str()?)));
        set.filter(|(_, value)| !value.is_empty())
            .flat_map(|(name, value)| {
                [(name.to_owned(), value.to_owned()), (name.to_lowercase(), value.to_owned())]
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<DockerAuth> {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("config.json"), text).expect("written");
        DockerAuth::load(&Environment::of(&[("DOCKER_CONFIG", dir.path().to_str().expect("UTF-8"))]))
    }

    #[test]
    fn proxies_come_in_both_cases() {
        let auth = load(r#"{"proxies":{"default":{"httpProxy":"http://p:1","noProxy":""}}}"#).expect("valid");
        let told: Vec<_> = auth.proxies().into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(told, ["HTTP_PROXY=http://p:1", "http_proxy=http://p:1"]);
    }

    #[test]
    fn no_file_is_empty_and_a_broken_one_is_told() {
        let none = DockerAuth::load(&Environment::of(&[("DOCKER_CONFIG", "/nope")])).expect("no fault");
        assert!(none.proxies().is_empty());
        assert!(load("{").expect_err("broken").to_string().contains("config.json"));
    }
}
