//! RUN --mount.

use crate::harness::{Engine, Folder, State, Steps, check_files};

fn check(engine: &Engine, lines: &str, files: &[(&str, &str)], args: &[&str], expect: &[&str]) {
    let dockerfile = format!("FROM busybox AS b\n{lines}\nFROM scratch\nCOPY --from=b /o /");
    check_files(engine, &dockerfile, files, args, expect);
}

#[test]
fn bind() {
    let engine = Engine::new();
    let files = &[("a.txt", "a"), ("d/f", "f")];
    let check = |lines: &str, expect: &[&str]| check(&engine, lines, files, &[], expect);
    check("RUN --mount=target=/m cat /m/a.txt > /o", &["644 0:0 o 'a'"]);
    check("RUN --mount=type=bind,source=d,target=/m ls /m > /o", &["644 0:0 o 'f\\n'"]);
    check("RUN --mount=type=bind,source=a.txt,target=/m/file cat /m/file > /o", &["644 0:0 o 'a'"]);
    check("WORKDIR /w\nRUN --mount=target=. ls > /o", &["644 0:0 o 'Dockerfile\\na.txt\\nd\\n'"]);
    check(
        "RUN --mount=target=/m touch /m/x 2>/dev/null || echo read-only > /o",
        &["644 0:0 o 'read-only\\n'"],
    );
    check(
        "RUN --mount=target=/m,rw touch /m/x && ls /m/x > /o\nRUN --mount=target=/m ls /m >> /o",
        &["644 0:0 o '/m/x\\nDockerfile\\na.txt\\nd\\n'"],
    );
    check("RUN --mount=from=busybox,source=/etc,target=/m ls /m > /o", &["644 0:0 o 'group\\npasswd\\n'"]);
    // Two of one stage, one inside of the other.
    check(
        "RUN --mount=source=d,target=/m --mount=from=busybox,source=/etc/group,target=/n/g ls /m /n > /o",
        &["644 0:0 o '/m:\\nf\\n\\n/n:\\ng\\n'"],
    );
}

#[test]
fn tmpfs() {
    let engine = Engine::new();
    let check = |lines: &str, expect: &[&str]| check(&engine, lines, &[], &[], expect);
    check(
        "RUN --mount=type=tmpfs,target=/t touch /t/x && grep -c ' /t tmpfs ' /proc/mounts > /o && rm -f /t/x\nRUN test ! -e /t",
        &["644 0:0 o '1\\n'"],
    );
    check(
        "RUN --mount=type=tmpfs,target=/t,size=8m df -k /t | tail -n1 | awk '{print $2}' > /o",
        &["644 0:0 o '8192\\n'"],
    );
}

#[test]
fn caches_stay_from_build_to_build() {
    let engine = Engine::new();
    let check = |lines: &str, expect: &[&str]| check(&engine, lines, &[], &[], expect);
    check("RUN --mount=type=cache,target=/c echo 1 >> /c/f && cp /c/f /o", &["644 0:0 o '1\\n'"]);
    check("RUN --mount=type=cache,target=/c echo 2 >> /c/f && cp /c/f /o", &["644 0:0 o '1\\n2\\n'"]);
    // The place is the name, unless there is an id.
    check("RUN --mount=type=cache,target=/other ls -A /other > /o", &["644 0:0 o ''"]);
    check("RUN --mount=type=cache,id=/c,target=/other cat /other/f > /o", &["644 0:0 o '1\\n2\\n'"]);
    check(
        "RUN --mount=type=cache,target=/c,ro touch /c/x 2>/dev/null || echo read-only > /o",
        &["644 0:0 o 'read-only\\n'"],
    );
    check(
        "RUN --mount=type=cache,target=/u,uid=5,gid=6,mode=0750 stat -c '%u:%g %a' /u > /o",
        &["644 0:0 o '5:6 750\\n'"],
    );
    check(
        "RUN --mount=type=cache,target=/b,from=busybox,source=/etc ls /b > /o",
        &["644 0:0 o 'group\\npasswd\\n'"],
    );
    engine.stop();
    check("RUN --mount=type=cache,target=/c echo 3 >> /c/f && cp /c/f /o", &["644 0:0 o '1\\n2\\n3\\n'"]);
    // Nothing of a cache gets into an image.
    let context =
        Folder::with_dockerfile("FROM busybox\nRUN --mount=type=cache,target=/c touch /c/z /own", &[]);
    assert_eq!(engine.build(&context).image().layer(1), ["644 0:0 own ''"]);
}

