//! What the client remembers of its builds: the folder, which the engine does not know by name.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::environment::Environment;

/// As many builds are remembered, at least.
const ENTRIES: usize = 500;
/// So many more are let come before the oldest are looked for: that takes a look at each.
const MORE: usize = 100;

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
    let entries: Vec<_> = std::fs::read_dir(dir).into_iter().flatten().flatten().collect();
    if entries.len() <= ENTRIES + MORE {
        return;
    }
    let when = |e: &std::fs::DirEntry| Some((e.metadata().ok()?.modified().ok()?, e.path()));
    let mut files: Vec<_> = entries.iter().filter_map(when).collect();
    files.sort();
    for (_, path) in files.iter().rev().skip(ENTRIES) {
        let _another_one_did = std::fs::remove_file(path);
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

    #[test]
    fn the_oldest_builds_are_forgotten() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |number: usize| std::time::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
        for number in 0..=ENTRIES + MORE {
            let file = std::fs::File::create(dir.path().join(number.to_string())).expect("made");
            file.set_modified(at(number)).expect("set");
            forget_oldest(dir.path());
        }
        let left = || std::fs::read_dir(dir.path()).expect("is there").count();
        assert_eq!(left(), ENTRIES);
        assert!(
            !dir.path().join(MORE.to_string()).exists() && dir.path().join((MORE + 1).to_string()).exists()
        );
    }
}
