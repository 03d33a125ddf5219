//! Whole file systems, as folders.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use errdefs::Result;
use jiff::Timestamp;
use sbom::{Document, Root, scan};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("in the folder")).expect("made");
            fs::write(&path, content).expect("written");
        }
        Folder(folder)
    }
}

impl Root for Folder {
    fn walk(&self, each: &mut dyn FnMut(&[u8], u32) -> Result<()>) -> Result<()> {
        let mut todo = vec![PathBuf::new()];
        while let Some(dir) = todo.pop() {
            let entries = fs::read_dir(self.0.path().join(&dir))?;
            let mut names: Vec<_> =
                entries.map(|entry| entry.map(|e| e.file_name())).collect::<Result<_, _>>()?;
            names.sort();
            for name in names {
                let path = dir.join(name);
                let meta = self.0.path().join(&path).symlink_metadata()?;
                match meta.is_dir() {
                    true => todo.push(path),
                    false => each(path.as_os_str().as_encoded_bytes(), meta.permissions().mode())?,
                }
            }
        }
        Ok(())
    }

    fn open(&self, path: &[u8]) -> Result<Option<File>> {
        let path = self.0.path().join(Path::new(&*String::from_utf8_lossy(path)));
        Ok(File::open(path).ok().filter(|file| file.metadata().is_ok_and(|meta| meta.is_file())))
    }
}

#[test]
fn a_document() {
    let root = Folder::new(&[
        ("etc/os-release", "ID=debian\nVERSION_ID=12\nPRETTY_NAME=\"Debian 12\"\n"),
        (
            "var/lib/dpkg/status",
            "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36\nSource: glibc\n\
             Maintainer: A <a@b.c>\nHomepage: https://x.org\n\nPackage: bash\nStatus: install ok installed\n\
             Architecture: amd64\nVersion: 5.2\nDepends: libc6 (>= 2.36)\n",
        ),
        ("var/lib/dpkg/info/bash.list", "/bin/bash\n"),
        (
            "usr/share/doc/bash/copyright",
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-3+ and mine\n",
        ),
        ("app/node_modules/a/package.json", r#"{"name":"a","version":"1.0.0","license":"MIT"}"#),
        ("app/package-lock.json", r#"{"packages":{"node_modules/dev":{"version":"1"}}}"#),
        ("other/package-lock.json", r#"{"packages":{"node_modules/b":{"version":"2.0.0"}}}"#),
        ("var/lib/rpm/Packages", "x"),
    ]);
    let inventory = scan(&root).expect("readable");
    assert_eq!(inventory.summary(), "4 packages: 2 deb, 2 npm");
    let created = Timestamp::UNIX_EPOCH;
    let document = || inventory.to_spdx(Document { name: "sbom", tool: "kiln-v0", created });
    assert_eq!(
        document(),
        scan(&root).expect("readable").to_spdx(Document { name: "sbom", tool: "kiln-v0", created })
    );
    let json: serde_json::Value = serde_json::from_slice(&document()).expect("JSON");
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).expect("JSON"));
}

#[test]
fn nothing_is_a_document_too() {
    let inventory = scan(&Folder::new(&[("a", "")])).expect("readable");
    assert_eq!((inventory.summary().as_str(), inventory.distro), ("no packages", None));
}
