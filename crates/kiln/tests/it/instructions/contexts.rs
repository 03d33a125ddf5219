//! Contexts: folders, archives, ignore files, named contexts.

use crate::harness::{Engine, FileServer, Folder, list_tar, run_tool, tool};

const COPY_ALL: &str = "FROM scratch\nCOPY . /";

#[test]
fn ignore_files() {
    let engine = Engine::new();
    let check = |ignore: &str, expect: &[&str]| {
        let context = Folder::with_dockerfile(
            COPY_ALL,
            &[
                (".dockerignore", ignore),
                ("a.txt", "a"),
                ("b.log", "b"),
                ("d/c.log", "c"),
                ("d/e/f.txt", "f"),
                ("node_modules/x/y", "y"),
            ],
        );
        let listing = list_tar(&engine.build(&context).tar());
        let names: Vec<_> =
            listing.iter().filter_map(|l| l.split(' ').nth(2)).filter(|n| *n != "Dockerfile").collect();
        assert_eq!(names, expect, "{ignore}");
    };
    let all = &[
        ".dockerignore",
        "a.txt",
        "b.log",
        "d/",
        "d/c.log",
        "d/e/",
        "d/e/f.txt",
        "node_modules/",
        "node_modules/x/",
        "node_modules/x/y",
    ];
    check("", all);
    check("# nothing\n\n", all);
    check(".dockerignore\nnode_modules\n*.log\n", &["a.txt", "d/", "d/c.log", "d/e/", "d/e/f.txt"]);
    check("**/*.log\nnode_modules\n.dockerignore", &["a.txt", "d/", "d/e/", "d/e/f.txt"]);
    check("*\n!d/e\n", &["d/", "d/e/", "d/e/f.txt"]);
    check("*\n!**/*.txt\n", &["a.txt", "d/", "d/e/", "d/e/f.txt"]);
    check("d/*\n!d/c.log\nnode_modules\n.docker*", &["a.txt", "b.log", "d/", "d/c.log"]);
    check("/a.txt\n d/e/ \nnode_modules/**\n.dockerignore\nb.???\n", &["d/", "d/c.log", "node_modules/"]);
    check("Dockerfile\n.dockerignore\nnode_modules\nd\nb.log", &["a.txt"]);
}

#[test]
fn an_ignore_file_of_the_dockerfile_goes_first() {
    let engine = Engine::new();
    let context = Folder::new(&[
        (".dockerignore", "a"),
        ("dev.Dockerfile", "FROM scratch\nCOPY a* b* /"),
        ("dev.Dockerfile.dockerignore", "b"),
        ("a", "a"),
        ("b", "b"),
    ]);
    let dev = context.join("dev.Dockerfile").display().to_string();
    assert_eq!(list_tar(&engine.build(&context).args(["-f", &dev]).tar()), ["644 0:0 a 'a'"]);
}

#[test]
fn named_contexts() {
    let engine = Engine::new();
    let other = Folder::new(&[("f", "other"), ("skip", "s"), (".dockerignore", "skip")]);
    let server = Folder::new(&[("page.txt", "page")]);
    let web = FileServer::start(&server);
    let named = [format!("other={}", other.path().display()), format!("page={}", web.url("page.txt"))];
    let args = ["--build-context", &named[0], "--build-context", &named[1]];
    let check = |dockerfile: &str, expect: &[&str]| {
        let context = Folder::with_dockerfile(dockerfile, &[("f", "main")]);
        assert_eq!(list_tar(&engine.build(&context).args(args).tar()), expect, "{dockerfile}");
    };
    check("FROM scratch\nCOPY f /a\nCOPY --from=other f /b", &["644 0:0 a 'main'", "644 0:0 b 'other'"]);
    check("FROM scratch\nCOPY --from=other . /", &["644 0:0 .dockerignore 'skip'", "644 0:0 f 'other'"]);
    check(
        "FROM busybox AS x\nRUN --mount=from=other,target=/m cp /m/f /o\nFROM scratch\nCOPY --from=x /o /",
        &["644 0:0 o 'other'"],
    );
    // A context stands for a stage of its name, and for an image.
    check("FROM busybox AS other\nRUN false\nFROM scratch\nCOPY --from=other f /", &["644 0:0 f 'other'"]);
    check(
        "FROM other\nCOPY f /main",
        &["644 0:0 .dockerignore 'skip'", "644 0:0 f 'other'", "644 0:0 main 'main'"],
    );
}

#[test]
fn archives_and_dockerfiles_on_stdin() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile(
        "FROM scratch\nCOPY a /",
        &[("a", "a"), ("sub/other", "FROM scratch\nCOPY a /renamed")],
    );
    let pack = |flag: &str| run_tool(tool("tar").args([flag, "-c", "-C"]).arg(context.path()).arg("."), b"");
    let from_stdin =
        |stdin: Vec<u8>, args: &[&str]| list_tar(&engine.build_from("-").args(args).stdin(stdin).tar());
    assert_eq!(from_stdin(pack("-v"), &[]), ["644 0:0 a 'a'"]);
    assert_eq!(from_stdin(pack("-z"), &[]), ["644 0:0 a 'a'"]);
    assert_eq!(from_stdin(pack("-v"), &["-f", "sub/other"]), ["644 0:0 renamed 'a'"]);
    assert_eq!(from_stdin(b"FROM scratch\nCOPY <<f /\nhello\nf\n".to_vec(), &[]), ["644 0:0 f 'hello\\n'"]);
    // A Dockerfile on stdin beside a folder.
    let built = engine.build(&context).args(["-f", "-"]).stdin("FROM scratch\nCOPY a /b").tar();
    assert_eq!(list_tar(&built), ["644 0:0 b 'a'"]);
}

#[test]
fn a_context_from_the_web() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM scratch\nCOPY a /", &[("a", "a")]);
    let web = Folder::new(&[]);
    web.write(
        "context.tar.gz",
        run_tool(tool("tar").args(["-z", "-c", "-C"]).arg(context.path()).arg("."), b""),
    );
    let server = FileServer::start(&web);
    assert_eq!(list_tar(&engine.build_from(&server.url("context.tar.gz")).tar()), ["644 0:0 a 'a'"]);
}

#[test]
fn a_dockerfile_from_the_web() {
    let engine = Engine::new();
    let context = Folder::new(&[("a", "a"), ("Dockerfile", "FROM nowhere")]);
    let web = Folder::with_dockerfile("FROM scratch\nCOPY a /web", &[]);
    let server = FileServer::start(&web);
    let built = engine.build(&context).args(["-f", &server.url("Dockerfile")]).tar();
    assert_eq!(list_tar(&built), ["644 0:0 web 'a'"]);
    let url = server.url("missing");
    engine.build(&context).args(["-f", &url]).fails(1, &[&format!("failed to fetch `{url}`"), "404"]);
}

#[test]
fn unusual_names_in_a_context() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile(
        "FROM scratch\nCOPY d /",
        &[("d/ü ñ", "1"), ("d/new\nline", "2"), ("d/-dash", "3"), ("d/back\\slash", "4"), ("empty/", "")],
    );
    let mut told = list_tar(&engine.build(&context).tar());
    told.sort();
    assert_eq!(
        told,
        ["644 0:0 -dash '3'", "644 0:0 back\\slash '4'", "644 0:0 new", "644 0:0 ü ñ '1'", "line '2'"]
    );
}
