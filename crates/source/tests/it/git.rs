//! Repositories, by the `git` program.

use std::path::Path;
use std::process::Command;

use oci::Digest;
use session::Attachables;

use crate::server::{Web, answer};
use crate::world::{World, listing, write};

/// Runs `git`, and gives what it prints.
fn git(dir: &Path, args: &str) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=me", "-c", "user.email=me@example.com"]).args(args.split(' '));
    let output = command.current_dir(dir).env("GIT_CONFIG_GLOBAL", "/dev/null").output().expect("git runs");
    assert!(output.status.success(), "git {args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A repository of two commits, and the name of the second.
fn repository() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a folder");
    git(dir.path(), "init -q -b master");
    for text in ["one", "two"] {
        write(dir.path(), "file.txt", text);
        git(dir.path(), "add file.txt");
        git(dir.path(), &format!("commit -q -m {text}"));
    }
    git(dir.path(), "update-server-info");
    let head = git(dir.path(), "rev-parse HEAD");
    (dir, head)
}

/// Serves the files of a folder.
pub async fn serve(dir: &Path) -> Web {
    let dir = dir.to_owned();
    let file = move |path: &str| std::fs::read(dir.join(path.trim_start_matches('/')));
    Web::start(move |request| match file(request.uri().path()) {
        Ok(bytes) => answer(200, &[], bytes),
        Err(_) => answer(404, &[], ""),
    })
    .await
}

#[tokio::test]
async fn a_bundle_goes_out_and_comes_back() {
    let (repository, head) = repository();
    let web = serve(repository.path()).await;
    let world = World::new().await;
    let url = format!("http://{}/.git", web.host);
    let id = format!("git://{}/.git#master", web.host);
    let attrs = [("git.fullurl", url.as_str()), ("git.checksum", &head), ("git.checkoutbundle", "true")];
    let cx = world.context(&[]);
    let key = world.key(&cx, &id, &attrs, 0).await.expect("told");
    assert_eq!(key.text, format!("{head}(bundle)"));
    let state = world.get(&cx, &id, &attrs).await.expect("comes");
    let view = state.view().await.expect("is there");
    let bundle = view.read(b"bundle", 1 << 20).expect("works").expect("is there");

    // All that leads to the commit is in it, under the name that was asked for.
    let elsewhere = tempfile::tempdir().expect("a folder");
    std::fs::write(elsewhere.path().join("x.bundle"), &bundle).expect("written");
    git(elsewhere.path(), "init -q --bare r.git");
    git(elsewhere.path(), "--git-dir r.git fetch -q x.bundle +refs/*:refs/*");
    assert_eq!(git(elsewhere.path(), "--git-dir r.git rev-parse refs/heads/master"), head);
    assert_eq!(git(elsewhere.path(), "--git-dir r.git rev-list --count master"), "2");

    let layout = tempfile::tempdir().expect("a folder");
    let digest = Digest::of(&bundle);
    let blob = layout.path().join("blobs/sha256").join(digest.hex());
    std::fs::create_dir_all(blob.parent().expect("has one")).expect("made");
    std::fs::write(blob, &bundle).expect("written");
    let locator = format!("oci-layout+blob://not/real@{digest}");
    // Nobody listens at the remote.
    let attrs = [
        ("git.fullurl", "http://127.0.0.1:1/r.git"),
        ("git.checksum", &head),
        ("git.bundle", &locator),
        ("oci.store", "bundles"),
    ];
    let client = async |world: &World| {
        world.client("s", Attachables::new().oci_layout("oci:bundles", layout.path())).await
    };
    for reference in ["master", "", &head] {
        let world = World::new().await;
        let cx = client(&world).await;
        let id = format!("git://127.0.0.1:1/r.git#{reference}");
        let state = world.get(&cx, &id, &attrs).await.expect(reference);
        assert_eq!(listing(&state).await, ["file.txt = two 644 0:0"], "{reference}");
    }
    let other = "a".repeat(40);
    let wrong = [attrs[0], ("git.checksum", other.as_str()), attrs[2], attrs[3]];
    let cx = client(&world).await;
    let e = world.get(&cx, "git://127.0.0.1:1/r.git#master", &wrong).await.expect_err("is not in it");
    let text = format!("commit {other} not found in bundle docker.io/not/real@{digest}");
    assert_eq!(e.to_string(), text);
}
