use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::{Folder, tool};

/// A program that runs until the value is dropped.
pub struct Process(Child);

impl Process {
    /// Starts a program and waits until it prints a line in which `ready` finds something. What it prints later is
    /// thrown away.
    pub fn start<T>(command: &mut Command, ready: impl Fn(&str) -> Option<T>) -> (Self, T) {
        Process::try_start(command, ready)
            .unwrap_or_else(|said| panic!("{command:?} did not get ready:\n{said}"))
    }

    /// The same; gives what the program said if it ended before it was ready.
    pub fn try_start<T>(
        command: &mut Command,
        ready: impl Fn(&str) -> Option<T>,
    ) -> Result<(Self, T), String> {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let also = writer.try_clone().expect("a pipe");
        command.stdin(Stdio::null()).stdout(writer).stderr(also);
        let process = Process(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")));
        // The command keeps its ends of the pipe, and so the reader would never see the end of it.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let found = lines.by_ref().find_map(|line| {
            let found = ready(&line);
            said.push(line);
            found
        });
        std::thread::spawn(move || lines.for_each(drop));
        found.map(|found| (process, found)).ok_or_else(|| said.join("\n"))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) {
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder served over HTTP, on a port of this machine.
pub struct FileServer {
    _process: Process,
    address: String,
    port: u16,
}

impl FileServer {
    pub fn start(folder: &Folder) -> Self {
        FileServer::start_by(tool("python3"), "127.0.0.1", folder)
    }

    /// By a python of a network of its own, and at another of its addresses.
    pub fn start_by(mut python: Command, address: &str, folder: &Folder) -> Self {
        python.args(["-u", "-m", "http.server", "--bind", address, "--directory"]);
        python.arg(folder.path()).arg("0");
        let (process, port) = Process::start(&mut python, |line| {
            let (_, rest) = line.strip_prefix("Serving HTTP on ")?.split_once(" port ")?;
            rest.split(' ').next()?.parse().ok()
        });
        FileServer { _process: process, address: address.to_owned(), port }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}:{}/{path}", self.address, self.port)
    }
}
