//! The process: arguments, environment, user, how it ends.

use executor::{Exit, HostIp, Io, Network, Ulimit};
use std::os::unix::fs::PermissionsExt;
use tokio_util::sync::CancellationToken;

use crate::world::World;

const OK: Exit = Exit { code: 0, signal: None, oom: false, started: true };

#[tokio::test]
async fn streams_and_exit_codes() {
    let world = World::new();
    let ran = world.run(world.shell("echo out; echo err >&2; exit 3")).await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(ran.exit, Exit { code: 3, ..OK });
    let ran = world.run(world.shell("kill -TERM $$; kill -KILL $$; echo still here; exit 5")).await;
    assert_eq!(ran.stdout, "still here\n", "the first process of a pid namespace is not killed from inside");
    let ran = world.run(world.shell("sh -c 'kill -9 $$'; echo $?")).await;
    assert_eq!(ran.stdout, "137\n");
}

#[tokio::test]
async fn a_signal_from_outside() {
    let world = World::new();
    let spec = world.shell("trap 'echo caught; exit 7' USR1; echo ready; while :; do sleep 0.01; done");
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let io = Io::new(move |_, chunk| drop(said.send(chunk)));
    let mut container = world.executor.spawn(spec, io).await.expect("a container");
    assert!(container.pid().is_some());
    let control = container.control();
    let wait = tokio::spawn(async move { container.wait().await });
    assert_eq!(heard.recv().await.as_deref(), Some(&b"ready\n"[..]));
    control.signal(10).expect("signal");
    assert_eq!(heard.recv().await.as_deref(), Some(&b"caught\n"[..]));
    assert_eq!(wait.await.expect("joined").expect("an exit"), Exit { code: 7, ..OK });
}

#[tokio::test]
async fn killed_by_a_signal() {
    let world = World::new();
    let container = world.executor.spawn(world.shell("sleep 60"), Io::discard()).await;
    let mut container = container.expect("a container");
    container.control().signal(9).expect("signal");
    let exit = container.wait().await.expect("an exit");
    assert_eq!(exit, Exit { code: 137, signal: Some(9), ..OK });
}

#[tokio::test]
async fn output_is_whole() {
    let world = World::new();
    let ran = world.run(world.shell("seq 1 200000; seq 1 100000 >&2")).await;
    assert_eq!(ran.stdout.lines().count(), 200_000);
    assert!(ran.stdout.ends_with("\n200000\n") && ran.stderr.ends_with("\n100000\n"));
}

#[tokio::test]
async fn programs_that_cannot_be_executed() {
    let world = World::new();
    world.base("bin/plain", "text");
    world.base("bin/script", "no program");
    std::fs::set_permissions(world.path("base/bin/script"), PermissionsExt::from_mode(0o755)).expect("chmod");
    for (args, code, message) in [
        (
            &["none", "x"][..],
            127,
            "unable to start container process: exec: \"none\": executable file not found in $PATH\n",
        ),
        (
            &["/none"],
            127,
            "unable to start container process: exec: \"/none\": stat /none: no such file or directory\n",
        ),
        (
            &["/bin/plain"],
            126,
            "unable to start container process: exec: \"/bin/plain\": permission denied\n",
        ),
        (&["script"], 126, "exec /bin/script: exec format error\n"),
    ] {
        let ran = world.run(world.spec(args)).await;
        assert_eq!(ran.exit, Exit { code, started: false, ..OK }, "{args:?}");
        assert_eq!(ran.stderr, message, "{args:?}");
    }
}

#[tokio::test]
async fn environment_and_directory() {
    let world = World::new();
    let mut spec = world.shell("pwd; echo $A; env | grep HOME; stat -c '%u %g %a' .");
    spec.process.env.extend(["A=first", "HOME=", "A=b c"].map(String::from));
    spec.process.cwd = "/some/where".into();
    spec.process.user = "7:8".into();
    let upper = spec.id.clone();
    assert_eq!(world.output(spec).await, "/some/where\nb c\nHOME=/\n7 8 755\n");
    assert!(world.path(&upper).join("some/where").is_dir(), "the directory stays in the layer");
}

