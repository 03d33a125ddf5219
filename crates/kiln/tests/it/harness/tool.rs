use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// A program of the machine that a test needs. One that is missing is told with the way to get it.
pub fn tool(name: &str) -> Command {
    let dirs = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found = dirs.iter().map(|d| std::path::Path::new(d).join(name)).find(|p| p.exists());
    let path = found.unwrap_or_else(|| panic!("this test needs `{name}`: run `./setup test`"));
    let mut command = Command::new(path);
    command.env_remove("DOCKER_CONFIG").env_remove("DOCKER_HOST");
    command
}

/// Runs a command that has to succeed and gives what it printed.
pub fn run_tool(command: &mut Command, stdin: &[u8]) -> Vec<u8> {
    let output = output_of(command, stdin);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    output.stdout
}

/// Runs a command to its end with something to read.
pub fn output_of(command: &mut Command, stdin: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut pipe = child.stdin.take().expect("a pipe was asked for");
    std::thread::scope(|scope| {
        // A program that ends before it has read all is no fault here.
        scope.spawn(move || pipe.write_all(stdin));
        child.wait_with_output().expect("it ends")
    })
}
