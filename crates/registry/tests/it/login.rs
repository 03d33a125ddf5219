//! Logins and tokens.

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::Engine as _;
use errdefs::Result;
use registry::{
    Credential, Credentials, DockerConfig, HostConfig, OwnTokens, ProxyConfig, Token, TokenRequest,
};

use crate::server::{Answer, Debian, Seen, Setup, Told, answer};
use crate::{anonymous, as_user, push, reference};

struct Login(&'static str, &'static str);

#[async_trait]
impl Credentials for Login {
    async fn credentials(&self, _: &str) -> Result<Option<Credential>> {
        Ok(Some(Credential { username: self.0.into(), secret: self.1.into() }))
    }
}

#[tokio::test]
async fn basic() {
    let server = Debian::start(&Setup { login: true, ..Setup::default() });
    let name = reference(&server.host, "a:v1");
    let e = as_user(Login("user", "secret")).resolve(&name).await.expect_err("nothing is there");
    assert_eq!(e.to_string(), format!("{name}: not found"));
    as_user(Login("user", "secret")).push_blob(&push(&name, b"x")).await.expect("pushed");

    let denied = "access denied, repository does not exist or may require authorization:";
    let e = anonymous().resolve(&name).await.expect_err("refused");
    assert_eq!(e.to_string(), format!("pull {denied} no basic auth credentials"));
    assert_eq!(e.hints(), [format!("log in with `docker login {}`", server.host)]);
    let e = as_user(Login("user", "wrong")).push_blob(&push(&name, b"y")).await.expect_err("refused");
    assert_eq!(e.to_string(), format!("failed to push {name}: push {denied} authorization failed"));
}

