use super::*;

#[test]
fn git_contexts() {
    let check = |text: &str, expect| assert_eq!(is_git(text), expect, "{text}");
    check("https://github.com/a/b.git", true);
    check("https://github.com/a/b.git#main:sub", true);
    check("https://github.com/a/b.git?ref=main", true);
    check("git@github.com:a/b", true);
    check("ssh://git@host/a", true);
    check("git://host/a", true);
    check("github.com/a/b", true);
    check("https://example.com/context.tar.gz", false);
    check("./a@b", false);
    check("dir", false);
}

#[test]
fn dockerfile_may_be_lower_case() {
    let dir = tempfile::tempdir().expect("a folder");
    assert_eq!(name_there(dir.path(), "Dockerfile"), "Dockerfile");
    std::fs::write(dir.path().join("dockerfile"), "").expect("written");
    assert_eq!(name_there(dir.path(), "Dockerfile"), "dockerfile");
    std::fs::write(dir.path().join("Dockerfile"), "").expect("written");
    assert_eq!(name_there(dir.path(), "Dockerfile"), "Dockerfile");
    assert_eq!(name_there(dir.path(), "other"), "other");
}

#[test]
fn folders_of_one_name_are_told_apart() {
    let dir = tempfile::tempdir().expect("a folder");
    let (a, b) = (dir.path().join("a/app"), dir.path().join("b/app"));
    std::fs::create_dir_all(&a).expect("made");
    std::fs::create_dir_all(&b).expect("made");
    assert!(shared_key(&a).starts_with("app:"));
    assert_ne!(shared_key(&a), shared_key(&b));
    assert_eq!(shared_key(&a), shared_key(&dir.path().join("b/../a/app")));
}
