//! What a build reads: its context, its Dockerfile, named contexts.

mod layout;
mod page;
mod stdin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt as _};
use session::Attachables;
use tempfile::TempDir;

use crate::commands::{Local, web_files};
use crate::environment::Environment;
use crate::inputs::stdin::Stdin;
use crate::nodes::Nodes;
use crate::policies::{DefaultFile, Place};
use crate::settings::BuildSettings;

/// A named context that is another target of a bake.
pub(crate) const TARGET: &str = "target:";

/// What named contexts need of a frontend.
const NAMED_CAP: (&str, &str) = ("frontend.caps", "moby.buildkit.frontend.contexts+forward");

/// Frontend options that name the inputs, and the offers that go with them.
pub(crate) struct Inputs {
    pub attrs: BTreeMap<String, String>,
    /// Graphs that the frontend reads from, by name.
    pub graphs: BTreeMap<String, llb::Definition>,
    pub attachables: Attachables,
    /// Names the context's folder, so that the engine knows it again.
    pub shared_key: String,
    /// Where the files lie, for those who ask later what was built.
    pub local: Local,
    /// Where its policies lie.
    pub policies: Place,
    /// Folders that live as long as the build.
    pub temporary: Vec<TempDir>,
    /// An archive from stdin for several engines, and the key under which each asks for it.
    archive: Option<(String, PathBuf)>,
}

/// Where the Dockerfile is.
enum Dockerfile {
    /// In a folder of the client.
    Local { dir: PathBuf, name: String },
    /// At this path of a context that is not a folder of the client.
    InContext(String),
}

impl Inputs {
    /// What lies in the web, the first of the nodes fetches. With `several`, more than one engine may ask for the inputs.
    pub(crate) async fn open(
        settings: &BuildSettings,
        nodes: &Nodes<'_>,
        several: bool,
        env: &Environment,
    ) -> Result<Self> {
        let mut inputs = Inputs {
            attrs: BTreeMap::new(),
            graphs: BTreeMap::new(),
            attachables: Attachables::new(),
            shared_key: String::new(),
            local: Local::default(),
            policies: Place { cwd: env.cwd.clone(), ..Place::default() },
            temporary: Vec::new(),
            archive: None,
        };
        let dockerfile = match inputs.context(settings, several, env).await? {
            Some(dockerfile) => dockerfile,
            None => inputs.dockerfile(settings, nodes, env).await?,
        };
        match dockerfile {
            Dockerfile::Local { dir, name } => {
                let name = name_there(&dir, &name);
                check_dockerfile(&dir, &name)?;
                inputs.policies.default = inputs.policy_beside(settings, &dir, &name)?;
                inputs.policies.filename = filename(settings);
                // One that came through stdin lies in a folder that is gone by then.
                if inputs.temporary.is_empty() {
                    inputs.local.dockerfile = dir.join(&name).display().to_string();
                }
                inputs.offer("dockerfile", &dir);
                inputs.set("filename", name);
            }
            Dockerfile::InContext(path) => {
                inputs.policies.filename = filename(settings);
                inputs.policies.default = Some(DefaultFile { name: format!("{path}.rego"), data: None });
                inputs.set("filename", path);
            }
        }
        for (name, source) in &settings.contexts {
            match settings.graphs.get(name) {
                Some(graph) => inputs.named_graph(name, graph),
                None => inputs.named(name, source, env)?,
            }
        }
        Ok(inputs)
    }

    /// The offers for one of several engines; to be called on what has come of [`Inputs::attachables`].
    pub(crate) async fn for_one_more(&self, attachables: &Attachables) -> Result<Attachables> {
        let mut again = attachables.again();
        if let Some((key, path)) = &self.archive {
            let file = tokio::fs::File::open(path).await.context("failed to read the archive from stdin")?;
            again.upload(key, Box::new(file))?;
        }
        Ok(again)
    }

