//! ADD: archives are unpacked, URLs are fetched.

use crate::harness::{Engine, FileServer, Folder, check_files, list_tar, run_tool, tool};

/// An archive of `in/file`, `in/link`, made by GNU tar with these flags.
fn archive(flags: &[&str]) -> Vec<u8> {
    let folder = Folder::new(&[("in/file", "packed"), ("in/link -> file", "")]);
    let mut tar = tool("tar");
    tar.args(["--owner=7", "--group=8", "--numeric-owner", "--sort=name", "-c"]).args(flags);
    run_tool(tar.arg("-C").arg(folder.path()).arg("in"), b"")
}

#[test]
fn archives_of_the_context_are_unpacked() {
    let engine = Engine::new();
    let unpacked = ["755 0:0 x/", "755 7:8 x/in/", "644 7:8 x/in/file 'packed'", "777 7:8 x/in/link -> file"];
    let check = |name: &str, flags: &[&str]| {
        let context = Folder::with_dockerfile(&format!("FROM scratch\nADD {name} /x/"), &[]);
        context.write(name, archive(flags));
        assert_eq!(list_tar(&engine.build(&context).tar()), unpacked, "{name}");
    };
    check("a.tar", &[]);
    check("a.tar.gz", &["-z"]);
    check("a.tar.bz2", &["-j"]);
    check("a.tar.xz", &["-J"]);
    check("a.tar.zst", &["--zstd"]);
    check("by-content", &["-z"]);
}

#[test]
fn what_is_no_archive_is_copied() {
    let engine = Engine::new();
    let files = &[("a.tar.gz", "not a tar"), ("d/f", "f")];
    check_files(&engine, "FROM scratch\nADD a.tar.gz /", files, &[], &["644 0:0 a.tar.gz 'not a tar'"]);
    check_files(
        &engine,
        "FROM scratch\nADD --chown=1:2 --chmod=600 d /x/",
        files,
        &[],
        &["600 1:2 x/", "600 1:2 x/f 'f'"],
    );
    check_files(&engine, "FROM scratch\nADD --link d /x/", files, &[], &["755 0:0 x/", "644 0:0 x/f 'f'"]);

    let context = Folder::with_dockerfile("FROM scratch\nADD --unpack=false a.tar /x/\nCOPY a.tar /y/", &[]);
    context.write("a.tar", archive(&[]));
    let names: Vec<_> = list_tar(&engine.build(&context).tar());
    let names: Vec<_> = names.iter().filter_map(|l| l.split(' ').nth(2)).collect();
    assert_eq!(names, ["x/", "x/a.tar", "y/", "y/a.tar"]);
}

#[test]
fn urls_are_fetched() {
    let engine = Engine::new();
    let web = Folder::new(&[("file.txt", "from the web")]);
    web.write("a.tar", archive(&[]));
    let server = FileServer::start(&web);
    let digest = oci::Digest::of("from the web").to_string();
    let other = oci::Digest::of("something else").to_string();
    let url = server.url("file.txt");
    let check = |line: String, expect: &[&str]| {
        check_files(&engine, &format!("FROM scratch\n{line}"), &[], &[], expect);
    };
    check(format!("ADD {url} /"), &["600 0:0 file.txt 'from the web'"]);
    check(format!("ADD {url} /dir/"), &["755 0:0 dir/", "600 0:0 dir/file.txt 'from the web'"]);
    check(format!("ADD --chmod=644 --chown=3:4 {url} /name"), &["644 3:4 name 'from the web'"]);
    check(format!("ADD --checksum={digest} {url} /"), &["600 0:0 file.txt 'from the web'"]);
    check(
        format!("ADD --unpack=true {} /", server.url("a.tar")),
        &["755 7:8 in/", "644 7:8 in/file 'packed'", "777 7:8 in/link -> file"],
    );

    let fails = |line: String, told: &[&str]| {
        let context = Folder::with_dockerfile(&format!("FROM scratch\n{line}"), &[]);
        engine.build(&context).args(["-o", "type=tar,dest=-"]).fails(1, told);
    };
    fails(format!("ADD --checksum={other} {url} /"), &["digest mismatch", &digest, &other]);
    fails(format!("ADD {} /", server.url("missing")), &["Dockerfile:2", "404"]);
    fails(format!("ADD --checksum=md5:1234 {url} /"), &["Dockerfile:2"]);
}
