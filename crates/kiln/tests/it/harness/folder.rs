use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder for a test, a build context most of the time.
pub struct Folder(TempDir);

impl Folder {
    /// Makes files. A path may be `dir/` for a folder, `+x path` for a program, `link -> target` for a link.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let folder = Folder(TempDir::with_prefix("kiln-test-").expect("a folder"));
        for (path, content) in files {
            folder.add(path, content);
        }
        folder
    }

    /// A context that is a Dockerfile and these files.
    pub fn with_dockerfile(dockerfile: &str, files: &[(&str, &str)]) -> Self {
        let folder = Folder::new(files);
        folder.write("Dockerfile", dockerfile);
        folder
    }

    /// Makes one file, as [`Folder::new`] does.
    pub fn add(&self, path: &str, content: &str) {
        if let Some((link, target)) = path.split_once(" -> ") {
            symlink(target, self.place(link)).expect("linked");
        } else if let Some(dir) = path.strip_suffix('/') {
            make_dir(&self.join(dir));
        } else if let Some(program) = path.strip_prefix("+x ") {
            self.write(program, content);
            let executable = fs::Permissions::from_mode(0o755);
            fs::set_permissions(self.join(program), executable).expect("made executable");
        } else {
            self.write(path, content);
        }
    }

    fn place(&self, path: &str) -> PathBuf {
        let path = self.join(path);
        make_dir(path.parent().expect("below the folder"));
        path
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.place(path);
        fs::write(&path, content).expect("written");
        // Whatever umask the tests run with.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("readable");
    }

    pub fn read(&self, path: &str) -> String {
        let path = self.join(path);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    pub fn join(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Names of what lies in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// With those above it, open to all whatever umask the tests run with.
fn make_dir(path: &Path) {
    if !path.exists() {
        make_dir(path.parent().expect("below the folder"));
        fs::create_dir(path).expect("made");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("open to all");
    }
}