    /// The policy beside a Dockerfile in a folder here. A context elsewhere has its own, and no other counts.
    fn policy_beside(&self, settings: &BuildSettings, dir: &Path, name: &str) -> Result<Option<DefaultFile>> {
        if self.policies.graph.is_some() || !self.temporary.is_empty() {
            return Ok(None);
        }
        let told = match &settings.dockerfile {
            Some(file) => Path::new(file).with_file_name(name),
            None => Path::new(&settings.context).join(name),
        };
        let told = bake::clean_path(&format!("{}.rego", told.display()));
        match std::fs::read(dir.join(format!("{name}.rego"))) {
            Ok(data) => Ok(Some(DefaultFile { name: told, data: Some(data) })),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::from(e).context(format!("failed to read policy file {told}"))),
        }
    }

    fn set(&mut self, key: &str, value: impl Into<String>) {
        self.attrs.insert(key.to_owned(), value.into());
    }

    fn offer(&mut self, name: &str, dir: &Path) {
        self.attachables = std::mem::take(&mut self.attachables).dir(name, dir);
    }

    fn temporary(&mut self) -> Result<PathBuf> {
        let dir = TempDir::with_prefix("kiln-").context("failed to make a temporary folder")?;
        let path = dir.path().to_owned();
        self.temporary.push(dir);
        Ok(path)
    }

    /// Sets up the main context. Gives the Dockerfile where the context decides it.
    async fn context(
        &mut self,
        settings: &BuildSettings,
        several: bool,
        env: &Environment,
    ) -> Result<Option<Dockerfile>> {
        let context = settings.context.as_str();
        if let Some(graph) = settings.graphs.get("context") {
            let same = ["context", "dockerfile"].map(|name| (name.to_owned(), graph.clone()));
            self.graphs.extend(same);
            self.policies.graph = Some(graph.clone());
            return Ok(None);
        }
        if context == "-" {
            return self.stdin_context(settings, several).await;
        }
        let dir = env.cwd.join(context);
        if dir.is_dir() {
            self.offer("context", &dir);
            self.shared_key = shared_key(&dir);
            let folder = dir.canonicalize().unwrap_or_else(|_| dir.clone());
            self.local.context = folder.display().to_string();
            self.policies.folder = Some(dir);
        } else if is_git(context) || is_http(context) {
            self.set("context", context);
            self.policies.graph = Some(web_files(context)?);
        } else {
            return Err(Error::not_found(format!("unable to prepare context: path {context:?} not found")));
        }
        Ok(None)
    }

    /// An archive on stdin is the context; anything else is the Dockerfile of an empty one.
    async fn stdin_context(&mut self, settings: &BuildSettings, several: bool) -> Result<Option<Dockerfile>> {
        if settings.dockerfile.as_deref() == Some("-") {
            return Err(Error::user(
                "invalid argument: can't use stdin for both build context and dockerfile",
            ));
        }
        let stdin = Stdin::open().await?;
        if stdin.is_archive() {
            let key = client::new_id();
            if several {
                let path = self.temporary()?.join("context");
                stdin.keep(&path).await?;
                self.set("context", format!("http://{}/{key}", session::UPLOAD_HOST));
                self.archive = Some((key, path));
                return Ok(None);
            }
            let url = self.attachables.upload(&key, stdin.into_reader())?;
            self.set("context", url);
            return Ok(None);
        }
        if settings.dockerfile.is_some() {
            return Err(Error::user(
                "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles",
            ));
        }
        let text = stdin.read_all().await?;
        let empty = self.temporary()?;
        self.offer("context", &empty);
        self.policies.folder = Some(empty);
        self.inline_dockerfile(&text).map(Some)
    }

    async fn dockerfile(
        &mut self,
        settings: &BuildSettings,
        nodes: &Nodes<'_>,
        env: &Environment,
    ) -> Result<Dockerfile> {
        if let Some(text) = &settings.dockerfile_text {
            self.graphs.remove("dockerfile");
            return self.inline_dockerfile(text.as_bytes());
        }
        let is_folder = !self.attrs.contains_key("context") && self.graphs.is_empty();
        match settings.dockerfile.as_deref() {
            Some("-") => {
                let text = Stdin::open().await?.read_all().await?;
                self.inline_dockerfile(&text)
            }
            Some(url) if is_http(url) => {
                self.graphs.remove("dockerfile");
                let dir = self.temporary()?;
                page::fetch(nodes.first().await?, url, &dir)
                    .await
                    .with_context(|| format!("failed to fetch `{url}`"))?;
                Ok(self.dockerfile_of_its_own(dir))
            }
            Some(file) if is_folder || Path::new(file).is_absolute() => {
                let path = env.cwd.join(file);
                let name = path.file_name().ok_or_else(|| Error::user(format!("`{file}` is not a file")))?;
                let name = name.to_string_lossy().into_owned();
                if !is_folder {
                    self.graphs.remove("dockerfile");
                    self.set("dockerfilekey", "dockerfile");
                }
                Ok(Dockerfile::Local {
                    dir: path.parent().map_or_else(|| env.cwd.clone(), Path::to_owned),
                    name,
                })
            }
            Some(file) => Ok(Dockerfile::InContext(file.to_owned())),
            None if is_folder => {
                Ok(Dockerfile::Local { dir: env.cwd.join(&settings.context), name: "Dockerfile".into() })
            }
            None => Ok(Dockerfile::InContext("Dockerfile".into())),
        }
    }

    fn inline_dockerfile(&mut self, text: &[u8]) -> Result<Dockerfile> {
        let dir = self.temporary()?;
        std::fs::write(dir.join(page::NAME), text).context("failed to keep the Dockerfile from stdin")?;
        Ok(self.dockerfile_of_its_own(dir))
    }

    /// A file `Dockerfile` in a folder where nothing else is.
    fn dockerfile_of_its_own(&mut self, dir: PathBuf) -> Dockerfile {
        self.set("dockerfilekey", "dockerfile");
        Dockerfile::Local { dir, name: page::NAME.into() }
    }

    fn named_graph(&mut self, name: &str, graph: &llb::Definition) {
        self.set(NAMED_CAP.0, NAMED_CAP.1);
        let input = format!("context-{name}");
        self.set(&format!("context:{name}"), format!("input:{input}"));
        self.graphs.insert(input, graph.clone());
    }

    fn named(&mut self, name: &str, source: &str, env: &Environment) -> Result<()> {
        self.set(NAMED_CAP.0, NAMED_CAP.1);
        let key = format!("context:{name}");
        // Targets are put in when they are made.
        if source.starts_with("docker-image://") || source.starts_with(TARGET) {
            self.set(&key, source);
        } else if let Some(layout) = source.strip_prefix("oci-layout://") {
            let layout = layout::resolve(layout, &env.cwd)
                .with_context(|| format!("oci-layout reference {source:?} could not be resolved"))?;
            let store = client::new_id();
            self.set(&key, layout.reference(&store));
            let attachables = std::mem::take(&mut self.attachables);
            self.attachables = attachables.oci_layout(format!("oci:{store}"), layout.path);
        } else if is_git(source) || is_http(source) {
            self.set(&key, source);
        } else {
            let dir = env.cwd.join(source);
            let stat = dir.metadata().with_context(|| format!("failed to get build context {name}"))?;
            if !stat.is_dir() {
                return Err(Error::user(format!(
                    "failed to get build context {name}: `{source}` is not a folder"
                )));
            }
            let local =
                if matches!(name, "context" | "dockerfile") { format!("_{name}") } else { name.to_owned() };
            self.offer(&local, &dir);
            self.set(&key, format!("local:{local}"));
            self.set(&format!("sharedkey:localdir:{name}"), shared_key(&dir));
        }
        Ok(())
    }
}

