//! The expected digests are those that BuildKit computes for the same ops.

use llb::*;

use super::*;

fn amd64() -> Platform {
    Platform::new("linux", "amd64", "")
}

fn hex(expected: &str, key: &Key) {
    assert_eq!(key.digest.hex(), expected);
}

fn root() -> Mount {
    Mount { dest: "/".into(), ..Mount::default() }
}

fn plain() -> ExecOp {
    ExecOp {
        meta: Meta {
            args: ["/bin/sh", "-c", "echo <a> && b"].map(Into::into).to_vec(),
            env: ["PATH=/bin", "A=1"].map(Into::into).to_vec(),
            cwd: "/".into(),
            ..Meta::default()
        },
        mounts: vec![root()],
        ..ExecOp::default()
    }
}

#[test]
fn exec_keys_are_those_of_buildkit() {
    hex("99b40f46a5cc008cb6269d21430070587f3b2773f75f975dd8c85438bb702dd1", &exec(&plain(), &amd64()));
    let mount = |dest: &str, kind| Mount {
        input: NONE,
        output: NONE,
        dest: dest.into(),
        mount_type: kind,
        ..Mount::default()
    };
    let op = ExecOp {
        meta: Meta {
            args: vec!["make".into()],
            cwd: "/src".into(),
            user: "web".into(),
            hostname: "h".into(),
            extra_hosts: vec![HostIp { host: "x".into(), ip: "1.2.3.4".into() }],
            ulimit: vec![Ulimit { name: "nofile".into(), soft: 1, hard: 2 }],
            proxy_env: Some(ProxyEnv { http_proxy: "p".into(), ..ProxyEnv::default() }),
            ..Meta::default()
        },
        network: NetMode::Host,
        mounts: vec![
            root(),
            Mount { input: 1, selector: "/a/b".into(), readonly: true, ..mount("/in", MountType::Bind) },
            Mount {
                cache: Some(CacheOpt { id: "//root/.cache".into(), sharing: CacheSharing::Shared }),
                ..mount("/root/.cache", MountType::Cache)
            },
            Mount {
                cache: Some(CacheOpt { id: "/mine".into(), sharing: CacheSharing::Locked }),
                ..mount("/c2", MountType::Cache)
            },
            Mount { tmpfs: Some(TmpfsOpt { size: 100 }), ..mount("/tmp", MountType::Tmpfs) },
            Mount {
                secret: Some(SecretOpt { id: "s".into(), mode: 0o400, ..SecretOpt::default() }),
                ..mount("/run/secrets/s", MountType::Secret)
            },
        ],
        secret_env: vec![SecretEnv { id: "t".into(), name: "TOKEN".into(), optional: false }],
        ..ExecOp::default()
    };
    hex("9bf9fdd9e0c3bfeb5d55db135efeafed058badd61d33d7a5ddc66652ab4bfee6", &exec(&op, &amd64()));
    assert_eq!(
        exec_selector(&["/a/b".into()]).map(|d| d.hex().to_owned()),
        Some("662b7b62a798bb2d53e67cad9778e12e48297c79eae98d3aae7197be825d768f".into())
    );
}

#[test]
fn what_does_not_change_a_result_is_not_in_its_key() {
    let same = |change: &dyn Fn(&mut ExecOp)| {
        let mut op = plain();
        op.meta.extra_hosts = vec![HostIp { host: "x".into(), ip: "1.1.1.1".into() }];
        let before = exec(&op, &amd64()).digest;
        change(&mut op);
        assert_eq!(exec(&op, &amd64()).digest, before);
    };
    same(&|op| op.meta.proxy_env = Some(ProxyEnv { http_proxy: "x".into(), ..ProxyEnv::default() }));
    same(&|op| op.meta.extra_hosts[0].ip = "2.2.2.2".into());
    same(&|op| op.mounts[0].selector = "/part".into());
}

#[test]
fn what_changes_a_result_is_in_its_key() {
    let before = exec(&plain(), &amd64()).digest;
    let changed = |change: &dyn Fn(&mut ExecOp)| {
        let mut op = plain();
        change(&mut op);
        assert_ne!(exec(&op, &amd64()).digest, before);
    };
    changed(&|op| op.meta.args.push("x".into()));
    changed(&|op| op.meta.env.push("B=1".into()));
    changed(&|op| op.meta.cwd = "/x".into());
    changed(&|op| op.meta.user = "x".into());
    changed(&|op| op.meta.hostname = "x".into());
    changed(&|op| op.meta.cgroup_parent = "x".into());
    changed(&|op| op.meta.valid_exit_codes = vec![3]);
    changed(&|op| op.meta.remove_mount_stubs_recursive = true);
    changed(&|op| op.network = NetMode::None);
    changed(&|op| op.proxied = true);
    changed(&|op| op.security = SecurityMode::Insecure);
    changed(&|op| op.mounts.push(Mount { dest: "/x".into(), ..Mount::default() }));
    assert_ne!(exec(&plain(), &Platform::new("linux", "arm64", "")).digest, before);
}

