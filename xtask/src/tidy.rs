//! Rules of the project that no compiler knows: layers, the map in ARCHITECTURE.md, how a crate opens, file sizes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Lines of a source file past which it needs a reason in `xtask/tidy.list`.
const LONG_FILE: usize = 1000;

/// Checks everything and returns one line for each finding.
pub fn check(root: &Path) -> Result<Vec<String>, String> {
    let mut findings = Vec::new();
    layers(root, &mut findings)?;
    architecture_names_every_crate(root, &mut findings)?;
    crates_open_with_their_story(root, &mut findings)?;
    files_fit_in_the_head(root, &mut findings)?;
    Ok(findings)
}

/// A crate may use crates of a lower layer only. Dev-dependencies are free.
fn layers(root: &Path, findings: &mut Vec<String>) -> Result<(), String> {
    let out = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("failed to run `cargo metadata`: {e}"))?;
    let metadata: Value =
        serde_json::from_slice(&out.stdout).map_err(|e| format!("`cargo metadata`: {e}"))?;
    let packages = metadata["packages"].as_array().ok_or("`cargo metadata` lists no packages")?;
    let level = |p: &Value| p["metadata"]["layer"]["level"].as_u64();
    let mut levels = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        match level(package) {
            Some(n) => _ = levels.insert(name, n),
            None => findings.push(format!("{name}: no [package.metadata.layer] level")),
        }
    }
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(&own) = levels.get(name) else { continue };
        let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
        for dependency in dependencies.iter().filter(|d| d["kind"].as_str() != Some("dev")) {
            let on = dependency["name"].as_str().unwrap_or_default();
            if let Some(&other) = levels.get(on).filter(|_| dependency["path"].is_string())
                && other >= own
            {
                findings.push(format!("`{name}` ({own}) may not use `{on}` ({other})"));
            }
        }
    }
    Ok(())
}

fn crate_dirs(root: &Path) -> Result<Vec<PathBuf>, String> {
    let entries =
        std::fs::read_dir(root.join("crates")).map_err(|e| format!("failed to list `crates`: {e}"))?;
    let mut dirs: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    dirs.sort();
    Ok(dirs)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("failed to read `{}`: {e}", path.display()))
}

fn architecture_names_every_crate(root: &Path, findings: &mut Vec<String>) -> Result<(), String> {
    let text = read(&root.join("ARCHITECTURE.md"))?;
    for dir in crate_dirs(root)? {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !text.contains(&format!("`{name}`")) {
            findings.push(format!("ARCHITECTURE.md does not name `{name}`"));
        }
    }
    Ok(())
}

fn crates_open_with_their_story(root: &Path, findings: &mut Vec<String>) -> Result<(), String> {
    for dir in crate_dirs(root)? {
        let lib = ["src/lib.rs", "src/main.rs"].iter().map(|f| dir.join(f)).find(|p| p.exists());
        let Some(lib) = lib else { continue };
        let text = read(&lib)?;
        if !text.starts_with("//! ") || !text.contains("//! Never: ") {
            findings.push(format!("{}: opens without what it is and what it never does", lib.display()));
        }
    }
    Ok(())
}

fn files_fit_in_the_head(root: &Path, findings: &mut Vec<String>) -> Result<(), String> {
    let allowed = read(&root.join("xtask/tidy.list"))?;
    let allowed: Vec<_> = allowed.lines().filter_map(|l| l.split_whitespace().next()).collect();
    let mut stack = vec![root.join("crates"), root.join("xtask")];
    while let Some(dir) = stack.pop() {
        for entry in
            std::fs::read_dir(&dir).map_err(|e| format!("failed to list `{}`: {e}", dir.display()))?.flatten()
        {
            let path = entry.path();
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if path.is_dir() {
                stack.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !relative.contains("/generated/") {
                let lines = read(&path)?.lines().count();
                if lines > LONG_FILE && !allowed.contains(&relative.as_str()) {
                    findings.push(format!(
                        "{relative}: {lines} lines; split it, or give the reason in xtask/tidy.list"
                    ));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_project_is_tidy() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root");
        assert_eq!(super::check(root), Ok(Vec::new()));
    }
}