/// The name of the Dockerfile as policies see it.
fn filename(settings: &BuildSettings) -> String {
    let file = settings.dockerfile.as_deref().map(Path::new).and_then(Path::file_name);
    file.map_or_else(|| "Dockerfile".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The folder's own name, and a mark that tells folders of one name apart.
fn shared_key(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let name = dir.file_name().map_or_else(|| "root".into(), |n| n.to_string_lossy().into_owned());
    let machine = std::fs::read("/etc/machine-id").unwrap_or_default();
    let mark = oci::Digest::of([&machine, dir.as_os_str().as_encoded_bytes()].concat());
    format!("{name}:{}", &mark.hex()[..16])
}

/// `Dockerfile`, or `dockerfile` where there is only that.
fn name_there(dir: &Path, name: &str) -> String {
    let is_there = |name: &str| dir.join(name).symlink_metadata().is_ok();
    match name {
        "Dockerfile" if !is_there("Dockerfile") && is_there("dockerfile") => "dockerfile".into(),
        name => name.into(),
    }
}

/// Says in good time what the engine would say, and where the file was looked for.
fn check_dockerfile(dir: &Path, name: &str) -> Result<()> {
    match dir.join(name).metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("failed to read dockerfile: open {name}: no such file or directory");
            Err(Error::not_found(message)
                .hint(format!("there is no `{name}` in `{}`; name another with `-f`", dir.display())))
        }
        _ => Ok(()),
    }
}

pub(crate) fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Whether a context is a Git repository, as buildx tells.
pub(crate) fn is_git(text: &str) -> bool {
    let before_fragment = text.split('#').next().unwrap_or(text);
    let path = before_fragment.split('?').next().unwrap_or(before_fragment);
    text.starts_with("git://")
        || text.starts_with("ssh://")
        || text.starts_with("github.com/")
        || (is_http(text) && path.ends_with(".git"))
        || is_scp(text)
}

/// Whether it is reached over ssh, as `user@host:path`.
pub(crate) fn is_scp(text: &str) -> bool {
    let is_scp = |(user, rest): (&str, &str)| {
        !user.contains(['/', ':']) && rest.split_once(':').is_some_and(|(host, _)| !host.contains('/'))
    };
    !text.contains("://") && text.split_once('@').is_some_and(is_scp)
}

#[cfg(test)]
mod tests;
