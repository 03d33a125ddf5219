//! COPY.

use crate::harness::{Engine, Folder, check_files, list_tar};

const FILES: &[(&str, &str)] = &[
    ("a.txt", "a"),
    ("b.txt", "b"),
    ("c.md", "c"),
    ("+x run.sh", "#!/bin/sh\n"),
    ("d/e/deep.txt", "deep"),
    ("d/top.txt", "top"),
    ("link -> a.txt", ""),
    ("dirlink -> d", ""),
    ("with space", "s"),
];

#[test]
fn files_and_folders() {
    let engine = Engine::new();
    let check = |lines: &str, expect: &[&str]| {
        check_files(&engine, &format!("FROM scratch\n{lines}"), FILES, &[], expect);
    };
    check("COPY a.txt /", &["644 0:0 a.txt 'a'"]);
    check("COPY a.txt b.txt /x/", &["755 0:0 x/", "644 0:0 x/a.txt 'a'", "644 0:0 x/b.txt 'b'"]);
    check("COPY a.txt /new/name", &["755 0:0 new/", "644 0:0 new/name 'a'"]);
    check("COPY run.sh /", &["755 0:0 run.sh '#!/bin/sh\\n'"]);
    check("COPY *.txt /t/", &["755 0:0 t/", "644 0:0 t/a.txt 'a'", "644 0:0 t/b.txt 'b'"]);
    check(
        "COPY [a-b].txt c.?d /t/",
        &["755 0:0 t/", "644 0:0 t/a.txt 'a'", "644 0:0 t/b.txt 'b'", "644 0:0 t/c.md 'c'"],
    );
    check("COPY d /", &["755 0:0 e/", "644 0:0 e/deep.txt 'deep'", "644 0:0 top.txt 'top'"]);
    check(
        "COPY d/ /x",
        &["755 0:0 x/", "755 0:0 x/e/", "644 0:0 x/e/deep.txt 'deep'", "644 0:0 x/top.txt 'top'"],
    );
    check("COPY [\"with space\", \"/a b/\"]", &["755 0:0 a b/", "644 0:0 a b/with space 's'"]);
    check("COPY link /", &["644 0:0 link 'a'"]);
    check("COPY dirlink/top.txt /", &["644 0:0 top.txt 'top'"]);
    check(
        "COPY . /all/",
        &[
            "755 0:0 all/",
            "644 0:0 all/Dockerfile 'FROM scratch\\nCOPY . /all/'",
            "644 0:0 all/a.txt 'a'",
            "644 0:0 all/b.txt 'b'",
            "644 0:0 all/c.md 'c'",
            "755 0:0 all/d/",
            "755 0:0 all/d/e/",
            "644 0:0 all/d/e/deep.txt 'deep'",
            "644 0:0 all/d/top.txt 'top'",
            "777 0:0 all/dirlink -> d",
            "777 0:0 all/link -> a.txt",
            "755 0:0 all/run.sh '#!/bin/sh\\n'",
            "644 0:0 all/with space 's'",
        ],
    );
    check(
        "WORKDIR /w\nCOPY a.txt .\nCOPY b.txt sub/",
        &["755 0:0 w/", "644 0:0 w/a.txt 'a'", "755 0:0 w/sub/", "644 0:0 w/sub/b.txt 'b'"],
    );
    check(
        "COPY <<one <<two /h/\nfirst\none\nsecond\ntwo\n",
        &["755 0:0 h/", "644 0:0 h/one 'first\\n'", "644 0:0 h/two 'second\\n'"],
    );
    check(
        "ARG who=me\nCOPY <<-EOF /h\n\thello $who\nEOF\nCOPY <<'EOF' /q\nraw $who\nEOF\n",
        &["644 0:0 h 'hello me\\n'", "644 0:0 q 'raw $who\\n'"],
    );
}

