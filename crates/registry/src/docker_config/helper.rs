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

/// Asks one helper.
pub async fn get(name: &str, address: &str) -> Result<Option<Login>> {
    let program = format!("docker-credential-{name}");
    let failed = |why: String| {
        let message = format!("error getting credentials for `{address}` from `{program}`: {why}");
        Error::new(Class::Environment, Code::Unknown, message)
    };
    let run = async {
        let mut child = Command::new(&program)
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
    let output =
        tokio::time::timeout(PATIENCE, run).await.map_err(|_| failed("it does not answer".into()))?;
    let output = output.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => failed("there is no such program".into()).hint(format!(
            "install `{program}`, or take it out of `credsStore` and `credHelpers` of Docker's config.json"
        )),
        _ => failed(e.to_string()),
    })?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        return if text.contains(NOT_FOUND) { Ok(None) } else { Err(failed(text)) };
    }
    let answer: Answer = serde_json::from_slice(&output.stdout).map_err(|e| failed(e.to_string()))?;
    let mut login = Login::default();
    match answer.username.as_str() {
        TOKEN => login.identitytoken = answer.secret,
        _ => (login.username, login.password) = (answer.username, answer.secret),
    }
    Ok(Some(login))
}
