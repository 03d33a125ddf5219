//! Docker contexts by name, as `docker context ls` shows them.

use errdefs::Result;

use super::endpoint::{DEFAULT, current_context, read};
use crate::environment::Environment;

/// The context that is there without being made.
const DEFAULT_NAME: &str = "default";

/// The context that Docker's command line uses now: DOCKER_HOST counts as the default one.
pub(crate) fn current(env: &Environment) -> String {
    if env.filled("DOCKER_HOST").is_some() {
        return DEFAULT_NAME.into();
    }
    let named = env.filled("DOCKER_CONTEXT").map(str::to_owned);
    named.or_else(|| current_context(env)).unwrap_or_else(|| DEFAULT_NAME.into())
}

/// What buildx calls the place where its current builder is meant: the name of a context, or the address of the default
/// one.
pub(crate) fn key(env: &Environment) -> String {
    match current(env) {
        name if name == DEFAULT_NAME => {
            env.filled("DOCKER_HOST").map_or_else(|| format!("unix://{DEFAULT}"), str::to_owned)
        }
        name => name,
    }
}

/// All contexts, the default one among them.
pub(crate) fn names(env: &Environment) -> Result<Vec<String>> {
    let mut names = vec![DEFAULT_NAME.to_owned()];
    let dir = env.docker_config_dir().map(|dir| dir.join("contexts/meta"));
    for entry in dir.iter().flat_map(std::fs::read_dir).flatten() {
        // What cannot be read is no context.
        let meta = read(&entry?.path().join("meta.json")).unwrap_or_default();
        names.extend(meta["Name"].as_str().map(str::to_owned));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts() {
        let dir = tempfile::tempdir().expect("a folder");
        let meta = dir.path().join("contexts/meta/x");
        std::fs::create_dir_all(&meta).expect("made");
        std::fs::write(meta.join("meta.json"), r#"{"Name":"far"}"#).expect("written");
        let check = |vars: &[(&str, &str)], expect: [&str; 2]| {
            let vars = [vars, &[("DOCKER_CONFIG", dir.path().to_str().expect("UTF-8"))]].concat();
            let env = Environment::of(&vars);
            assert_eq!([current(&env), key(&env)], expect.map(str::to_owned), "{vars:?}");
            assert_eq!(names(&env).expect("read"), ["default", "far"]);
        };
        check(&[], ["default", "unix:///var/run/docker.sock"]);
        check(&[("DOCKER_CONTEXT", "far")], ["far", "far"]);
        check(&[("DOCKER_CONTEXT", "far"), ("DOCKER_HOST", "tcp://h:1")], ["default", "tcp://h:1"]);
        std::fs::write(dir.path().join("config.json"), r#"{"currentContext":"far"}"#).expect("written");
        check(&[], ["far", "far"]);
        check(&[("DOCKER_CONTEXT", "default")], ["default", "unix:///var/run/docker.sock"]);
    }
}