/// A registry and its token server in one. `token` gives a token for a request that asks for one.
async fn guarded(token: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Told {
    Told::start(move |seen, _| {
        if seen.uri.starts_with("/token") {
            return token(seen);
        }
        if seen.header("authorization") == "Bearer good" {
            let digest = oci::Digest::of("x").to_string();
            return answer(
                200,
                &[("docker-content-digest", &digest), ("content-type", "application/json")],
                "x",
            );
        }
        let error =
            if seen.header("authorization").is_empty() { "" } else { ",error=\"insufficient_scope\"" };
        let realm = format!("Bearer realm=\"http://{}/token?x=1\",service=\"s\"{error}", seen.header("host"));
        answer(401, &[("www-authenticate", &realm)], "")
    })
    .await
}

fn given(token: &str) -> Answer {
    answer(200, &[], format!(r#"{{"token":"{token}","expires_in":300}}"#))
}

#[tokio::test]
async fn a_client_fetches_tokens_where_it_alone_knows_how() {
    let server = guarded(|_| given("good")).await;
    let config =
        DockerConfig::parse(br#"{"auths":{"r.io":{"username":"me","password":"pw"}}}"#).expect("valid");
    let hosts = BTreeMap::from([("r.io".to_owned(), HostConfig::default())]);
    let own = OwnTokens::new(config, hosts, &ProxyConfig::default());
    let request = |host: &str| TokenRequest {
        host: host.into(),
        realm: format!("http://{}/token", server.host),
        service: "s".into(),
        scopes: vec!["a".into()],
    };
    assert!(own.is_authority("r.io") && !own.is_authority("other.io"));
    assert!(own.token(&request("other.io")).await.expect("is no error").is_none());
    let token = own.token(&request("r.io")).await.expect("comes").expect("is there");
    assert_eq!((token.token.as_str(), token.expires_in), ("good", 300));
    assert_eq!(server.lines(), ["GET /token?service=s&scope=a"]);
}

#[tokio::test]
async fn a_token_is_fetched_once_for_a_scope() {
    let server = guarded(|_| given("good")).await;
    let registry = anonymous();
    let name = reference(&server.host, "a/b:v1");
    registry.resolve(&name).await.expect("allowed");
    registry.resolve(&name).await.expect("allowed");
    assert_eq!(
        server.lines(),
        [
            "HEAD /v2/a/b/manifests/v1",
            "GET /token?x=1&service=s&scope=repository%3Aa%2Fb%3Apull",
            "HEAD /v2/a/b/manifests/v1",
            "HEAD /v2/a/b/manifests/v1",
        ]
    );
}

#[tokio::test]
async fn a_token_lasts_as_long_as_its_giver_says() {
    let check = async |answered: String, fetched: usize| {
        let server = guarded(move |_| answer(200, &[], answered.clone())).await;
        let (registry, name) = (anonymous(), reference(&server.host, "a"));
        for _ in 0..3 {
            registry.resolve(&name).await.expect("allowed");
        }
        let tokens = server.lines().into_iter().filter(|line| line.contains("/token")).count();
        assert_eq!(tokens, fetched, "{:?}", server.lines());
    };
    let ago = |seconds| jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
    let given = |lasts: i64, ago: jiff::Timestamp| {
        format!(r#"{{"token":"good","expires_in":{lasts},"issued_at":"{ago}"}}"#)
    };
    check(r#"{"token":"good"}"#.into(), 1).await;
    check(given(300, ago(200)), 1).await;
    // The clock of the giver goes otherwise, where a new token is too old or from the future.
    check(given(300, ago(9000)), 1).await;
    check(given(300, ago(-9000)), 1).await;
    // A few seconds are left of it: the last are not used.
    let brief = given(1_000, ago(999));
    let server = guarded(move |_| answer(200, &[], brief.clone())).await;
    let (registry, name) = (anonymous(), reference(&server.host, "a"));
    registry.resolve(&name).await.expect("allowed");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    registry.resolve(&name).await.expect("allowed");
    assert_eq!(server.lines().into_iter().filter(|line| line.contains("/token")).count(), 2);
}

#[tokio::test]
async fn a_password_is_shown_with_get_and_else_with_post() {
    let server = guarded(|seen| match seen.method.as_str() {
        "GET" => answer(404, &[], ""),
        _ => answer(200, &[], r#"{"access_token":"good"}"#),
    })
    .await;
    as_user(Login("me", "pw")).resolve(&reference(&server.host, "a")).await.expect("allowed");
    let logins = server.look(|s| (s.method.clone(), s.header("authorization").to_owned(), s.body.clone()));
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("me:pw"));
    assert_eq!((logins[1].0.as_str(), &logins[1].1), ("GET", &basic));
    assert_eq!(
        (logins[2].0.as_str(), &logins[2].2[..]),
        ("POST", b"scope=repository%3Aa%3Apull&service=s&client_id=kiln&grant_type=password&username=me&password=pw".as_slice())
    );
}

#[tokio::test]
async fn a_busy_token_server_is_asked_again() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let server = guarded(move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => answer(503, &[], ""),
        _ => given("good"),
    })
    .await;
    anonymous().resolve(&reference(&server.host, "a")).await.expect("allowed");
    assert_eq!(server.lines().len(), 4);
}

#[tokio::test]
async fn an_identity_token_is_shown_with_post() {
    let server = guarded(|_| given("good")).await;
    as_user(Login("", "refresh")).resolve(&reference(&server.host, "a")).await.expect("allowed");
    let bodies = server.look(|s| String::from_utf8_lossy(&s.body).into_owned());
    assert!(bodies[1].contains("grant_type=refresh_token&refresh_token=refresh"), "{}", bodies[1]);
}

#[tokio::test]
async fn refusals_are_told() {
    let server = guarded(|_| given("bad")).await;
    let e = anonymous().resolve(&reference(&server.host, "a")).await.expect_err("refused");
    assert_eq!(
        e.to_string(),
        "pull access denied, repository does not exist or may require authorization: server message: \
         insufficient_scope: authorization failed"
    );
    let server = guarded(|_| answer(401, &[], r#"{"details":"incorrect username or password"}"#)).await;
    let e = as_user(Login("me", "pw")).resolve(&reference(&server.host, "a")).await.expect_err("refused");
    assert_eq!(
        e.to_string(),
        format!(
            "failed to authorize: failed to fetch oauth token: unexpected status from GET request to \
             http://{}/token: 401 Unauthorized: incorrect username or password",
            server.host
        )
    );
}

struct Elsewhere;

#[async_trait]
impl Credentials for Elsewhere {
    async fn credentials(&self, _: &str) -> Result<Option<Credential>> {
        Err(errdefs::Error::internal("not asked for"))
    }

    async fn token(&self, request: &TokenRequest) -> Result<Option<Token>> {
        assert_eq!(request.scopes, ["repository:a:pull"]);
        assert_eq!(request.service, "s");
        Ok(Some(Token { token: "good".into(), expires_in: 0, issued_at: 0 }))
    }
}

#[tokio::test]
async fn somebody_else_may_fetch_the_token() {
    let server = guarded(|_| answer(500, &[], "")).await;
    as_user(Elsewhere).resolve(&reference(&server.host, "a")).await.expect("allowed");
}
