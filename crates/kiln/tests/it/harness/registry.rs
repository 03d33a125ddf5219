use std::path::{Path, PathBuf};

use super::{Folder, Process, tool};

/// Who may use a registry that asks for a name and a password.
pub const LOGIN: &str = "kim:open sesame";
/// That password as bcrypt has it.
const HTPASSWD: &str = "kim:$2b$04$1LSDJ468x6ZQABL92.ss2OW6D6yPUEUDyzJbAaC6pv6BsOMZh5qvi\n";

/// Debian's registry on a port of this machine.
pub struct Registry {
    _process: Process,
    folder: Folder,
    port: u16,
}

impl Registry {
    /// One that anybody may use.
    pub fn open() -> Self {
        Registry::start("")
    }

    /// One that wants [`LOGIN`].
    pub fn with_login() -> Self {
        Registry::start("auth:\n  htpasswd:\n    realm: tests\n    path: FOLDER/htpasswd\n")
    }

    fn start(auth: &str) -> Self {
        let folder = Folder::new(&[("htpasswd", HTPASSWD), ("store/", "")]);
        let config = format!(
            "version: 0.1\nlog:\n  level: info\n  formatter: text\nstorage:\n  filesystem:\n    rootdirectory: FOLDER/store\n\
             http:\n  addr: 127.0.0.1:0\n{auth}"
        );
        folder.write("config.yml", config.replace("FOLDER", &folder.path().display().to_string()));
        let mut registry = tool("docker-registry");
        registry.arg("serve").arg(folder.join("config.yml"));
        let (process, port) = Process::start(&mut registry, |line| {
            let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        });
        Registry { _process: process, folder, port }
    }

    /// A name in it.
    pub fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.host())
    }

    /// The blobs that it keeps, by what it takes for their digests.
    pub fn blobs(&self) -> Vec<(String, PathBuf)> {
        let all = self.folder.join("store/docker/registry/v2/blobs/sha256");
        let list = |path: &Path| {
            let entries = std::fs::read_dir(path).into_iter().flatten();
            entries.map(|entry| entry.expect("readable").path()).collect::<Vec<_>>()
        };
        let blob = |path: PathBuf| {
            let hex = path.file_name().expect("a name").to_string_lossy().into_owned();
            (format!("sha256:{hex}"), path.join("data"))
        };
        list(&all).iter().flat_map(|start| list(start)).map(blob).collect()
    }

    /// Takes a blob from a repository, and from all others.
    pub fn lose(&self, repository: &str, digest: &str) {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        let store = self.folder.join("store/docker/registry/v2");
        for place in [
            format!("repositories/{repository}/_layers/sha256/{hex}"),
            format!("blobs/sha256/{}/{hex}", &hex[..2]),
        ] {
            std::fs::remove_dir_all(store.join(place)).expect("was there");
        }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
