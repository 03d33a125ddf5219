//! What a case is: one text file.

use std::path::Path;

use crate::harness::Folder;

/// A build, a change, and a second build.
pub struct Case {
    pub name: String,
    first: Part,
    change: Part,
}

/// Names with what belongs to them.
#[derive(Default)]
struct Part {
    flags: Vec<(String, String)>,
    files: Vec<(String, String)>,
}

impl Case {
    /// Reads `NAME.case`. In front of the first file are lines `key: value`: a flag of buildctl, or `output`, more
    /// attributes of it. After `change-` it is one of the second build alone. `== PATH` begins a file as
    /// [`Folder::new`] takes it, `== change PATH` what the second build finds there, and `== PATH = FIXTURE` is one of the
    /// fixtures. All else is a comment.
    pub fn read(name: &str, text: &str) -> Self {
        let mut case = Case { name: name.to_owned(), first: Part::default(), change: Part::default() };
        let text = format!("\n{text}");
        let mut sections = text.split("\n== ");
        for line in sections.next().unwrap_or_default().lines() {
            if let Some((key, value)) = line.split_once(": ") {
                let (part, key) = case.part(key, "change-");
                part.flags.push((key.to_owned(), value.to_owned()));
            }
        }
        for section in sections {
            let (path, content) = section.split_once('\n').unwrap_or((section, ""));
            let (part, path) = case.part(path, "change ");
            let end = if content.is_empty() || content.ends_with('\n') { "" } else { "\n" };
            part.files.push((path.to_owned(), format!("{content}{end}")));
        }
        case
    }

    /// Where something belongs, and its name there.
    fn part<'a>(&mut self, key: &'a str, mark: &str) -> (&mut Part, &'a str) {
        match key.strip_prefix(mark) {
            Some(rest) => (&mut self.change, rest),
            None => (&mut self.first, key),
        }
    }

    /// The folder of the first build.
    pub fn folder(&self, fixtures: &Path) -> Folder {
        let folder = Folder::new(&[]);
        put(&folder, &self.first.files, fixtures);
        set_times(folder.path(), self.time());
        folder
    }

    /// What the second build finds.
    pub fn change(&self, folder: &Folder, fixtures: &Path) {
        put(folder, &self.change.files, fixtures);
        for (path, _) in &self.change.files {
            set_times(&folder.join(path.rsplit(' ').next().expect("a path")), self.time() + 1);
        }
    }

    /// Of all files, in seconds since 1970; what changes is a second younger. Engines go on from what a client sent last,
    /// whichever it was, and take files of one name, size and time for the same.
    fn time(&self) -> i64 {
        let digest = oci::Digest::of(&self.name);
        1_700_000_000 + 2 * i64::from_str_radix(&digest.hex()[..4], 16).expect("hex")
    }

    /// The arguments of buildctl, in the folder of the case, to write an archive.
    pub fn args(&self, second: bool, archive: &Path) -> Vec<String> {
        let words = [
            "build",
            "--frontend=dockerfile.v0",
            "--progress=rawjson",
            "--local=context=.",
            "--local=dockerfile=.",
        ];
        let mut words: Vec<_> = words.map(str::to_owned).into();
        let mut output = format!("--output=type=oci,dest={}", archive.display());
        for (key, value) in self.first.flags.iter().chain(self.change.flags.iter().filter(|_| second)) {
            match key.as_str() {
                "output" => output += &format!(",{value}"),
                key => words.push(format!("--{key}={value}")),
            }
        }
        words.push(output);
        words
    }
}

fn put(folder: &Folder, files: &[(String, String)], fixtures: &Path) {
    for (path, content) in files {
        match path.split_once(" = ") {
            Some((path, fixture)) => {
                folder.write(path, std::fs::read(fixtures.join(fixture)).expect("a fixture"));
            }
            None => folder.add(path, content),
        }
    }
}

/// Of a file, or of a folder with all that is in it.
fn set_times(path: &Path, seconds: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    if std::fs::symlink_metadata(path).expect("there").is_dir() {
        for entry in std::fs::read_dir(path).expect("a folder") {
            set_times(&entry.expect("an entry").path(), seconds);
        }
    }
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("set");
}
