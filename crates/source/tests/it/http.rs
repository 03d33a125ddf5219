//! Files from the web.

use std::sync::Arc;

use async_trait::async_trait;
use errdefs::Result;
use oci::Digest;
use session::{Attachables, SecretStore};

use crate::server::{Web, answer};
use crate::world::{World, listing};

const MODIFIED: &str = "Wed, 21 Oct 2015 07:28:00 GMT";

#[tokio::test]
async fn a_file_has_the_looks_that_were_asked_for() {
    let world = World::new().await;
    let web = Web::start(|_| answer(200, &[("last-modified", MODIFIED)], "hello")).await;
    let (cx, url) = (world.context(&[]), format!("http://{}/dir/file.txt?q=1", web.host));
    let state = world.get(&cx, &url, &[]).await.expect("comes");
    assert_eq!(listing(&state).await, ["file.txt = hello 600 0:0"]);
    let mtime = state.view().await.expect("there").lstat(b"file.txt").expect("works").expect("there").mtime;
    assert_eq!(mtime.secs, 1_445_412_480);
    let attrs = [("http.perm", "0755"), ("http.uid", "3"), ("http.gid", "4"), ("http.filename", "x/name")];
    let state = world.get(&cx, &url, &attrs).await.expect("comes");
    assert_eq!(listing(&state).await, ["name = hello 755 3:4"]);
}

