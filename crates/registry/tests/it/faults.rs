//! Servers and networks that fail.

use std::sync::Arc;

use errdefs::Code;
use oci::Digest;
use registry::{Anonymous, HostConfig, ProxyConfig, Pushed, Registry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server::{Answer, Told, answer, free_port};
use crate::{anonymous, config, layer, noise, push, read, reference};

fn manifest() -> Answer {
    let digest = Digest::of("{}").to_string();
    answer(200, &[("docker-content-digest", &digest), ("content-type", "application/json")], "{}")
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let server = Told::start(|_, n| match n {
        0 => answer(429, &[("retry-after", "0")], ""),
        1 => answer(503, &[], ""),
        _ => manifest(),
    })
    .await;
    anonymous().resolve(&reference(&server.host, "a")).await.expect("at last");
    assert_eq!(server.lines().len(), 3);

    let server =
        Told::start(|_, _| answer(429, &[], r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow"}]}"#))
            .await;
    let e = anonymous().resolve(&reference(&server.host, "a")).await.expect_err("never");
    assert!(e.to_string().ends_with("429 Too Many Requests: toomanyrequests: slow"), "{e}");
    assert_eq!(e.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn nobody_listens() {
    let host = free_port().to_string();
    let e = anonymous().resolve(&reference(&host, "a")).await.expect_err("refused");
    assert_eq!(
        e.to_string(),
        format!("failed to do request: HEAD `http://{host}/v2/a/manifests/latest`: connection refused")
    );
    assert_eq!(e.hints(), [format!("check that something listens at `{host}`")]);
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    // A name that can never be (RFC 2606). Where there is no name server either, the words are others.
    let e = anonymous().resolve(&reference("registry.invalid", "a")).await.expect_err("nowhere");
    let start = "failed to do request: HEAD `https://registry.invalid/v2/a/manifests/latest`: dial tcp: lookup registry.invalid: ";
    assert!(e.to_string().starts_with(start), "{e}");
    assert_eq!(e.hints().len(), 1);
}

#[tokio::test]
async fn a_login_does_not_follow_a_redirect_elsewhere() {
    let blob = noise(1000);
    let bytes = blob.clone();
    let other = Told::start(move |_, _| answer(200, &[], bytes.clone())).await;
    let target = format!("http://localhost:{}/there?sig=1", other.host.rsplit(':').next().expect("a port"));
    let server = Told::start(move |seen, _| match seen.header("authorization") {
        "" => answer(401, &[("www-authenticate", "Basic realm=r")], ""),
        _ => answer(307, &[("location", &target)], ""),
    })
    .await;
    struct Me;
    #[async_trait::async_trait]
    impl registry::Credentials for Me {
        async fn credentials(&self, _: &str) -> errdefs::Result<Option<registry::Credential>> {
            Ok(Some(registry::Credential { username: "u".into(), secret: "p".into() }))
        }
    }
    let registry = crate::as_user(Me);
    let found = read(registry.blob(&reference(&server.host, "a"), &layer(&blob)).await).await;
    assert_eq!(found.expect("read"), blob);
    assert_eq!(other.look(|s| s.header("authorization").to_owned()), [""]);
    assert_eq!(other.lines(), ["GET /there?sig=1"]);
}

/// Gives `blob` in answers that break off after `each` bytes; `ranges` says whether it can start in the middle.
async fn breaking(blob: Vec<u8>, each: usize, ranges: bool) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        let mut each = each;
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
            let start: usize = if ranges { start.unwrap_or(0) } else { 0 };
            let (status, length) =
                if start > 0 { ("206 Partial Content", blob.len() - start) } else { ("200 OK", blob.len()) };
            let end = if ranges { (start + each).min(blob.len()) } else { each.min(blob.len()) };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\ncontent-range: bytes {start}-{}/{}\r\n\r\n",
                blob.len() - 1,
                blob.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&blob[start..end]).await;
            // A server that starts over gets further each time.
            if !ranges {
                each *= 2;
            }
        }
    });
    host
}

#[tokio::test]
async fn a_stream_that_breaks_is_taken_up_again() {
    let blob = noise(50_000);
    for ranges in [true, false] {
        let host = breaking(blob.clone(), 20_000, ranges).await;
        let found = read(anonymous().blob(&reference(&host, "a"), &layer(&blob)).await).await;
        assert!(found.expect("read") == blob, "ranges: {ranges}");
    }
}