/// Two stages that use one cache mount with this sharing. Each says that it is there, and waits up to two seconds for
/// the other; gives what they saw. How a cache is shared is no part of a step's key, so the command names it.
fn meet(engine: &Engine, sharing: &str) -> String {
    let step = |me: &str, other: &str| {
        format!(
            "FROM busybox AS {me}\nRUN --mount=type=cache,id=meet-{sharing},target=/c,sharing={sharing} \
             : {sharing}; touch /c/{me}; for i in $(seq 20); do test -e /c/{other} && break; sleep 0.1; done; \
             if test -e /c/{other}; then echo met > /{me}; else echo alone > /{me}; rm /c/{me}; fi\n"
        )
    };
    let dockerfile =
        format!("{}{}FROM scratch\nCOPY --from=x /x /\nCOPY --from=y /y /", step("x", "y"), step("y", "x"));
    let out = Folder::new(&[]);
    let context = Folder::with_dockerfile(&dockerfile, &[]);
    engine.build(&context).args(["-o", &out.path().display().to_string()]).ok();
    format!("{} {}", out.read("x").trim(), out.read("y").trim())
}

#[test]
fn sharing_modes() {
    let engine = Engine::new();
    assert_eq!(meet(&engine, "shared"), "met met");
    assert_eq!(meet(&engine, "locked"), "alone alone");
    assert_eq!(meet(&engine, "private"), "alone alone");
}

#[test]
fn secrets() {
    let engine = Engine::new();
    let files = Folder::new(&[("token", "of a file")]);
    let from_file = format!("id=token,src={}", files.join("token").display());
    let check = |lines: &str, args: &[&str], expect: &[&str]| check(&engine, lines, &[], args, expect);
    check(
        "RUN --mount=type=secret,id=token cat /run/secrets/token > /o",
        &["--secret", &from_file],
        &["644 0:0 o 'of a file'"],
    );
    check(
        "RUN --mount=type=secret,id=token,target=/s,mode=0440,uid=5,gid=6 stat -c '%u:%g %a' /s > /o",
        &["--secret", &from_file],
        &["644 0:0 o '5:6 440\\n'"],
    );
    check(
        "RUN --mount=type=secret,id=token,env=TOKEN echo \"$TOKEN\" > /o; test ! -e /run/secrets/token",
        &["--secret", &from_file],
        &["644 0:0 o 'of a file\\n'"],
    );
    check(
        "RUN --mount=type=secret,id=missing test ! -e /run/secrets/missing && touch /o",
        &[],
        &["644 0:0 o ''"],
    );

    let context = Folder::with_dockerfile(
        "FROM busybox\nRUN --mount=type=secret,id=T cat /run/secrets/T > /o\nRUN --mount=type=secret,id=token true",
        &[],
    );
    let build = || engine.build(&context).args(["--secret", "id=T", "--secret", &from_file]);
    let image = build().env("T", "of the environment").image();
    assert_eq!(image.layer(1), ["644 0:0 o 'of the environment'"]);
    // A place is made for the mount; what was in it never stays.
    assert!(image.layer(2).iter().all(|l| !l.contains("of a file")), "{:?}", image.layer(2));
    // Another value is no reason to run a step anew.
    let steps: Steps = build().env("T", "another").steps();
    steps.assert(&[("RUN --mount=type=secret,id=T cat", State::Cached)]);
}
