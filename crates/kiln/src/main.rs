//! The program: picks a face by its name or first argument.
//!
//! Never: holds logic.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

/// What the program is this time.
#[derive(Debug, PartialEq, Eq)]
enum Face {
    /// `kiln daemon`, or started as `buildkitd`: the engine, with its arguments.
    Engine(Vec<OsString>),
    /// Started as `buildctl`: BuildKit's command line.
    Buildctl(Vec<OsString>),
    /// Started as `docker-buildx`: the plugin of Docker's command line.
    Plugin(Vec<OsString>),
    /// The command line.
    Client(Vec<OsString>),
}

fn main() -> ExitCode {
    // First of all, while there is one thread: this process may be the executor's helper.
    executor::entry();
    match face(std::env::args_os().collect()) {
        Face::Engine(args) => daemon::main(args),
        Face::Buildctl(args) => cli::buildctl::main(args),
        Face::Plugin(args) => cli::plugin::main(args),
        Face::Client(args) => cli::main(args),
    }
}

/// Looks at the name and the first word. Arguments begin with the name, as always.
fn face(mut args: Vec<OsString>) -> Face {
    let name = args.first().and_then(|a| Path::new(a).file_name()).map(OsStr::to_owned).unwrap_or_default();
    if name == "buildkitd" {
        return Face::Engine(args);
    }
    if name == "buildctl" {
        return Face::Buildctl(args);
    }
    if args.get(1).is_some_and(|word| word == "daemon") {
        args.remove(1);
        return Face::Engine(args);
    }
    if name == "docker-buildx" {
        return Face::Plugin(args);
    }
    Face::Client(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faces() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let check = |line, expect: Face| assert_eq!(face(words(line)), expect, "{line}");
        check("kiln build .", Face::Client(words("kiln build .")));
        check("/usr/bin/kiln daemon --root /x", Face::Engine(words("/usr/bin/kiln --root /x")));
        check("/usr/bin/buildkitd --addr fd://", Face::Engine(words("/usr/bin/buildkitd --addr fd://")));
        check("/usr/bin/buildctl du", Face::Buildctl(words("/usr/bin/buildctl du")));
        check("/x/docker-buildx buildx build .", Face::Plugin(words("/x/docker-buildx buildx build .")));
        assert_eq!(face(Vec::new()), Face::Client(Vec::new()));
    }
}
