//! Credentials in files and values.

use super::{Checker, SECRET_FILE, SECRET_VALUE, shell};
use crate::instruction::{Instruction, Kind};

impl Checker<'_> {
    pub(super) fn secrets(&mut self, at: usize) {
        for instruction in &self.file.stages[at].instructions {
            match &instruction.kind {
                Kind::Copy(copy) if copy.from.is_empty() => {
                    self.secret_files(instruction, &copy.sources.paths)
                }
                Kind::Add(add) => self.secret_files(instruction, &add.sources.paths),
                Kind::Env(pairs) => {
                    pairs.iter().for_each(|pair| self.secret_value(instruction, &pair.value, &pair.key));
                }
                Kind::Run(run) => self.secret_value(instruction, &shell::script(run), "RUN"),
                _ => {}
            }
        }
        self.secret_defaults(&self.file.stages[at].instructions);
    }

    /// Defaults of ARG.
    pub(super) fn secret_defaults(&mut self, instructions: &[Instruction]) {
        for instruction in instructions {
            if let Kind::Arg(definitions) = &instruction.kind {
                for arg in definitions {
                    self.secret_value(instruction, arg.value_or_empty(), &arg.key);
                }
            }
        }
    }

    fn secret_files(&mut self, instruction: &Instruction, paths: &[String]) {
        for path in paths.iter().filter(|path| holds_secrets(path)) {
            let message = format!(
                "`{path}` is a file for credentials, and whoever gets the image can read it; \
                 mount it with `RUN --mount=type=secret` in the step that needs it"
            );
            self.find(SECRET_FILE, instruction, path, message);
        }
    }

    fn secret_value(&mut self, instruction: &Instruction, value: &str, place: &str) {
        if let Some(kind) = secret_kind(value) {
            let message = format!(
                "{place} holds {kind}, and whoever gets the image or this file can read it; \
                 withdraw it, and give a new one with `RUN --mount=type=secret`"
            );
            self.find(SECRET_VALUE, instruction, place, message);
        }
    }
}

/// Whether a file of that name is made to hold credentials. Examples and public halves are not.
fn holds_secrets(path: &str) -> bool {
    const NAMES: [&str; 20] = [
        ".env",
        ".npmrc",
        ".yarnrc",
        ".netrc",
        "_netrc",
        ".pypirc",
        ".pgpass",
        ".my.cnf",
        ".git-credentials",
        ".htpasswd",
        ".dockercfg",
        ".dockerconfigjson",
        ".s3cfg",
        ".boto",
        "id_rsa",
        "id_dsa",
        "id_ecdsa",
        "id_ed25519",
        "credentials.json",
        "auth.json",
    ];
    const FOLDERS: [&str; 4] = [".aws", ".ssh", ".gnupg", ".azure"];
    const PATHS: [&str; 3] = [".docker/config.json", ".kube/config", ".config/gcloud"];
    const ENDS: [&str; 5] = [".pem", ".key", ".p12", ".pfx", ".jks"];
    const HARMLESS: [&str; 17] = [
        "example",
        "sample",
        "template",
        "dist",
        "default",
        "test",
        "public",
        "pub",
        "cert",
        "crt",
        "chain",
        "fullchain",
        "bundle",
        "ca",
        "cacert",
        "root",
        "dev",
    ];
    let path = path.trim_end_matches('/').to_lowercase();
    let name = path.rsplit('/').next().unwrap_or_default();
    let mut parts = name.split(|c: char| !c.is_ascii_alphanumeric());
    if parts.any(|part| HARMLESS.contains(&part)) || name.ends_with(".pub") || name.contains("cert") {
        return false;
    }
    let is_env = name.strip_prefix(".env.").is_some_and(|stage| !stage.is_empty());
    NAMES.contains(&name)
        || is_env
        || path.split('/').any(|part| FOLDERS.contains(&part))
        || PATHS.iter().any(|end| path.ends_with(end))
        || ENDS.iter().any(|end| name.ends_with(end))
}

/// What kind of credential stands in a text, by the marks that their makers give them.
fn secret_kind(text: &str) -> Option<&'static str> {
    const MARKS: [(&str, usize, &str); 12] = [
        ("AKIA", 16, "an AWS access key"),
        ("ASIA", 16, "an AWS access key"),
        ("ghp_", 30, "a GitHub token"),
        ("gho_", 30, "a GitHub token"),
        ("ghs_", 30, "a GitHub token"),
        ("github_pat_", 30, "a GitHub token"),
        ("glpat-", 18, "a GitLab token"),
        ("npm_", 30, "an npm token"),
        ("xoxb-", 20, "a Slack token"),
        ("xoxp-", 20, "a Slack token"),
        ("sk_live_", 20, "a Stripe key"),
        ("AIza", 30, "a Google API key"),
    ];
    if text.contains("-----BEGIN") && text.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let marked = MARKS.iter().find(|(mark, length, _)| {
        text.match_indices(mark).any(|(at, _)| {
            let rest = &text[at + mark.len()..];
            !text[..at].ends_with(is_part) && rest.chars().take_while(|&c| is_part(c)).count() >= *length
        })
    });
    marked.map(|(.., kind)| *kind).or_else(|| has_password(text).then_some("a password"))
}

/// `scheme://user:password@host`, where the password is no variable and no mere placeholder.
fn has_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, _)| {
        let rest = &text[at + 3..];
        let authority =
            &rest[..rest.find(|c: char| c == '/' || c.is_whitespace() || c == '"').unwrap_or(rest.len())];
        let Some((user, _)) = authority.rsplit_once('@') else { return false };
        let Some((_, password)) = user.split_once(':') else { return false };
        let is_open =
            password.is_empty() || password.contains(['$', '<', '{', '*']) || password.starts_with('%');
        let is_placeholder = [
            "password", "pass", "secret", "changeme", "example", "xxx", "postgres", "root", "user", "dummy",
            "test",
        ]
        .contains(&password.to_lowercase().as_str());
        !is_open && !is_placeholder
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_credentials() {
        for secret in [
            ".env",
            "app/.env.production",
            ".npmrc",
            "./id_rsa",
            "home/.ssh/",
            ".aws",
            ".aws/credentials",
            "tls/server.key",
            "deploy.pem",
            ".docker/config.json",
            "KEY.PFX",
        ] {
            assert!(holds_secrets(secret), "{secret}");
        }
        for plain in [
            ".env.example",
            ".env.sample",
            "id_rsa.pub",
            "ca.pem",
            "certs/ca-certificates.crt",
            "cert.pem",
            "fullchain.pem",
            "src/env.rs",
            ".envrc.example",
            "keys.txt",
            "config.json",
            "public.key",
            "i18n.keyring",
            ".",
            "monkey",
        ] {
            assert!(!holds_secrets(plain), "{plain}");
        }
    }

    #[test]
    fn values_with_credentials() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(secret_kind(text), expected, "{text}");
        check("AKIAABCDEFGHIJKLMNOP", Some("an AWS access key"));
        check(&format!("git clone https://x:ghp_{}@h/r", "a1B2".repeat(9)), Some("a GitHub token"));
        check("https://user:hunter2@example.com/x", Some("a password"));
        check("https://user:$TOKEN@example.com/x", None);
        check("https://user@example.com:80/x", None);
        check("postgres://postgres:postgres@db/app", None);
        check("npm_config_cache", None);
        check("AKIASHORT", None);
        check("-----BEGIN OPENSSH PRIVATE KEY-----", Some("a private key"));
        check("-----BEGIN CERTIFICATE-----", None);
    }
}
