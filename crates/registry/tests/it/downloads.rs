//! Blobs whose way here is not smooth.

use std::sync::Arc;
use std::time::Duration;

use errdefs::Code;
use oci::Digest;
use registry::{Anonymous, HostConfig, Registry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server::{Told, answer};
use crate::{anonymous, config, layer, noise, read, reference};

/// How a server gives a blob.
#[derive(Clone)]
struct Way {
    /// Bytes after which an answer breaks off.
    each: usize,
    /// Whether it can start in the middle.
    ranges: bool,
    /// Breaking off is to give no more, rather than to end the connection.
    hangs: bool,
    /// Before each stretch of bytes.
    pause: Duration,
    /// What it gives from the second answer on, in place of the blob.
    later: Option<Vec<u8>>,
}

const BREAKS: Way = Way { each: 20_000, ranges: true, hangs: false, pause: Duration::ZERO, later: None };
const STRETCH: usize = 10_000;

/// Gives `blob` in this way; tells its host.
async fn giving(blob: Vec<u8>, way: Way) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        let (mut blob, mut each) = (blob, way.each);
        let mut hanging = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                    break;
                }
                request.push(byte[0]);
            }
            let text = String::from_utf8_lossy(&request).to_lowercase();
            let start = text.split("range: bytes=").nth(1).and_then(|r| r.split('-').next()?.parse().ok());
            let start: usize = if way.ranges { start.unwrap_or(0) } else { 0 };
            let (status, length) =
                if start > 0 { ("206 Partial Content", blob.len() - start) } else { ("200 OK", blob.len()) };
            let end = (start + each).min(blob.len());
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\ncontent-range: bytes {start}-{}/{}\r\n\r\n",
                blob.len() - 1,
                blob.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            for stretch in blob[start..end].chunks(STRETCH) {
                tokio::time::sleep(way.pause).await;
                let _ = stream.write_all(stretch).await;
            }
            if way.hangs {
                hanging.push(stream);
            }
            // A server that starts over gets further each time.
            if !way.ranges {
                each *= 2;
            }
            blob = way.later.clone().unwrap_or(blob);
        }
    });
    host
}

/// With a mirror for all that is at `origin`.
fn mirrored(mirror: &str, origin: &str) -> Registry {
    let mut config = config();
    let mirrors = vec![mirror.to_owned()];
    config.hosts.insert(origin.to_owned(), HostConfig { mirrors, ..HostConfig::default() });
    Registry::new(config, Arc::new(Anonymous))
}

fn patient(patience: Duration) -> Registry {
    let mut config = config();
    config.retry.patience = patience;
    Registry::new(config, Arc::new(Anonymous))
}

