use super::{Folder, Process, tool};

/// Who may use a registry that asks for a name and a password.
pub const LOGIN: &str = "kim:open sesame";
/// That password as bcrypt has it.
const HTPASSWD: &str = "kim:$2b$04$1LSDJ468x6ZQABL92.ss2OW6D6yPUEUDyzJbAaC6pv6BsOMZh5qvi\n";

/// Debian's registry on a port of this machine.
pub struct Registry {
    _process: Process,
    _folder: Folder,
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
        Registry { _process: process, _folder: folder, port }
    }

    /// A name in it.
    pub fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.host())
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
