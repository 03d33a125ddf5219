//! Secrets for the session.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use errdefs::{Error, Result, ResultExt as _};

use crate::environment::Environment;
use crate::flags::SecretFlag;

/// Where each secret comes from. Files are read when the engine asks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Secrets(BTreeMap<String, Source>);

#[derive(Debug, PartialEq, Eq)]
enum Source {
    Value(String),
    File(PathBuf),
}

impl Secrets {
    /// Checks that every secret is there. One without a source is the variable of its name, or else the file.
    pub(crate) fn new(flags: &[SecretFlag], env: &Environment) -> Result<Self> {
        let mut out = BTreeMap::new();
        for flag in flags {
            let source = match (&flag.env, &flag.path) {
                (Some(name), _) => Source::Value(env.get(name).unwrap_or_default().to_owned()),
                (None, Some(path)) => Source::File(env.cwd.join(path)),
                (None, None) => match env.get(&flag.id) {
                    Some(value) => Source::Value(value.to_owned()),
                    None => Source::File(env.cwd.join(&flag.id)),
                },
            };
            if let Source::File(path) = &source {
                let size =
                    path.metadata().with_context(|| format!("failed to stat {}", path.display()))?.len();
                if size > session::MAX_SECRET as u64 {
                    return Err(Error::user(format!("secret {} too big. max size 500KB", flag.id)));
                }
            }
            out.insert(flag.id.clone(), source);
        }
        Ok(Secrets(out))
    }
}

#[async_trait]
impl session::SecretStore for Secrets {
    async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>> {
        match self.0.get(id) {
            None => Ok(None),
            Some(Source::Value(value)) => Ok(Some(value.clone().into_bytes())),
            Some(Source::File(path)) => {
                let read = tokio::fs::read(path).await;
                read.with_context(|| format!("failed to read secret `{id}` from `{}`", path.display()))
                    .map(Some)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use session::SecretStore as _;

    use super::*;

    #[tokio::test]
    async fn sources() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("file"), "from file").expect("written");
        let mut env = Environment::of(&[("VAR", "from var"), ("named", "by id")]);
        env.cwd = dir.path().to_owned();
        let flags: Vec<_> = ["id=a,env=VAR", "id=b,src=file", "id=named", "id=file", "id=unset,env=NOPE"]
            .iter()
            .map(|f| SecretFlag::parse(f).expect("valid"))
            .collect();
        let secrets = Secrets::new(&flags, &env).expect("all there");
        for (id, expect) in
            [("a", "from var"), ("b", "from file"), ("named", "by id"), ("file", "from file"), ("unset", "")]
        {
            assert_eq!(secrets.secret(id).await.expect(id).as_deref(), Some(expect.as_bytes()), "{id}");
        }
        assert_eq!(secrets.secret("other").await.expect("no fault"), None);
    }

    #[test]
    fn a_missing_file_is_told_at_once() {
        let flag = SecretFlag::parse("id=a,src=/nope").expect("valid");
        let e = Secrets::new(&[flag], &Environment::of(&[])).expect_err("not there");
        assert_eq!(e.to_string(), "failed to stat /nope: No such file or directory (os error 2)");
    }
}
