//! ARG, ENV and the expansion of both.

use crate::harness::{Engine, Folder, check_files};

fn check(engine: &Engine, lines: &str, args: &[&str], expect: &str) {
    let dockerfile = format!("{lines}\nFROM scratch\nCOPY --from=b /o /");
    check_files(engine, &dockerfile, &[], args, &[&format!("644 0:0 o '{expect}\\n'")]);
}

#[test]
fn args_and_environment() {
    let engine = Engine::new();
    let check = |lines: &str, args: &[&str], expect: &str| {
        check(&engine, &format!("FROM busybox AS b\n{lines}"), args, expect);
    };
    let set = &["--build-arg", "A=set"];
    check("ARG A\nRUN echo \"[$A]\" > /o", &[], "[]");
    check("ARG A=default\nRUN echo $A > /o", &[], "default");
    check("ARG A=default\nRUN echo $A > /o", set, "set");
    check("ARG A\nRUN echo $A > /o", set, "set");
    check("RUN echo \"[$A]\" > /o", set, "[]");
    check("ARG A B=$A-b\nRUN echo $B > /o", set, "set-b");
    check("ENV A=env\nARG A=arg\nRUN echo $A > /o", set, "set");
    check("ARG A=arg\nENV A=env-$A\nRUN echo $A > /o", set, "env-set");
    check("ARG A\nENV B=${A:-none} C=${A:+some} D=${Z-unset}\nRUN echo $B $C $D > /o", &[], "none unset");
    check("ARG A\nENV B=${A:-none} C=${A:+some} D=${Z-unset}\nRUN echo $B $C $D > /o", set, "set some unset");
    check(
        "ENV A=one.two.three\nENV B=${A#*.} C=${A##*.} D=${A%.*} E=${A%%.*}\nRUN echo $B $C $D $E > /o",
        &[],
        "two.three three one.two one",
    );
    check("ENV A=aXbXc\nENV B=${A/X/-} C=${A//X/-}\nRUN echo $B $C > /o", &[], "a-bXc a-b-c");
    check("ENV A=x\nENV B=\\$A C='$A' D=\"$A\"\nRUN echo $B $C $D > /o", &[], "$A $A x");
    check("ENV A=x\nENV A=y B=$A\nRUN echo $A $B > /o", &[], "y x");
    check(
        "ARG TARGETARCH\nARG TARGETOS\nARG BUILDPLATFORM\nRUN echo $TARGETOS $BUILDPLATFORM > /o",
        &[],
        concat!("linux linux/", "amd64"),
    );
    check(
        "ARG HTTP_PROXY\nRUN echo \"[$http_proxy]$HTTP_PROXY\" > /o",
        &["--build-arg", "HTTP_PROXY=http://p"],
        "[http://p]http://p",
    );
}

#[test]
fn global_args() {
    let engine = Engine::new();
    let check = |lines: &str, args: &[&str], expect: &str| check(&engine, lines, args, expect);
    check("ARG BASE=busybox\nFROM ${BASE} AS b\nRUN echo \"[$BASE]\" > /o", &[], "[]");
    check("ARG V=1\nFROM busybox AS b\nARG V\nRUN echo $V > /o", &[], "1");
    check("ARG V=1\nFROM busybox AS b\nARG V=2\nRUN echo $V > /o", &[], "2");
    check("ARG V=1\nFROM busybox AS b\nARG V\nRUN echo $V > /o", &["--build-arg", "V=3"], "3");
    check("FROM busybox AS x\nARG V=1\nENV W=w\nFROM x AS b\nRUN echo \"[$V] $W\" > /o", &[], "[1] w");
}

#[test]
fn a_variable_of_the_command_line_comes_from_the_environment() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM busybox\nARG FROM_ENV\nRUN echo $FROM_ENV > /o", &[]);
    let image = engine.build(&context).args(["--build-arg", "FROM_ENV"]).env("FROM_ENV", "here").image();
    assert_eq!(image.layer(1), ["644 0:0 o 'here\\n'"]);
}

#[test]
fn they_are_expanded_where_they_should_be() {
    let engine = Engine::new();
    let dockerfile = "FROM busybox AS b\nENV D=/dir F=f.txt U=5:6\nWORKDIR $D\nCOPY --chown=$U $F $D/x/\n\
                      USER $U\nRUN id -u > /tmp/u\nFROM scratch\nCOPY --from=b /dir /tmp/u /";
    check_files(
        &engine,
        dockerfile,
        &[("f.txt", "f")],
        &[],
        &["644 5:6 u '5\\n'", "755 5:6 x/", "644 5:6 x/f.txt 'f'"],
    );
}
