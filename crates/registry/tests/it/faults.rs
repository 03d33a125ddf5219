//! Servers and networks that fail.

use std::sync::Arc;

use errdefs::Code;
use oci::Digest;
use registry::{Anonymous, HostConfig, ProxyConfig, Pushed, Registry};

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
async fn a_limit_is_told_while_it_is_waited_for_and_in_the_end() {
    let limit =
        [("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600"), ("retry-after", "1")];
    let server = Told::start(move |_, n| match n {
        0 => answer(429, &limit, ""),
        _ => answer(429, &[limit[0], limit[1], ("retry-after", "3600")], ""),
    })
    .await;
    let events = Arc::new(Events::default());
    let step = progress::Step::attach(events.clone(), Digest::of("step"));
    let e = anonymous().shown_in(&step).resolve(&reference(&server.host, "a")).await.expect_err("limited");
    let told = format!("registry `{}` limits how often it is asked (100 in 6 h, 0 left)", server.host);
    assert_eq!(
        e.hints(),
        [format!("{told}: try again in 60 min, log in to raise the limit, or use a mirror")]
    );
    // Nobody waits for an hour. The last asks for the registry's words.
    assert_eq!(server.lines().len(), 3);
    let waits = format!("{told}; trying again in 1 s");
    assert_eq!(*events.0.lock().expect("not poisoned"), [(waits.clone(), false), (waits, true)]);
}

/// What was told of the parts of a step, and whether they had ended.
#[derive(Default)]
struct Events(std::sync::Mutex<Vec<(String, bool)>>);

impl progress::Sink for Events {
    fn emit(&self, event: progress::Event) {
        if let progress::Event::Status(status) = event {
            self.0.lock().expect("not poisoned").push((status.id, status.completed.is_some()));
        }
    }
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

struct Me;
#[async_trait::async_trait]
impl registry::Credentials for Me {
    async fn credentials(&self, _: &str) -> errdefs::Result<Option<registry::Credential>> {
        Ok(Some(registry::Credential { username: "u".into(), secret: "p".into() }))
    }
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
    let registry = crate::as_user(Me);
    let found = read(registry.blob(&reference(&server.host, "a"), &layer(&blob)).await).await;
    assert_eq!(found.expect("read"), blob);
    assert_eq!(other.look(|s| s.header("authorization").to_owned()), [""]);
    assert_eq!(other.lines(), ["GET /there?sig=1"]);
}

#[tokio::test]
async fn a_login_does_not_follow_an_upload_elsewhere() {
    let other = Told::start(|_, _| answer(201, &[], "")).await;
    let target = format!("http://localhost:{}/up?sig=1", other.host.rsplit(':').next().expect("a port"));
    let server = Told::start(move |seen, _| match (seen.header("authorization"), seen.method.as_str()) {
        ("", _) => answer(401, &[("www-authenticate", "Basic realm=r")], ""),
        (_, "HEAD") => answer(404, &[], ""),
        _ => answer(202, &[("location", &target)], ""),
    })
    .await;
    let name = reference(&server.host, "a");
    let pushed = crate::as_user(Me).push_blob(&push(&name, b"x")).await;
    assert_eq!(pushed.expect("pushed"), Pushed::Uploaded);
    assert_eq!(
        other.look(|s| (s.method.clone(), s.header("authorization").to_owned())),
        [("PUT".into(), String::new())]
    );
}

#[tokio::test]
async fn a_manifest_that_is_another_is_an_error() {
    let server = Told::start(|_, _| manifest()).await;
    let name = reference(&server.host, "a");
    let wanted = layer(b"other");
    let e = anonymous().manifest(&name, &wanted).await.expect_err("damaged");
    let (found, host) = (Digest::of("{}"), &server.host);
    let expected = format!("unexpected digest {found} of manifest {} of {name} from `{host}`", wanted.digest);
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
