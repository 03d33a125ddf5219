use std::sync::Arc;

use snapshot::{Attrs, FileType, LayerId, Options, Owner, Store, Time, TreeBuilder, View};

/// A store in a folder of its own.
pub struct World {
    pub store: Arc<Store>,
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        World { store, dir }
    }

    pub fn view(&self, chain: &[LayerId]) -> View {
        self.store.view(chain).unwrap()
    }

    /// A layer on `base`, made by `edit`.
    pub fn layer(&self, base: &[LayerId], edit: impl FnOnce(&mut TreeBuilder)) -> LayerId {
        let mut builder = self.store.new_tree().unwrap().builder(self.view(base));
        edit(&mut builder);
        builder.commit().unwrap()
    }

    /// A layer of the lines of `text`: see [`put`].
    pub fn made_of(&self, base: &[LayerId], text: &str) -> LayerId {
        self.layer(base, |tree| put(tree, text))
    }

    pub fn show(&self, chain: &[LayerId]) -> String {
        show(&self.view(chain))
    }
}

pub fn attrs(mode: u32) -> Attrs {
    Attrs { mode, owner: Owner::default(), mtime: Time { secs: 1_000_000_000, nanos: 0 }, ..Attrs::default() }
}

/// Edits a tree by lines: `a/ dir`, `a/f file data`, `l symlink target`, `h link a/f`, `x rm`, `d char 1 3`, `p fifo`.
pub fn put(tree: &mut TreeBuilder, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<_> = line.split(' ').collect();
        let path = words[0].as_bytes();
        match words[1] {
            "dir" => tree.put_dir(path, &attrs(0o755)),
            "file" => {
                let store = tree.store().clone();
                let data = words.get(2).copied().unwrap_or_default();
                let mut writer = store.objects().create(&attrs(0o644), data.len() as u64).unwrap();
                std::io::Write::write_all(&mut writer, data.as_bytes()).unwrap();
                tree.put_object(path, &writer.finish().unwrap())
            }
            "symlink" => tree.put_symlink(path, words[2].as_bytes(), &attrs(0o777)),
            "link" => tree.put_hardlink(path, words[2].as_bytes()),
            "char" => {
                let rdev = (words[2].parse().unwrap(), words[3].parse().unwrap());
                tree.put_special(path, FileType::Char, rdev, &attrs(0o600))
            }
            "fifo" => tree.put_special(path, FileType::Fifo, (0, 0), &attrs(0o600)),
            "rm" => tree.remove_if_there(path),
            other => panic!("{other}"),
        }
        .unwrap();
    }
}

/// One line for each path of a view: path, mode, content or target.
pub fn show(view: &View) -> String {
    let mut out = String::new();
    for entry in view.walk(b"").unwrap().skip(1) {
        let entry = entry.unwrap();
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        let what = match entry.meta.file_type {
            FileType::Dir => "dir".to_owned(),
            FileType::File => {
                let text = view.read(&entry.path, 1 << 20).unwrap().unwrap();
                format!("file {}", String::from_utf8_lossy(&text))
            }
            FileType::Symlink => {
                format!("symlink {}", String::from_utf8_lossy(&view.read_link(&entry.path).unwrap()))
            }
            other => format!("{other:?} {:?}", entry.meta.rdev),
        };
        out.push_str(&format!("{path} {:o} {what}\n", entry.meta.mode));
    }
    out
}
