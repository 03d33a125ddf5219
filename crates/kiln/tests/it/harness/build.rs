use std::process::{Child, Command};

use super::steps::Steps;
use super::tool::output_of;
use super::{Engine, Folder, Image};

/// A build that a test is about to run.
pub struct Build<'a> {
    engine: &'a Engine,
    context: String,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    stdin: Vec<u8>,
}

/// A build that has ended.
pub struct Built {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl<'a> Build<'a> {
    pub fn new(engine: &'a Engine, context: &str) -> Self {
        Build {
            engine,
            context: context.to_owned(),
            args: Vec::new(),
            variables: Vec::new(),
            stdin: Vec::new(),
        }
    }

    pub fn args<S: AsRef<str>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn stdin(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.stdin = data.into();
        self
    }

    fn command(&self) -> Command {
        let mut command = self.engine.kiln(["build"]);
        command.args(&self.args).arg(&self.context);
        if !self.args.iter().any(|a| a.starts_with("--progress") || a == "-q" || a == "--quiet") {
            command.arg("--progress=plain");
        }
        command.envs(self.variables.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Runs it to its end, however it ends.
    pub fn run(self) -> Built {
        let output = output_of(&mut self.command(), &self.stdin);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Built { code: output.status.code(), stdout: output.stdout, stderr }
    }

    /// Runs it in the background.
    pub fn spawn(self) -> Child {
        self.command().spawn().expect("it starts")
    }

    /// Runs it; it has to succeed.
    pub fn ok(self) -> Built {
        let told = format!("{} {:?}", self.context, self.args);
        let built = self.run();
        assert_eq!(built.code, Some(0), "{told}\n{}", built.stderr);
        built
    }

    /// Runs it; it has to fail with this exit code, and tell all these texts on stderr.
    pub fn fails(self, code: i32, told: &[&str]) -> Built {
        let built = self.run();
        for text in told {
            assert!(built.stderr.contains(text), "`{text}` is not in:\n{}", built.stderr);
        }
        assert_eq!(built.code, Some(code), "{}", built.stderr);
        built
    }

    /// Runs it and gives its steps.
    pub fn steps(self) -> Steps {
        Steps::read(&self.args(["--progress=rawjson"]).ok().stderr)
    }

    /// Runs it and gives the image that it makes.
    pub fn image(self) -> Image {
        let folder = Folder::new(&[]);
        let archive = folder.join("image.tar");
        self.args(["-o", &format!("type=oci,dest={}", archive.display())]).ok();
        Image::open(&archive)
    }

    /// Runs it and gives the files of its result as a tar archive.
    pub fn tar(self) -> Vec<u8> {
        self.args(["-o", "type=tar,dest=-"]).ok().stdout
    }
}
