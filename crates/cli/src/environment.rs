//! What the program was started with beside its arguments. Read once, here, and handed on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use errdefs::Result;
use registry::DockerConfig;
use rustix::termios::isatty;

/// Variables, terminals and the user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    vars: BTreeMap<String, String>,
    pub stdin_is_terminal: bool,
    pub stdout_is_terminal: bool,
    pub stderr_is_terminal: bool,
    pub uid: u32,
    /// Whether Docker's command line started this one for `docker buildx` or `docker build`.
    pub is_plugin: bool,
    pub cwd: PathBuf,
}

impl Environment {
    /// That of this process. Variables that are no UTF-8 are passed over.
    pub(crate) fn here() -> Self {
        Environment {
            vars: std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
            stdin_is_terminal: isatty(rustix::stdio::stdin()),
            stdout_is_terminal: isatty(rustix::stdio::stdout()),
            stderr_is_terminal: isatty(rustix::stdio::stderr()),
            uid: rustix::process::geteuid().as_raw(),
            is_plugin: false,
            cwd: std::env::current_dir().unwrap_or_default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(vars: &[(&str, &str)]) -> Self {
        let vars = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Environment { vars, uid: 1000, cwd: PathBuf::from("/work"), ..Environment::default() }
    }

    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.vars.insert(name.to_owned(), value);
    }

    pub(crate) fn vars(&self) -> &BTreeMap<String, String> {
        &self.vars
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// The value of a variable that is set and not empty.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|v| !v.is_empty())
    }

    /// The proxies for what this program itself asks for.
    pub(crate) fn proxies(&self) -> registry::ProxyConfig {
        let either = |name: &str| self.filled(name).or_else(|| self.filled(&name.to_lowercase()));
        let [http, https, no] =
            ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"].map(|name| either(name).unwrap_or_default());
        registry::ProxyConfig { http: http.into(), https: https.into(), no: no.into() }
    }

    /// Docker's configuration, as far as builds use it; nothing where there is none.
    pub(crate) fn docker_config(&self) -> Result<DockerConfig> {
        match self.docker_config_dir() {
            Some(dir) => DockerConfig::load(&dir.join("config.json")),
            None => Ok(DockerConfig::default()),
        }
    }

    /// The folder of Docker's configuration.
    pub(crate) fn docker_config_dir(&self) -> Option<PathBuf> {
        match self.filled("DOCKER_CONFIG") {
            Some(dir) => Some(PathBuf::from(dir)),
            None => self.filled("HOME").map(|home| PathBuf::from(home).join(".docker")),
        }
    }
}