#[tokio::test]
async fn a_stream_that_breaks_is_taken_up_again() {
    let blob = noise(100_000);
    for ranges in [true, false] {
        let host = giving(blob.clone(), Way { each: 70_000, ranges, ..BREAKS }).await;
        let found = read(anonymous().blob(&reference(&host, "a"), &layer(&blob)).await).await;
        assert!(found.expect("read") == blob, "ranges: {ranges}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_often_comes_to_its_end() {
    // Many more breaks than tries, but each time a good deal came.
    let blob = noise(2_000_000);
    let host = giving(blob.clone(), Way { each: 70_000, ..BREAKS }).await;
    let found = read(anonymous().blob(&reference(&host, "a"), &layer(&blob)).await).await;
    assert!(found.expect("read") == blob);
}

#[tokio::test]
async fn a_stream_that_keeps_breaking_is_an_error() {
    for size in [50_000, 100_000] {
        let blob = noise(size);
        let host = giving(blob.clone(), Way { each: 100, ..BREAKS }).await;
        let name = reference(&host, "a");
        let e = read(anonymous().blob(&name, &layer(&blob)).await).await.expect_err("broken");
        let digest = layer(&blob).digest;
        let start = format!("blob {digest} of {name} ended after 300 of {size} bytes from `{host}`: ");
        assert!(e.to_string().starts_with(&start), "{e}");
        assert_eq!(e.code(), Code::Unavailable);
    }
}

#[tokio::test]
async fn a_stream_that_hangs_is_taken_up_again_and_a_slow_one_is_let_go_on() {
    let blob = noise(200_000);
    let host = giving(blob.clone(), Way { each: 70_000, hangs: true, ..BREAKS }).await;
    let registry = patient(Duration::from_millis(200));
    let found = read(registry.blob(&reference(&host, "a"), &layer(&blob)).await).await;
    assert!(found.expect("read") == blob);

    // All of it takes longer than a stream may bring nothing; a second answer would give other bytes.
    let slow = Way { each: blob.len(), pause: Duration::from_millis(50), later: Some(noise(9)), ..BREAKS };
    let host = giving(blob.clone(), slow).await;
    let registry = patient(Duration::from_millis(500));
    let found = read(registry.blob(&reference(&host, "a"), &layer(&blob)).await).await;
    assert!(found.expect("read") == blob);
}

#[tokio::test]
async fn a_blob_that_changes_while_it_is_taken_up_is_an_error() {
    let blob = noise(100_000);
    let (mut other, wanted) = (blob.clone(), layer(&blob));
    other[90_000] ^= 1;
    for ranges in [true, false] {
        let way = Way { each: 70_000, ranges, later: Some(other.clone()), ..BREAKS };
        let host = giving(blob.clone(), way).await;
        let name = reference(&host, "a");
        let registry = anonymous();
        let found = read(registry.blob(&name, &wanted).await).await.expect("as long as it should be");
        assert!(found == other, "ranges: {ranges}");
        // Who takes it sees that, and is told who gave it.
        assert_eq!(registry.came_wrong(&wanted.digest), Some(format!("`{host}`")));
    }
}

#[tokio::test]
async fn a_blob_of_another_length_or_content_is_an_error() {
    let wanted = layer(b"0123456789");
    let check = async |body: &'static str, expected: &str| {
        let server = Told::start(move |_, _| answer(200, &[], body)).await;
        let name = reference(&server.host, "a");
        let e = anonymous().small_blob(&name, &wanted).await.expect_err("damaged");
        let told = e.to_string().replace(&name.to_string(), "NAME").replace(&server.host, "HOST");
        assert_eq!(told.replace(wanted.digest.as_str(), "WANTED"), expected);
        server.lines().len()
    };
    check("0123456789abc", "blob WANTED of NAME from `HOST` is longer than its 10 bytes").await;
    check("0123", "blob WANTED of NAME ended after 4 of 10 bytes from `HOST`: the server ended it").await;
    let found = Digest::of("9876543210");
    let text = format!("unexpected digest {found} of blob WANTED of NAME from `HOST`");
    // Something on the way may have been at fault.
    assert_eq!(check("9876543210", &text).await, 2);
}

#[tokio::test]
async fn what_a_mirror_gives_wrong_comes_from_the_registry() {
    let blob = noise(100_000);
    let mut other = blob.clone();
    other[5] ^= 1;
    for wrong in [other, noise(100_001)] {
        let bytes = (wrong.clone(), blob.clone());
        let mirror = Told::start(move |_, _| answer(200, &[], bytes.0.clone())).await;
        let origin = Told::start(move |_, _| answer(200, &[], bytes.1.clone())).await;
        let registry = mirrored(&mirror.host, &origin.host);
        let name = reference(&origin.host, "a");
        match read(registry.blob(&name, &layer(&blob)).await).await {
            Err(e) => {
                assert!(e.to_string().contains(&format!("from `{}`", mirror.host)), "{e}");
                assert_eq!(e.code(), Code::DataLoss);
            }
            Ok(found) => {
                assert!(found == wrong);
                let from = registry.came_wrong(&Digest::of(&blob));
                assert_eq!(from, Some(format!("`{}`", mirror.host)));
            }
        }
        assert!(read(registry.blob(&name, &layer(&blob)).await).await.expect("right") == blob);
        assert_eq!((mirror.lines().len(), origin.lines().len()), (1, 1));
    }
    // What is small is not given before it is known to be right.
    let mirror = Told::start(|_, _| answer(200, &[], "wrong")).await;
    let origin = Told::start(|_, _| answer(200, &[], "right")).await;
    let registry = mirrored(&mirror.host, &origin.host);
    let name = reference(&origin.host, "a");
    assert_eq!(read(registry.blob(&name, &layer(b"right")).await).await.expect("right"), "right");
    let manifest = registry.manifest(&name, &layer(b"right")).await;
    assert_eq!(manifest.expect("right"), "right");
}

#[tokio::test]
async fn where_a_mirror_gives_no_more_the_registry_goes_on() {
    let blob = noise(100_000);
    let mirror = giving(blob.clone(), Way { each: 100, ..BREAKS }).await;
    let bytes = blob.clone();
    let origin = Told::start(move |seen, _| {
        let from: usize = seen.header("range")["bytes=".len()..]
            .split('-')
            .next()
            .expect("a range")
            .parse()
            .expect("a number");
        answer(206, &[("content-range", &format!("bytes {from}-99999/100000"))], bytes[from..].to_vec())
    });
    let origin = origin.await;
    let name = reference(&origin.host, "a");
    let found = read(mirrored(&mirror, &origin.host).blob(&name, &layer(&blob)).await).await;
    assert!(found.expect("read") == blob);
    assert_eq!(origin.look(|s| s.header("range").to_owned()), ["bytes=300-99999"]);
}

#[tokio::test]
async fn web_pages_are_no_answers() {
    let server = Told::start(|_, _| answer(200, &[("content-type", "text/html; charset=x")], "<html>log in"));
    let server = server.await;
    let (name, blob) = (reference(&server.host, "a"), layer(b"x"));
    let check = |e: errdefs::Error, path: &str| {
        let host = &server.host;
        let expected = format!("GET request to http://{host}/v2/a/{path} was answered with a web page");
        assert_eq!(e.to_string(), expected);
        let hint = format!("`{host}` is no registry, or a proxy or a login form answers in its place");
        assert_eq!(e.hints(), [hint]);
    };
    check(anonymous().resolve(&name).await.expect_err("a page"), "manifests/latest");
    check(
        anonymous().manifest(&name, &blob).await.expect_err("a page"),
        &format!("manifests/{}", blob.digest),
    );
    check(
        read(anonymous().blob(&name, &blob).await).await.expect_err("a page"),
        &format!("blobs/{}", blob.digest),
    );
}
