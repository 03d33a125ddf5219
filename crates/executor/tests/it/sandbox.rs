//! What a container may not do.

use executor::{Device, DeviceKind, Exit, Resources};

use crate::world::{World, cgroups, eventually};

#[tokio::test]
async fn capabilities() {
    let world = World::new();
    let script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t' | tr '\\n' ' '";
    let out = world.output(world.shell(script)).await;
    assert_eq!(
        out,
        "CapInh:0000000000000000 CapPrm:00000000a80425fb CapEff:00000000a80425fb CapBnd:00000000a80425fb \
         CapAmb:0000000000000000 NoNewPrivs:0 Seccomp:2 "
    );
    let mut spec = world.shell(script);
    spec.process.user = "1000:1000".into();
    let out = world.output(spec).await;
    assert!(out.contains("CapEff:0000000000000000 CapBnd:00000000a80425fb"), "{out}");
}

#[tokio::test]
async fn hidden_and_protected_paths() {
    let world = World::new();
    let ran = world
        .run(world.shell(
            "for p in /proc/kcore /proc/keys /proc/timer_list; do [ ! -e $p ] || wc -c < $p; done; ls /sys/firmware; \
             echo 1 > /proc/sys/kernel/domainname; mkdir /sys/fs/cgroup/x",
        ))
        .await;
    assert!(ran.stdout.split_whitespace().all(|size| size == "0"), "{ran:?}");
    assert_eq!(ran.stderr.matches("Read-only file system").count(), 2, "{ran:?}");
}

#[tokio::test]
async fn devices() {
    let world = World::new();
    let ran = world
        .run(world.shell(
            "ls /dev | tr '\\n' ' '; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x > /dev/null; \
             stat -c '%a %t:%T' /dev/null; mknod /mem c 1 1 && head -c 1 /mem; mknod /null c 1 3 && echo x > /null && echo fine",
        ))
        .await;
    let expected =
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 4\n4\n666 1:3\nfine\n";
    // Kernels differ in whether they have the file that it links to.
    assert_eq!(ran.stdout.trim_start_matches("core "), expected);
    assert!(ran.stderr.contains("/mem: Operation not permitted"), "{ran:?}");
}

#[tokio::test]
async fn namespaces() {
    let world = World::new();
    let out = world.output(world.shell("echo $$; ls /proc | grep -c '^[0-9]'; for n in mnt pid ipc uts; do readlink /proc/self/ns/$n; done")).await;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "1", "the program is the first process");
    for link in &lines[2..] {
        let name = link.split(':').next().expect("a name");
        let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).expect("readlink");
        assert_ne!(ours.to_str(), Some(*link));
    }
}

#[tokio::test]
async fn nothing_of_the_engine_is_inherited() {
    let world = World::new();
    let out = world.output(world.shell("ls /proc/self/fd | tr '\\n' ' '; umask; grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\t'; env | grep -v PWD | grep -v SHLVL; ls /.. | grep -c state; true")).await;
    // The fourth is that of `ls` itself.
    let expected =
        "0 1 2 3 0022\nSigBlk:0000000000000000\nSigIgn:0000000000000000\nHOME=/\nPATH=/usr/bin:/bin\n0\n";
    assert_eq!(out.replace("PATH=/usr/bin:/bin\nHOME=/\n", "HOME=/\nPATH=/usr/bin:/bin\n"), expected);
}

/// The filter knows the calls of the second architecture too.
#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn a_32_bit_program() {
    use std::os::unix::fs::PermissionsExt;
    // An ELF file of 32 bits: its header, one segment, and `exit(42)`.
    let words: [u32; 21] = [
        0x464c_457f,
        0x0001_0101,
        0,
        0,
        0x0003_0002,
        1,
        0x0804_8054,
        52,
        0,
        0,
        0x0020_0034,
        1,
        0,
        1,
        0,
        0x0804_8000,
        0x0804_8000,
        96,
        96,
        5,
        0x1000,
    ];
    let code = [0xb8, 1, 0, 0, 0, 0xbb, 42, 0, 0, 0, 0xcd, 0x80];
    let elf: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).chain(code).collect();
    let world = World::new();
    let path = world.path("base/bin/small");
    std::fs::write(&path, elf).expect("write");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("chmod");
    let ran = world.run(world.spec(&["small"])).await;
    // A kernel may be without 32-bit programs at all.
    assert!(ran.exit.code == 42 || ran.stderr.contains("exec format error"), "{ran:?}");
}

#[tokio::test]
async fn an_insecure_step_has_all() {
    let world = World::new();
    let mut spec = world.shell(
        "mount -t tmpfs none /mnt && echo mounted; [ -e /dev/loop0 ] && echo loop; mkdir /sys/fs/cgroup/memory/x && echo made; \
         rm -r /sys/fs/cgroup/memory/x 2>/dev/null; /bin/busybox rmdir /sys/fs/cgroup/memory/x; grep CapEff /proc/self/status",
    );
    spec.insecure = true;
    world.base("mnt/x", "");
    let out = world.output(spec).await;
    let own = std::fs::read_to_string("/proc/self/status").expect("status");
    let own = own.lines().find(|l| l.starts_with("CapPrm")).expect("a line").replace("CapPrm", "CapEff");
    assert_eq!(out, format!("mounted\nloop\nmade\n{own}\n"));
    assert!(!world.run(world.shell("mount -t tmpfs none /mnt")).await.exit.success());
}

