//! What a case is: one text file.

use std::path::Path;

use crate::harness::Folder;

/// A build, a change, and a second build.
pub struct Case {
    pub name: String,
    args: Vec<(String, String)>,
    files: Vec<(String, String)>,
    more_args: Vec<(String, String)>,
    changes: Vec<(String, String)>,
}

impl Case {
    /// Reads `NAME.case`. Lines in front of the first file are `key: value`: a flag of buildctl, or `change-` and one that
    /// comes to the second build. `== PATH` begins a file (as [`Folder::new`] takes it), `== change PATH` what the file
    /// holds in the second build, and `== PATH = FIXTURE` is one of the fixtures. All else is a comment.
    pub fn read(path: &Path, host: &str) -> Self {
        let text = std::fs::read_to_string(path).expect("readable");
        let text = format!("\n{text}").replace("@HOST@", host);
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let mut case = Case { name, args: vec![], files: vec![], more_args: vec![], changes: vec![] };
        let mut parts = text.split("\n== ");
        for line in parts.next().unwrap_or_default().lines() {
            match line.split_once(": ").filter(|(key, _)| !key.contains(' ')) {
                Some((key, value)) => match key.strip_prefix("change-") {
                    Some(key) => case.more_args.push((key.to_owned(), value.to_owned())),
                    None => case.args.push((key.to_owned(), value.to_owned())),
                },
                None => {}
            }
        }
        for part in parts {
            let (path, content) = part.split_once('\n').unwrap_or((part, ""));
            let content = content.strip_suffix('\n').unwrap_or(content);
            let content = if content.is_empty() { String::new() } else { format!("{content}\n") };
            match path.strip_prefix("change ") {
                Some(path) => case.changes.push((path.to_owned(), content)),
                None => case.files.push((path.to_owned(), content)),
            }
        }
        case
    }

    /// The folder of the first build. All times in it are the same.
    pub fn folder(&self, fixtures: &Path) -> Folder {
        let folder = Folder::new(&[]);
        self.put(&folder, &self.files, fixtures);
        set_times(folder.path(), self.time());
        folder
    }

    /// What the second build finds.
    pub fn change(&self, folder: &Folder, fixtures: &Path) {
        self.put(folder, &self.changes, fixtures);
        for (path, _) in &self.changes {
            set_times(&folder.join(path.rsplit(' ').next().expect("a path")), self.time() + 1);
        }
    }

    /// Of all files. Engines take files of one name, size and time for the same, also where they are another client's.
    fn time(&self) -> i64 {
        let digest = oci::Digest::of(&self.name);
        1_700_000_000 + 2 * i64::from_str_radix(&digest.hex()[..4], 16).expect("hex")
    }

    fn put(&self, folder: &Folder, files: &[(String, String)], fixtures: &Path) {
        for (path, content) in files {
            match path.split_once(" = ") {
                Some((path, fixture)) => {
                    folder.write(path, std::fs::read(fixtures.join(fixture)).expect("a fixture"));
                }
                None => folder.add(path, content),
            }
        }
    }

    /// The arguments of buildctl, in the folder of the case, to write an archive.
    pub fn args(&self, second: bool, archive: &Path) -> Vec<String> {
        let mut words =
            vec!["build".to_owned(), "--frontend=dockerfile.v0".into(), "--progress=rawjson".into()];
        let mut all: Vec<_> =
            ["context=.", "dockerfile=."].map(|l| ("local".to_owned(), l.to_owned())).into();
        all.extend(self.args.clone());
        if second {
            all.extend(self.more_args.clone());
        }
        let attrs: String =
            all.iter().filter(|(key, _)| key == "output").map(|(_, value)| format!(",{value}")).collect();
        for (key, value) in all.iter().filter(|(key, _)| key != "output") {
            words.extend([format!("--{key}"), value.clone()]);
        }
        words.push(format!("--output=type=oci,dest={}{attrs}", archive.display()));
        words
    }
}

fn set_times(path: &Path, seconds: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let kind = std::fs::symlink_metadata(path).expect("there").file_type();
    if kind.is_dir() {
        for entry in std::fs::read_dir(path).expect("a folder") {
            set_times(&entry.expect("an entry").path(), seconds);
        }
    }
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("set");
}
