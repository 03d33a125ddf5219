//! What the client remembers of its builds: the folder, which the engine does not know by name.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::environment::Environment;

/// As many builds are remembered.
const ENTRIES: usize = 500;

/// What was built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Local {
    pub context: String,
    pub dockerfile: String,
}

impl Local {
    /// Remembers a build. That this fails is no reason to fail it.
    pub(crate) fn save(&self, id: &str, env: &Environment) {
        let Some(dir) = dir(env) else { return };
        let json = json!({"LocalPath": self.context, "DockerfilePath": self.dockerfile}).to_string();
        let saved = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(dir.join(id), json));
        match saved {
            Ok(()) => forget_oldest(&dir),
            Err(e) => tracing::debug!("the build is not remembered: {e}"),
        }
    }

    pub(super) fn load(id: &str, env: &Environment) -> Self {
        // An id is of letters and digits; anything else may be a path.
        if !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Local::default();
        }
        let text = dir(env).and_then(|dir| std::fs::read(dir.join(id)).ok()).unwrap_or_default();
        let json: Value = serde_json::from_slice(&text).unwrap_or_default();
        let field = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        Local { context: field("LocalPath"), dockerfile: field("DockerfilePath") }
    }
}

fn dir(env: &Environment) -> Option<PathBuf> {
    let state = match env.filled("XDG_STATE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env.filled("HOME")?).join(".local/state"),
    };
    Some(state.join("kiln/builds"))
}

fn forget_oldest(dir: &Path) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> =
        entries.filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path()))).collect();
    if files.len() > ENTRIES {
        files.sort();
        for (_, path) in &files[..files.len() - ENTRIES] {
            let _another_one_did = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_remembered() {
        let dir = tempfile::tempdir().expect("a folder");
        let env = Environment::of(&[("XDG_STATE_HOME", dir.path().to_str().expect("UTF-8"))]);
        let local = Local { context: "/src/app".into(), dockerfile: "/src/app/Dockerfile".into() };
        local.save("abc1", &env);
        assert_eq!(Local::load("abc1", &env), local);
        assert_eq!(Local::load("other", &env), Local::default());
        assert_eq!(Local::load("../kiln", &env), Local::default());
    }
}
