//! `--secret`.

use errdefs::{Error, Result, ResultExt as _};

use crate::flags::fields;

/// One `--secret`: where the engine finds the secret of this id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SecretFlag {
    pub id: String,
    pub path: Option<String>,
    pub env: Option<String>,
}

impl SecretFlag {
    /// Reads `id=X[,src=FILE][,env=VAR][,type=file|env]`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut secret = SecretFlag::default();
        let mut is_env = false;
        for field in fields(text).context("failed to parse csv secret")? {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| Error::user(format!("invalid field '{field}' must be a key=value pair")))?;
            let value = value.to_owned();
            match key.to_lowercase().as_str() {
                "type" => match value.as_str() {
                    "file" => is_env = false,
                    "env" => is_env = true,
                    _ => return Err(Error::user(format!("unsupported secret type {value:?}"))),
                },
                "id" => secret.id = value,
                "source" | "src" => secret.path = Some(value).filter(|v| !v.is_empty()),
                "env" => secret.env = Some(value).filter(|v| !v.is_empty()),
                key => return Err(Error::user(format!("unexpected key '{key}' in '{field}'"))),
            }
        }
        if is_env && secret.env.is_none() {
            secret.env = secret.path.take();
        }
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets() {
        let check = |text: &str, expect: &str| {
            let told = match SecretFlag::parse(text) {
                Ok(s) => format!("{} {:?} {:?}", s.id, s.path, s.env),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{text}");
        };
        check("id=a", "a None None");
        check("id=a,src=/x", "a Some(\"/x\") None");
        check("ID=a,source=/x", "a Some(\"/x\") None");
        check("id=a,env=B", "a None Some(\"B\")");
        check("type=env,id=a,src=B", "a None Some(\"B\")");
        check("type=file,id=a,src=B", "a Some(\"B\") None");
        check("type=x,id=a", "unsupported secret type \"x\"");
        check("id=a,nope=1", "unexpected key 'nope' in 'nope=1'");
        check("id=a,file", "invalid field 'file' must be a key=value pair");
        check(
            "id=\"a",
            "failed to parse csv secret: parse error on line 1, column 4: bare \" in non-quoted-field",
        );
    }
}