#[tokio::test]
async fn keys_are_buildkits() {
    let world = World::new().await;
    let web = Web::start(|_| answer(200, &[("last-modified", MODIFIED)], "hello")).await;
    let (cx, url) = (world.context(&[]), format!("http://{}/f", web.host));
    let digest = Digest::of("hello");
    let check = async |attrs: &[(&str, &str)], json: String| {
        let key = world.key(&cx, &url, attrs, 0).await.expect("told");
        assert_eq!((key.text, key.transient), (Digest::of(json).to_string(), false), "{attrs:?}");
    };
    let start = format!(r#"{{"Filename":"f","Perm":0,"UID":0,"GID":0,"Checksum":"{digest}""#);
    check(&[], format!(r#"{start},"LastModTime":"{MODIFIED}"}}"#)).await;
    check(&[("http.checksum", digest.as_str())], format!("{start}}}")).await;
    check(
        &[("http.checksum", digest.as_str()), ("http.header.accept", "a/b"), ("http.header.other", "x")],
        format!(r#"{start},"Header":[{{"Name":"Accept","Value":"a/b"}}]}}"#),
    )
    .await;
    check(
        &[
            ("http.checksum", digest.as_str()),
            ("http.perm", "0755"),
            ("http.uid", "1"),
            ("http.filename", "g"),
        ],
        format!(r#"{{"Filename":"g","Perm":493,"UID":1,"GID":0,"Checksum":"{digest}"}}"#),
    )
    .await;
    assert_eq!(web.lines(), ["/f 200"]);
}

#[tokio::test]
async fn what_has_not_changed_is_not_fetched_again_even_after_a_restart() {
    let world = World::new().await;
    let web = Web::start(|r| match r.headers().get("if-none-match").map(|v| v.as_bytes()) {
        Some(b"\"v1\"") => answer(304, &[], ""),
        _ => answer(200, &[("etag", "\"v1\"")], "hello"),
    })
    .await;
    let url = format!("http://{}/f", web.host);
    let first = world.get(&world.context(&[]), &url, &[]).await.expect("comes").id().to_owned();
    let world = world.reopen().await;
    let again = world.get(&world.context(&[]), &url, &[]).await.expect("comes");
    assert_eq!(again.id(), first);
    world.get(&world.context(&[]), &url, &[("http.perm", "0700")]).await.expect("comes");
    assert_eq!(web.lines(), ["/f 200", "/f 304", "/f 200"]);
    let wanted = Digest::of("other").to_string();
    let e = world.get(&world.context(&[]), &url, &[("http.checksum", &wanted)]).await.expect_err("another");
    let found = Digest::of("hello");
    assert_eq!(e.to_string(), format!("digest mismatch for {url}: {found} (expected: {wanted})"));
}

const HELLO_SHA512: &str = "sha512:9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043";

#[tokio::test]
async fn a_page_known_without_a_checksum_is_checked_when_one_is_asked_for() {
    let world = World::new().await;
    let web = Web::start(|r| match r.headers().get("if-none-match") {
        Some(_) => answer(304, &[], ""),
        None => answer(200, &[("etag", "\"v1\"")], "hello"),
    })
    .await;
    let url = format!("http://{}/f", web.host);
    world.get(&world.context(&[]), &url, &[]).await.expect("comes");
    let wrong = HELLO_SHA512.replace("9b71", "0000");
    let e = world.get(&world.context(&[]), &url, &[("http.checksum", &wrong)]).await.expect_err("differs");
    assert_eq!(e.to_string(), format!("digest mismatch for {url}: {HELLO_SHA512} (expected: {wrong})"));
    world.get(&world.context(&[]), &url, &[("http.checksum", HELLO_SHA512)]).await.expect("fits");
}

#[tokio::test]
async fn checksums_of_all_kinds() {
    let world = World::new().await;
    let web = Web::start(|_| answer(200, &[], "hello")).await;
    let url = format!("http://{}/f", web.host);
    let sha512 = HELLO_SHA512;
    for sum in [sha512, Digest::of("hello").as_str()] {
        let state = world.get(&world.context(&[]), &url, &[("http.checksum", sum)]).await.expect("fits");
        assert_eq!(listing(&state).await, ["f = hello 600 0:0"]);
    }
    let wrong = sha512.replace("9b71", "0000");
    let e = world.get(&world.context(&[]), &url, &[("http.checksum", &wrong)]).await.expect_err("differs");
    assert_eq!(e.to_string(), format!("digest mismatch for {url}: {sha512} (expected: {wrong})"));
}

#[tokio::test]
async fn what_a_client_uploads_is_read_once() {
    let world = World::new().await;
    let mut offers = Attachables::new();
    let url = offers.upload("abc", Box::new(&b"from stdin"[..])).expect("valid");
    let cx = world.client("s", offers).await;
    let state = world.get(&cx, &url, &[("http.filename", "context")]).await.expect("comes");
    assert_eq!(listing(&state).await, ["context = from stdin 600 0:0"]);
}

struct Secrets;

#[async_trait]
impl SecretStore for Secrets {
    async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>> {
        Ok(match id {
            "HTTP_AUTH_TOKEN_127.0.0.1" => Some(b"tok".to_vec()),
            "own" => Some(b"Basic own".to_vec()),
            _ => None,
        })
    }
}

#[tokio::test]
async fn logins_come_from_secrets_and_stay_with_their_server() {
    let world = World::new().await;
    let cx = world.client("s", Attachables::new().secrets(Arc::new(Secrets))).await;
    let login = |r: &http::Request<hyper::body::Incoming>| {
        r.headers().get("authorization").map(|v| v.to_str().expect("text").to_owned()).unwrap_or_default()
    };
    let other = Web::start(move |r| answer(200, &[], login(r))).await;
    let target = format!("http://localhost:{}/there", other.host.rsplit(':').next().expect("a port"));
    let web = Web::start(move |r| match r.uri().path() {
        "/moved" => answer(302, &[("location", &target)], ""),
        _ => answer(200, &[], login(r)),
    })
    .await;
    let check = async |path: &str, attrs: &[(&str, &str)], expected: &str| {
        let state = world.get(&cx, &format!("http://{}{path}", web.host), attrs).await.expect("comes");
        assert_eq!(listing(&state).await, [format!("f = {expected} 600 0:0")], "{path}");
    };
    check("/f", &[], "Bearer tok").await;
    check("/f", &[("http.authheadersecret", "own")], "Basic own").await;
    check("/moved", &[("http.filename", "f")], "").await;
    let url = format!("http://{}/f", web.host);
    let e = world.get(&cx, &url, &[("http.authheadersecret", "none")]).await.expect_err("no secret");
    assert_eq!(e.to_string(), "failed to retrieve HTTP auth secret none");
}

#[tokio::test]
async fn servers_are_told_who_asks() {
    let world = World::new().await;
    let web = Web::start(|r| {
        let agent = r.headers().get("user-agent").map(|value| value.as_bytes().to_vec());
        answer(200, &[], agent.unwrap_or_default())
    })
    .await;
    let url = format!("http://{}/f", web.host);
    let state = world.get(&world.context(&[]), &url, &[]).await.expect("comes");
    let listed = listing(&state).await.remove(0);
    // Some servers treat BuildKit in a way of its own.
    assert!(listed.contains(" = buildkit/v0 (compatible; kiln/"), "{listed}");
}

#[tokio::test]
async fn refusals_are_told() {
    let world = World::new().await;
    let web = Web::start(|r| match r.uri().path() {
        "/loop" => answer(302, &[("location", "/loop")], ""),
        _ => answer(404, &[], ""),
    })
    .await;
    let check = async |path: &str, attrs: &[(&str, &str)], expected: &str| {
        let url = format!("http://{}{path}", web.host);
        let e = world.get(&world.context(&[]), &url, attrs).await.expect_err("refused");
        assert_eq!(e.to_string().replace(&web.host, "HOST"), expected);
    };
    check("/f", &[], "invalid response status 404 for http://HOST/f").await;
    check("/loop", &[], "stopped after 10 redirects").await;
    check("/f", &[("http.perm", "rw")], "invalid attribute http.perm of a source: rw").await;
    check("/f", &[("http.checksum", "x")], "invalid http.checksum: invalid digest `x`").await;
}
