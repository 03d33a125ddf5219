use std::process::Command;

use super::{Process, run_tool, tool};

/// A network of its own for an engine and servers: what they make in it ends with the value.
pub struct Net(Process);

impl Net {
    pub fn new() -> Self {
        let mut command = tool("unshare");
        command.args(["--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep 1000"]);
        Net(Process::start(&mut command, |line| (line == "ready").then_some(())).0)
    }

    /// What stands before a program that is to run in it.
    pub fn wrapper(&self) -> [String; 2] {
        ["/usr/bin/nsenter".into(), format!("--net=/proc/{}/ns/net", self.0.id())]
    }

    /// A program that runs in it.
    pub fn tool(&self, name: &str) -> Command {
        let [nsenter, net] = self.wrapper();
        let mut command = Command::new(nsenter);
        command.args([net.as_str(), name]);
        command
    }

    /// The names of its interfaces.
    pub fn links(&self) -> Vec<String> {
        let text = run_tool(self.tool("ip").args(["-o", "link"]), b"");
        let name = |line: &str| Some(line.split(": ").nth(1)?.split('@').next()?.to_owned());
        let mut names: Vec<_> = String::from_utf8_lossy(&text).lines().filter_map(name).collect();
        names.sort();
        names
    }
}