fn action(input: i64, secondary_input: i64, output: i64, kind: FileActionKind) -> FileAction {
    FileAction { input, secondary_input, output, kind }
}

#[test]
fn file_keys_are_those_of_buildkit() {
    let check =
        |actions: Vec<FileAction>, inputs, expected| hex(expected, &file(&FileOp { actions }, inputs));
    let copy = Copy {
        src: "/a/b.txt".into(),
        dest: "/dst/".into(),
        owner: Some(Chown { user: Some(User::Id(0)), group: Some(User::Id(0)) }),
        follow_symlink: true,
        dir_copy_contents: true,
        create_dest_path: true,
        allow_wildcard: true,
        allow_empty_wildcard: true,
        ..Copy::default()
    };
    check(
        vec![action(0, 1, 0, FileActionKind::Copy(copy))],
        2,
        "22bd2c9b8fc9eaedc5bfa9e08e2c9360c3d8abd19d01d95ff4377e652e8217cb",
    );
    let first = Copy {
        src: "/x*".into(),
        dest: "/d".into(),
        allow_wildcard: true,
        exclude_patterns: vec!["*.md".into()],
        ..Copy::default()
    };
    let second = Copy { src: "/y".into(), dest: "/d".into(), mode: 0o644, timestamp: 5, ..Copy::default() };
    check(
        vec![action(0, 1, -1, FileActionKind::Copy(first)), action(2, 1, 0, FileActionKind::Copy(second))],
        2,
        "4122c06e15f16a1a0c8e967d518f5d8f47aba7fe404a6f54ae80e7b005e7be7a",
    );
    let made = MkFile { path: "/f".into(), mode: 0o644, data: b"hi".to_vec(), owner: None, timestamp: -1 };
    check(
        vec![action(-1, -1, 0, FileActionKind::MkFile(made))],
        0,
        "d9246740f28fa6fead101b2bd2b8941c6552a6f53398e8a1241712826f7818bf",
    );
    let owner = Chown { user: Some(User::Name { name: "web".into(), input: 0 }), group: None };
    let dir = MkDir { path: "/w".into(), mode: 0o755, make_parents: true, owner: Some(owner), timestamp: -1 };
    check(
        vec![action(0, -1, 0, FileActionKind::MkDir(dir))],
        1,
        "c2fe3c1271f1d34c7087291985a0f87798f5256481d9946159f5b7b57c8be378",
    );
    let gone = Rm { path: "/w".into(), allow_not_found: true, allow_wildcard: false };
    check(
        vec![action(0, -1, 0, FileActionKind::Rm(gone))],
        1,
        "97a495d2dd63761e9c111979187fdcb8b9f63762eb7b0d2679fa01ee177b5b57",
    );
    assert_eq!(
        file_selector(&["/a/b.txt"]).hex(),
        "3af167d37e3712f45bcc830edb5a2eb3d668398e005bf82717b6400ad43f766f"
    );
    assert_eq!(
        file_selector(&["/x*", "/y"]).hex(),
        "46de3638df73e066a06d8f865247108a7d9889fcd0503b96a0512ed3eb7a5330"
    );
}

#[test]
fn merge_and_diff_keys_are_those_of_buildkit() {
    hex(
        "436287a2dc2ce494f564331be9ea3a9f27ebec398567877043da2f618f33d6c8",
        &merge(&MergeOp { inputs: vec![0, 1] }),
    );
    hex(
        "164ae6dac10aea8de6cb7cda35914a10011485523f807ea840bca3e0ab19d8ff",
        &diff(&DiffOp { lower: 0, upper: 1 }),
    );
    hex(
        "f5284a0f1782a8c2cdb29841228c32706cbf04332ad37c3c7cb41659c6eeba0a",
        &diff(&DiffOp { lower: NONE, upper: 0 }),
    );
}

#[test]
fn base_names_are_those_of_go() {
    for (path, expected) in [("", "."), ("/", "/"), ("//", "/"), ("a", "a"), ("/a/b/", "b"), ("a/..", "..")] {
        assert_eq!(base_name(path), expected, "{path}");
    }
}
