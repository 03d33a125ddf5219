//! More processes in a container that runs.

use std::sync::{Arc, Mutex};

use executor::{Container, Exit, Io, Process, WinSize};

use crate::world::World;

/// Runs a script in a container, and gives its exit and output.
async fn enter(container: &Container, process: Process) -> (Exit, String) {
    let said = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&said);
    let io =
        Io::new(move |_, chunk| heard.lock().expect("no panic").push_str(&String::from_utf8_lossy(&chunk)));
    let mut guest = container.control().enter(&process, io).await.expect("a guest");
    let exit = guest.wait().await.expect("an exit");
    let said = said.lock().expect("no panic").clone();
    (exit, said)
}

fn shell(script: &str) -> Process {
    Process {
        args: ["/bin/sh", "-c", script].map(str::to_owned).into(),
        env: vec!["PATH=/usr/bin:/bin".into(), "A=1".into()],
        ..Process::default()
    }
}

#[tokio::test]
async fn a_guest_sees_what_the_first_process_sees() {
    let world = World::new();
    world.base("etc/passwd", "app:x:7:8::/home:/bin/sh\n");
    let mut spec = world.shell("hostname; echo first > /made; exec sleep 100");
    spec.hostname = "the-host".into();
    let mut container = world.executor.spawn(spec, Io::discard()).await.expect("a container");
    let check = async |process: Process, expected: (u32, &str)| {
        let (exit, said) = enter(&container, process).await;
        assert_eq!((exit.code, said.as_str()), expected);
    };
    check(shell("until [ -s /made ]; do sleep 0.01; done; cat /made; hostname"), (0, "first\nthe-host\n"))
        .await;
    check(shell("echo $A; id -u; exit 3"), (3, "1\n0\n")).await;
    check(shell("[ $$ != 1 ] && ls /proc/1/root/made"), (0, "/proc/1/root/made\n")).await;
    check(
        Process { user: "app".into(), cwd: "/etc".into(), ..shell("id -u; id -g; ls passwd") },
        (0, "7\n8\npasswd\n"),
    )
    .await;
    check(
        Process { args: vec!["nothing".into()], ..shell("") },
        (127, "unable to start container process: exec: \"nothing\": executable file not found in $PATH\n"),
    )
    .await;
    let tty = Some(WinSize { rows: 3, cols: 9 });
    check(Process { tty, ..shell("[ -t 0 ] && stty size") }, (0, "3 9\r\n")).await;
    container.control().kill();
    assert_eq!(container.wait().await.expect("an exit").signal, Some(9));
}

#[tokio::test]
async fn guests_end_with_their_handle_and_with_the_container() {
    let world = World::new();
    let mut container =
        world.executor.spawn(world.shell("exec sleep 100"), Io::discard()).await.expect("a container");
    let control = container.control();
    let mut first = control.enter(&shell("exec sleep 100"), Io::discard()).await.expect("a guest");
    let second = control.enter(&shell("exec sleep 100"), Io::discard()).await.expect("a guest");
    let gone = second.pid().expect("it runs");
    drop(second);
    while std::path::Path::new(&format!("/proc/{gone}/root/bin")).exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    control.kill();
    assert_eq!(container.wait().await.expect("an exit").signal, Some(9));
    assert_eq!(first.wait().await.expect("an exit").signal, Some(9));
    assert!(control.enter(&shell("true"), Io::discard()).await.is_err());
}