#[tokio::test]
async fn users() {
    let world = World::new();
    world.base("etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:\n");
    world.base("etc/group", "root:x:0:\nwheel:x:10:root\napp:x:1000:\nstaff:x:50:app\n");
    for (user, expected) in [
        ("", "0 0 0 10 /root\n"),
        ("app", "1000 1000 1000 50 /home/app\n"),
        ("app:staff", "1000 50 50 /home/app\n"),
        ("4711", "4711 0 0 /\n"),
    ] {
        let mut spec = world.shell("echo $(id -u) $(id -g) $(id -G) $HOME");
        spec.process.user = user.into();
        assert_eq!(world.output(spec).await, expected, "{user:?}");
    }
    let mut spec = world.shell("id");
    spec.process.user = "bob".into();
    let e = world.try_run(spec).await.expect_err("no such user");
    assert_eq!(e.message(), "unable to find user bob: no matching entries in passwd file");
}

#[tokio::test]
async fn a_user_may_open_its_streams() {
    let world = World::new();
    let mut spec = world.shell("echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin");
    spec.process.user = "1000:1000".into();
    let ran = world.run(spec).await;
    assert_eq!((ran.exit, ran.stdout.as_str(), ran.stderr.as_str()), (OK, "out\n", "err\n"));
}

#[tokio::test]
async fn standard_input() {
    let world = World::new();
    let path = world.path("input");
    std::fs::write(&path, "typed").expect("write");
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let io = Io {
        stdout: None,
        stdin: Some(std::fs::File::open(path).expect("open").into()),
        output: Box::new(move |_, chunk| drop(said.send(chunk))),
    };
    world.executor.run(world.spec(&["cat"]), io, CancellationToken::new()).await.expect("a run");
    assert_eq!(heard.recv().await.as_deref(), Some(&b"typed"[..]));
}

#[tokio::test]
async fn names_and_network_files() {
    let world = World::new();
    let mut spec =
        world.shell("hostname; cat /etc/hosts; grep -c nameserver /etc/resolv.conf; echo x > /etc/hosts");
    spec.extra_hosts.push(HostIp { host: "db".into(), ip: [10, 0, 0, 7].into() });
    let ran = world.run(spec).await;
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    assert_ne!(lines.pop(), Some("0"));
    assert_eq!(
        lines,
        [
            "buildkitsandbox",
            "127.0.0.1\tlocalhost buildkitsandbox",
            "::1\tlocalhost ip6-localhost ip6-loopback",
            "10.0.0.7\tdb"
        ]
    );
    assert!(!ran.exit.success() && ran.stderr.contains("Read-only file system"), "{ran:?}");
    let mut spec = world.shell("hostname");
    spec.hostname = "mine".into();
    assert_eq!(world.output(spec).await, "mine\n");
}

#[tokio::test]
async fn limits_of_the_process() {
    let world = World::new();
    let mut spec = world.shell("ulimit -n; ulimit -Hn; ulimit -c");
    spec.process.ulimits = vec![
        Ulimit { name: "nofile".into(), soft: 100, hard: 200 },
        Ulimit { name: "core".into(), soft: -1, hard: -1 },
    ];
    assert_eq!(world.output(spec).await, "100\n200\nunlimited\n");
    let mut spec = world.shell("true");
    spec.process.ulimits = vec![Ulimit { name: "none".into(), soft: 1, hard: 1 }];
    assert_eq!(world.try_run(spec).await.expect_err("unknown").message(), "unknown ulimit `none`");
}

#[tokio::test]
async fn networks() {
    let world = World::new();
    for (network, links) in [(Network::None, "1: lo UP\n"), (Network::Host, ""), (Network::Sandbox, "")] {
        let mut spec = world.shell("ip -o link | while read n name flags rest; do case $flags in *,UP*) echo $n $name UP;; esac; done");
        spec.network = network;
        let out = world.output(spec).await.replace("lo:", "lo");
        match network {
            Network::None => assert_eq!(out, links),
            _ => assert_eq!(out.lines().count(), own_links_up(), "{out}"),
        }
    }
}

fn own_links_up() -> usize {
    let links = std::fs::read_dir("/sys/class/net").expect("sysfs").flatten();
    let flags = links.filter_map(|l| std::fs::read_to_string(l.path().join("flags")).ok());
    flags
        .filter(|f| u32::from_str_radix(f.trim().trim_start_matches("0x"), 16).is_ok_and(|f| f & 1 == 1))
        .count()
}

#[tokio::test]
async fn many_at_once() {
    let world = std::sync::Arc::new(World::new());
    let runs = (0..50).map(|n| {
        let world = std::sync::Arc::clone(&world);
        tokio::spawn(async move { world.output(world.shell(&format!("echo {n}"))).await })
    });
    for (n, run) in runs.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(run.await.expect("joined"), format!("{n}\n"));
    }
}