#[tokio::test]
async fn memory_runs_out() {
    let world = World::new();
    // Shared memory counts, and no swap can take it.
    let mut spec = world.shell("dd if=/dev/zero of=/dev/shm/x bs=1M count=60; echo $?");
    spec.resources = Resources { memory: 16 << 20, memory_swap: 16 << 20, ..Resources::default() };
    let ran = world.try_run(spec).await;
    if memory_can_be_limited() {
        let ran = ran.expect("a container");
        assert!(ran.exit.oom && ran.stdout == "137\n", "{ran:?}");
    } else {
        assert_eq!(ran.expect_err("no limit").class(), errdefs::Class::Environment);
    }
    assert!(!world.run(world.shell("kill -9 $$; exit 137")).await.exit.oom);
}

/// Not every kernel counts swap, and not every place lets us write.
fn memory_can_be_limited() -> bool {
    let files =
        ["memory/memory.memsw.limit_in_bytes", "cgroup.controllers"].map(|f| format!("/sys/fs/cgroup/{f}"));
    files.iter().any(|file| std::path::Path::new(file).exists())
}

#[tokio::test]
async fn the_second_version_of_cgroups() {
    let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(std::path::Path::new);
    let Some(mount) = mounts.into_iter().find(|m| m.join("cgroup.controllers").exists()) else { return };
    let world = World::with(|options| options.cgroup_mount = Some(mount.to_owned()));
    let ran = world
        .run(world.shell(
            "grep ^0: /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs | head -n 1; mkdir /sys/fs/cgroup/x; \
             mknod /mem c 1 1 && head -c 1 /mem; mknod /null c 1 3 && echo x > /null && echo fine; cat /proc/self/status | grep CapEff",
        ))
        .await;
    assert_eq!(ran.stdout, "0::/\n1\nfine\nCapEff:\t00000000a80425fb\n", "{ran:?}");
    assert!(
        ran.stderr.contains("/mem: Operation not permitted") && ran.stderr.contains("Read-only"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn without_cgroups() {
    let world = World::with(|options| options.cgroup_mount = Some("/nonexistent".into()));
    // Where devices cannot be guarded, no node can be made.
    let ran = world.run(world.shell("mknod /null c 1 3; echo x > /dev/null && echo fine")).await;
    assert!(ran.stdout == "fine\n" && ran.stderr.contains("Operation not permitted"), "{ran:?}");
    let mut spec = world.shell("true");
    spec.resources.memory = 1 << 30;
    let e = world.try_run(spec).await.expect_err("no limit");
    assert!(e.class() == errdefs::Class::Environment && !e.hints().is_empty(), "{e}");
}

#[tokio::test]
async fn limits_are_seen_inside() {
    let world = World::new();
    let mut spec = world.shell(
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max; nproc",
    );
    spec.resources = Resources { memory: 64 << 20, cpuset_cpus: "0".into(), ..Resources::default() };
    assert_eq!(world.output(spec).await, "67108864\n1\n");
}

#[tokio::test]
async fn cgroups_go_with_the_container() {
    let world = World::new();
    let mut spec = world.shell("cat /proc/self/cgroup");
    spec.cgroup_parent = format!("/{}", crate::world::unique());
    let parent = spec.cgroup_parent.trim_start_matches('/').to_owned();
    let path = format!("{}/buildkit/{}", spec.cgroup_parent, spec.id);
    let ran = world.run(spec).await;
    assert!(
        ran.exit == Exit { code: 0, signal: None, oom: false, started: true } && ran.stdout.contains(&path),
        "{ran:?}"
    );
    eventually("the cgroup goes", || cgroups(&path[1..]).is_empty()).await;
    for dir in cgroups(&format!("{parent}/buildkit")).into_iter().chain(cgroups(&parent)) {
        std::fs::remove_dir(dir).expect("no container is left in it");
    }
    let mut spec = world.shell("true");
    spec.cgroup_parent = "a.slice:b:".into();
    assert_eq!(world.try_run(spec).await.expect_err("systemd").code(), errdefs::Code::Unimplemented);
}

#[tokio::test]
async fn devices_that_are_given() {
    let world = World::new();
    let script =
        "stat -c '%a %u:%g %t:%T %F' /dev/given/* /dev/full; head -c 3 /dev/given/zero | wc -c; id -G";
    let mut spec = world.shell(script);
    spec.process.user = "1000:1001".into();
    spec.process.groups = vec![44, 45];
    let device = |path: &str, kind, minor, mode, uid| Device {
        path: path.into(),
        kind,
        major: 1,
        minor,
        mode,
        uid,
        gid: None,
        access: "rwm".into(),
    };
    spec.devices = vec![
        device("/dev/given/pipe", DeviceKind::Fifo, 0, 0o640, Some(7)),
        device("/dev/given/zero", DeviceKind::Char, 5, 0o600, None),
        // In place of the one that every container has.
        device("/dev/full", DeviceKind::Char, 7, 0o604, Some(0)),
    ];
    let out = world.output(spec).await;
    let expected = "640 7:1001 0:0 fifo\n600 1000:1001 1:5 character special file\n\
                    604 0:1001 1:7 character special file\n3\n1001 44 45\n";
    assert_eq!(out, expected);
}