#[tokio::test]
async fn a_stream_that_keeps_breaking_is_an_error() {
    let blob = noise(50_000);
    let host = breaking(blob.clone(), 100, true).await;
    let name = reference(&host, "a");
    let e = read(anonymous().blob(&name, &layer(&blob)).await).await.expect_err("broken");
    let start = format!("blob {} of {name} ended after 300 of 50000 bytes: ", layer(&blob).digest);
    assert!(e.to_string().starts_with(&start), "{e}");
}

#[tokio::test]
async fn a_blob_of_another_length_or_content_is_an_error() {
    let wanted = layer(b"0123456789");
    let check = async |body: &'static str, expected: &str| {
        let server = Told::start(move |_, _| answer(200, &[], body)).await;
        let name = reference(&server.host, "a");
        let e = anonymous().small_blob(&name, &wanted).await.expect_err("damaged");
        assert_eq!(
            e.to_string().replace(&name.to_string(), "NAME").replace(wanted.digest.as_str(), "WANTED"),
            expected
        );
    };
    check("0123456789abc", "blob WANTED of NAME is longer than its 10 bytes").await;
    check("0123", "blob WANTED of NAME ended after 4 of 10 bytes: the server ended it").await;
    let found = Digest::of("9876543210");
    check("9876543210", &format!("unexpected digest {found} of blob WANTED of NAME")).await;
}

#[tokio::test]
async fn a_manifest_that_is_another_is_an_error() {
    let server = Told::start(|_, _| manifest()).await;
    let name = reference(&server.host, "a");
    let wanted = layer(b"other");
    let e = anonymous().manifest(&name, &wanted).await.expect_err("damaged");
    let expected = format!("unexpected digest {} of manifest {} of {name}", Digest::of("{}"), wanted.digest);
    assert_eq!(e.to_string(), expected);
}

#[tokio::test]
async fn a_blob_that_is_too_much_at_once_goes_in_pieces() {
    let blob = noise(20 << 20);
    let server = Told::start(|seen, _| match seen.method.as_str() {
        "HEAD" => answer(404, &[], ""),
        "POST" => answer(202, &[("location", "/up?s=1")], ""),
        "PATCH" => answer(202, &[("location", "/up?s=2")], ""),
        _ if seen.body.is_empty() => answer(201, &[], ""),
        _ => answer(413, &[], ""),
    })
    .await;
    let name = reference(&server.host, "a");
    assert_eq!(anonymous().push_blob(&push(&name, &blob)).await.expect("pushed"), Pushed::Uploaded);
    let ranges = server.look(|s| s.header("content-range").to_owned());
    assert_eq!(ranges[4..6], ["0-16777215", "16777216-20971519"]);
    let digest = layer(&blob).digest.to_string().replace(':', "%3A");
    assert_eq!(server.lines()[6], format!("PUT /up?s=2&digest={digest}"));
    let pieces = server.look(|s| s.body.clone());
    assert!([&pieces[4][..], &pieces[5][..]].concat() == blob);
}

#[tokio::test]
async fn a_proxy_is_spoken_to() {
    let proxy = Told::start(|_, _| manifest()).await;
    let mut config = config();
    config.proxy = ProxyConfig {
        http: format!("http://me:pw@{}", proxy.host),
        https: String::new(),
        no: "direct.test".into(),
    };
    config.hosts.insert("far.test".into(), HostConfig { http: Some(true), ..HostConfig::default() });
    let registry = Registry::new(config, Arc::new(Anonymous));
    registry.resolve(&reference("far.test", "a")).await.expect("through the proxy");
    assert_eq!(proxy.lines(), ["HEAD http://far.test/v2/a/manifests/latest"]);
    assert_eq!(proxy.look(|s| s.header("proxy-authorization").to_owned()), ["Basic bWU6cHc="]);
}

#[tokio::test]
async fn old_manifests_are_refused() {
    let server = Told::start(|_, _| {
        let digest = Digest::of("{}").to_string();
        let old = oci::media::DOCKER_SCHEMA1;
        answer(200, &[("docker-content-digest", &digest), ("content-type", old)], "{}")
    })
    .await;
    let e = anonymous().resolve(&reference(&server.host, "a")).await.expect_err("too old");
    assert!(e.to_string().starts_with("support Docker Image manifest version 2, schema 1 has been removed"));
}