#[test]
fn flags() {
    let engine = Engine::new();
    let check = |lines: &str, expect: &[&str]| {
        check_files(&engine, &format!("FROM scratch\n{lines}"), FILES, &[], expect);
    };
    check("COPY --chown=7:8 a.txt /x/", &["755 7:8 x/", "644 7:8 x/a.txt 'a'"]);
    check("COPY --chown=7 a.txt /", &["644 7:7 a.txt 'a'"]);
    check("COPY --chmod=640 a.txt /", &["640 0:0 a.txt 'a'"]);
    check("COPY --chmod=4755 a.txt /", &["4755 0:0 a.txt 'a'"]);
    check("COPY --chmod=u+x,go= a.txt /", &["700 0:0 a.txt 'a'"]);
    check(
        "COPY --chown=1:2 --chmod=0700 d /x/",
        &["700 1:2 x/", "700 1:2 x/e/", "700 1:2 x/e/deep.txt 'deep'", "700 1:2 x/top.txt 'top'"],
    );
    check("COPY --link a.txt /x/", &["755 0:0 x/", "644 0:0 x/a.txt 'a'"]);
    check(
        "COPY --link --chown=3:4 d /x/\nCOPY --link b.txt /x/",
        &[
            "755 0:0 x/",
            "644 0:0 x/b.txt 'b'",
            "755 3:4 x/e/",
            "644 3:4 x/e/deep.txt 'deep'",
            "644 3:4 x/top.txt 'top'",
        ],
    );
    check(
        "COPY --exclude=*.md --exclude=a* --exclude=d* --exclude=Dockerfile . /x/",
        &[
            "755 0:0 x/",
            "644 0:0 x/b.txt 'b'",
            "777 0:0 x/link -> a.txt",
            "755 0:0 x/run.sh '#!/bin/sh\\n'",
            "644 0:0 x/with space 's'",
        ],
    );
    check("COPY --exclude=**/deep.txt d /x/", &["755 0:0 x/", "755 0:0 x/e/", "644 0:0 x/top.txt 'top'"]);
    check(
        "COPY --parents d/e/deep.txt a.txt /x/",
        &[
            "755 0:0 x/",
            "644 0:0 x/a.txt 'a'",
            "755 0:0 x/d/",
            "755 0:0 x/d/e/",
            "644 0:0 x/d/e/deep.txt 'deep'",
        ],
    );
}

#[test]
fn owners_by_name_come_from_the_image() {
    let engine = Engine::new();
    let dockerfile = "FROM busybox AS b\nCOPY --chown=kim:staff a.txt /o/\nCOPY --chown=kim b.txt /o/\n\
                      COPY --chown=:staff c.md /o/\nFROM scratch\nCOPY --from=b /o /";
    check_files(
        &engine,
        dockerfile,
        FILES,
        &[],
        &["644 1000:50 a.txt 'a'", "644 1000:1001 b.txt 'b'", "644 0:50 c.md 'c'"],
    );
}

#[test]
fn from_stages_images_and_contexts() {
    let engine = Engine::new();
    let other = Folder::new(&[("o.txt", "other")]);
    let named = format!("other={}", other.path().display());
    let dockerfile = "FROM busybox AS one\nRUN mkdir /o && echo 1 > /o/f && ln -s f /o/l && ln /o/f /o/h && mkfifo /o/p && chown 5:6 /o/f\n\
                      FROM scratch\nCOPY --from=one /o /s\nCOPY --from=0 /o/l /by-number\n\
                      COPY --from=busybox /etc/group /\nCOPY --from=other o.txt /";
    check_files(
        &engine,
        dockerfile,
        FILES,
        &["--build-context", &named],
        &[
            "644 5:6 by-number '1\\n'",
            "644 0:0 group 'root:x:0:\\ndaemon:x:1:\\nkim:x:1001:\\nstaff:x:50:kim\\n'",
            "644 0:0 o.txt 'other'",
            "755 0:0 s/",
            "644 5:6 s/f '1\\n'",
            "644 5:6 s/h == s/f",
            "777 0:0 s/l -> f",
            "644 0:0 s/p p",
        ],
    );
}

#[test]
fn what_was_there_stays_or_is_replaced() {
    let engine = Engine::new();
    let dockerfile = "FROM busybox AS b\nRUN mkdir -m 700 /o /o/d && echo old > /o/a.txt && echo stays > /o/d/stays\n\
                      COPY a.txt /o/\nCOPY d /o/d/\nRUN ln -s d /o/to\nCOPY c.md /o/to/\n\
                      FROM scratch\nCOPY --from=b /o /";
    check_files(
        &engine,
        dockerfile,
        FILES,
        &[],
        &[
            "644 0:0 a.txt 'a'",
            "700 0:0 d/",
            "644 0:0 d/c.md 'c'",
            "755 0:0 d/e/",
            "644 0:0 d/e/deep.txt 'deep'",
            "644 0:0 d/stays 'stays\\n'",
            "644 0:0 d/top.txt 'top'",
            "777 0:0 to -> d",
        ],
    );
}

#[test]
fn links_do_not_lead_out() {
    let engine = Engine::new();
    let host = Folder::new(&[("secret", "of the host")]);
    let link = format!("out -> {}", host.join("secret").display());
    let context = Folder::with_dockerfile("FROM scratch\nCOPY out /", &[(&link, "")]);
    engine.build(&context).args(["-o", "type=tar,dest=-"]).fails(1, &["not found"]);

    let dockerfile = format!(
        "FROM busybox AS b\nRUN ln -s {0} /dir && ln -s ../../../../../{0} /up\nCOPY a.txt /dir/\nCOPY a.txt /up/b\n\
         FROM scratch\nCOPY --from=b {0} /",
        host.path().display()
    );
    let context = Folder::with_dockerfile(&dockerfile, FILES);
    assert_eq!(list_tar(&engine.build(&context).tar()), ["644 0:0 a.txt 'a'", "644 0:0 b 'a'"]);
    assert_eq!(host.names(), ["secret"]);
}
