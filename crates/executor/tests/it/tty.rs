//! Terminals.

use executor::{Io, WinSize};

use crate::world::World;

#[tokio::test]
async fn a_terminal() {
    let world = World::new();
    let mut spec = world.shell(
        "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo terminal; stty size; ls -l /dev/console | head -c 1; echo; \
         read line; echo \"got $line\"; stty size; echo err >&2",
    );
    spec.process.tty = Some(WinSize { rows: 24, cols: 80 });
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let io = Io::new(move |_, chunk| drop(said.send(chunk)));
    let mut container = world.executor.spawn(spec, io).await.expect("a container");
    let tty = container.tty().expect("a terminal");
    let wait = tokio::spawn(async move { container.wait().await });
    let mut text = String::new();
    while !text.contains("c\r\n") {
        text.push_str(std::str::from_utf8(&heard.recv().await.expect("output")).expect("UTF-8"));
    }
    assert_eq!(text, "terminal\r\n24 80\r\nc\r\n");
    tty.resize(WinSize { rows: 50, cols: 132 }).expect("resize");
    tty.write_all(b"typed\n").await.expect("write");
    assert!(wait.await.expect("joined").expect("an exit").success());
    let mut rest = String::new();
    while let Ok(chunk) = heard.try_recv() {
        rest.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
    }
    assert_eq!(rest, "typed\r\ngot typed\r\n50 132\r\nerr\r\n");
}
