//! RUN without mounts.

use crate::harness::{Engine, Folder, check_files};

/// The files that steps leave in `/o`, with `busybox` below them.
fn check(engine: &Engine, lines: &str, args: &[&str], expect: &[&str]) {
    let dockerfile = format!("FROM busybox AS b\n{lines}\nFROM scratch\nCOPY --from=b /o /");
    check_files(engine, &dockerfile, &[], args, expect);
}

#[test]
fn forms() {
    let engine = Engine::new();
    let check = |lines: &str, expect: &[&str]| check(&engine, lines, &[], expect);
    check("RUN echo \"a  b\" > /o", &["644 0:0 o 'a  b\\n'"]);
    check("RUN [\"/bin/sh\", \"-c\", \"echo $0 x > /o\", \"name\"]", &["644 0:0 o 'name x\\n'"]);
    check("RUN <<EOF\nset -e\necho one > /o\necho $((1+1)) >> /o\nEOF", &["644 0:0 o 'one\\n2\\n'"]);
    check("RUN <<EOF cat > /o\nraw $HOME\nEOF", &["644 0:0 o 'raw /root\\n'"]);
    check("RUN <<'EOF' cat > /o\nraw $HOME\nEOF", &["644 0:0 o 'raw $HOME\\n'"]);
    check("RUN <<-EOF\n\t\techo tabs > /o\nEOF", &["644 0:0 o 'tabs\\n'"]);
    check("RUN <<EOF\n#!/bin/cat -\nI am a script\nEOF\nRUN echo x > /o", &["644 0:0 o 'x\\n'"]);
    check("RUN cat <<ONE <<TWO > /o\n1\nONE\n2\nTWO", &["644 0:0 o '2\\n'"]);
    check("SHELL [\"/bin/ash\", \"-c\", \"echo sh:$0 > /o\"]\nRUN words", &["644 0:0 o 'sh:words\\n'"]);
    check("RUN echo one \\\n  # a comment\n  two > /o", &["644 0:0 o 'one two\\n'"]);
}

#[test]
fn user_folder_and_environment() {
    let engine = Engine::new();
    let check = |lines: &str, expect: &[&str]| check(&engine, lines, &[], expect);
    check(
        "RUN mkdir -m 777 /o\nUSER kim\nRUN id > /o/id && echo $HOME > /o/home",
        &[
            "644 1000:1001 home '/home/kim\\n'",
            "644 1000:1001 id 'uid=1000(kim) gid=1001(kim) groups=50(staff),1001(kim)\\n'",
        ],
    );
    check("RUN mkdir -m 777 /o\nUSER 5:6\nRUN touch /o/f", &["644 5:6 f ''"]);
    check("RUN mkdir -m 777 /o\nUSER kim:daemon\nRUN touch /o/f", &["644 1000:1 f ''"]);
    check("WORKDIR /w/x\nWORKDIR y\nRUN pwd > /o", &["644 0:0 o '/w/x/y\\n'"]);
    check("USER kim\nWORKDIR /o\nWORKDIR /o/sub", &["755 1000:1001 sub/"]);
    check("ENV A=1\nENV A=${A}2 B=$A\nRUN echo $A $B > /o", &["644 0:0 o '12 1\\n'"]);
    check("RUN umask > /o", &["644 0:0 o '0022\\n'"]);
}

#[test]
fn what_is_deleted_is_gone() {
    let engine = Engine::new();
    check(
        &engine,
        "RUN mkdir -p /o/d /o/e && touch /o/f /o/d/x /o/e/y\nRUN rm -r /o/d /o/f && rm -r /o/e && mkdir /o/e",
        &[],
        &["755 0:0 e/"],
    );
    let dockerfile = "FROM busybox\nRUN mkdir /d && touch /d/x /f\nRUN rm /f && rm -r /d && mkdir /d && touch /d/y\nRUN rm -r /d";
    let image = engine.build(&Folder::with_dockerfile(dockerfile, &[])).image();
    assert_eq!(image.layer(1), ["755 0:0 d/", "644 0:0 d/x ''", "644 0:0 f ''"]);
    let mut second = image.layer(2);
    second.sort();
    assert_eq!(second, ["0 0:0 .wh.f ''", "0 0:0 d/.wh.x ''", "644 0:0 d/y ''", "755 0:0 d/"]);
    assert_eq!(image.layer(3), ["0 0:0 .wh.d ''"]);
}

#[test]
fn the_container_is_complete() {
    let engine = Engine::new();
    let check = |lines: &str, args: &[&str], expect: &[&str]| check(&engine, lines, args, expect);
    check(
        "RUN test -c /dev/null && test -w /dev/shm && test -e /proc/self/status && test -d /sys/kernel && touch /o",
        &[],
        &["644 0:0 o ''"],
    );
    check("RUN echo $$ > /o", &[], &["644 0:0 o '1\\n'"]);
    check("RUN hostname > /o", &[], &["644 0:0 o 'buildkitsandbox\\n'"]);
    check("RUN --network=none ip link | grep -c '^[0-9]' > /o", &[], &["644 0:0 o '1\\n'"]);
    check(
        "RUN grep some.host /etc/hosts > /o",
        &["--add-host", "some.host:1.2.3.4"],
        &["644 0:0 o '1.2.3.4\\tsome.host\\n'"],
    );
    check("RUN ulimit -n > /o", &["--ulimit", "nofile=1234:1234"], &["644 0:0 o '1234\\n'"]);
    check(
        "RUN df -k /dev/shm | tail -n1 | awk '{print $2}' > /o",
        &["--shm-size", "32m"],
        &["644 0:0 o '32768\\n'"],
    );
    // What the engine makes for a step is no part of the result.
    let dockerfile = "FROM busybox\nRUN touch /one";
    let image = engine.build(&Folder::with_dockerfile(dockerfile, &[])).image();
    assert_eq!(image.layer(1), ["644 0:0 one ''"]);
}

#[test]
fn special_files_and_attributes() {
    let engine = Engine::new();
    let lines = "RUN mkdir /o && cd /o && mknod c c 1 3 && mkfifo p && touch f && chmod 6711 f && ln f h && \
                 ln -s nowhere l && truncate -s 1M sparse && mkdir -m 1777 t && touch $(printf 'n%.0s' $(seq 200))";
    let long = format!("644 0:0 {} ''", "n".repeat(200));
    check(
        &engine,
        lines,
        &[],
        &[
            "644 0:0 c c 1:3",
            "6711 0:0 f ''",
            "6711 0:0 h == f",
            "777 0:0 l -> nowhere",
            &long,
            "644 0:0 p p",
            "644 0:0 sparse 1048576 bytes 30e14955ebf1",
            "1777 0:0 t/",
        ],
    );
}
