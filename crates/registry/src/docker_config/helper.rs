//! `docker-credential-*` programs: the address on stdin, a login as JSON on stdout.

use std::process::Stdio;
use std::time::Duration;

use errdefs::{Class, Code, Error, Result};
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Login;

/// How long a helper may take; it may ask a person.
const PATIENCE: Duration = Duration::from_secs(60);
/// The name that an identity token comes under.
const TOKEN: &str = "<token>";
/// What helpers say where they know nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// Asks one helper for the login of `address`.
pub async fn get(name: &str, address: &str) -> Result<Option<Login>> {
    let program = format!("docker-credential-{name}");
    ask(&mut Command::new(&program), address).await.map_err(|e| {
        let e = match e.io_kind() {
            Some(std::io::ErrorKind::NotFound) => Error::new(Class::Environment, Code::NotFound, "there is no such program")
                .hint(format!(
                    "install `{program}`, or take it out of `credsStore` and `credHelpers` of Docker's config.json"
                )),
            _ => e,
        };
        e.context(format!("error getting credentials for `{address}` from `{program}`"))
    })
}

async fn ask(program: &mut Command, address: &str) -> Result<Option<Login>> {
    let run = async {
        let mut child = program
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read it may still answer.
            let _ = stdin.write_all(address.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(PATIENCE, run).await;
    let output = output.map_err(|_| Error::environment("it does not answer"))??;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        return if text.contains(NOT_FOUND) { Ok(None) } else { Err(Error::environment(text)) };
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|e| Error::environment(e.to_string()))?;
    let mut login = Login::default();
    match answer.username.as_str() {
        TOKEN => login.identitytoken = answer.secret,
        _ => (login.username, login.password) = (answer.username, answer.secret),
    }
    Ok(Some(login))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(script: &str, expected: &str) {
        let told = match ask(Command::new("sh").arg("-c").arg(script), "r.io").await {
            Ok(Some(l)) => format!("{} {} {}", l.username, l.password, l.identitytoken),
            Ok(None) => "nobody".into(),
            Err(e) => e.to_string(),
        };
        assert_eq!(told, expected, "{script}");
    }

    #[tokio::test]
    async fn helpers_are_asked() {
        check(r#"read host; echo "{\"Username\":\"$host\",\"Secret\":\"$0\"}""#, "r.io get ").await;
        check(r#"echo '{"Username":"<token>","Secret":"t"}'"#, "  t").await;
        check("echo credentials not found in native keychain; exit 1", "nobody").await;
        check("echo locked; exit 1", "locked").await;
        check("echo nonsense", "expected ident at line 1 column 2").await;
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there() {
        let e = get("none-of-that-name", "r.io").await.expect_err("fails");
        let text = "error getting credentials for `r.io` from `docker-credential-none-of-that-name`: there is no such program";
        assert_eq!(e.to_string(), text);
        assert!(e.hints()[0].starts_with("install `docker-credential-none-of-that-name`"));
    }
}
