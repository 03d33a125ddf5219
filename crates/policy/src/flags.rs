use errdefs::{Error, Result, ResultExt as _};

use crate::level::Level;

/// One `--policy`, or one entry of bake's attribute `policy`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyFlag {
    pub files: Vec<String>,
    /// All before it does not count, nor the file beside the Dockerfile.
    pub reset: bool,
    /// There are no policies at all.
    pub disabled: bool,
    /// The engine has to know policies.
    pub strict: Option<bool>,
    pub level: Option<Level>,
}

impl PolicyFlag {
    /// Reads `filename=a.rego,reset=true,...`, split into its fields already (`util/buildflags/policy.go` of buildx).
    pub fn of_fields<'f>(fields: impl IntoIterator<Item = &'f str>) -> Result<Self> {
        let mut flag = PolicyFlag::default();
        for field in fields {
            let wrong = || format!("invalid value {field}");
            let (key, value) = field.split_once('=').ok_or_else(|| Error::user(wrong()))?;
            match key.trim().to_lowercase().as_str() {
                "filename" if !value.is_empty() => flag.files.push(value.to_owned()),
                "reset" => flag.reset = switch(value).with_context(wrong)?,
                "disabled" => flag.disabled = switch(value).with_context(wrong)?,
                "strict" => flag.strict = Some(switch(value).with_context(wrong)?),
                "log-level" => flag.level = Some(value.parse::<Level>().with_context(wrong)?),
                _ => return Err(Error::user(wrong())),
            }
        }
        Ok(flag)
    }

    /// Whether it says something beside that policies are off.
    pub fn says_more(&self) -> bool {
        self.reset || self.strict.is_some() || self.level.is_some() || !self.files.is_empty()
    }
}

/// The words of Go's `strconv.ParseBool`.
fn switch(text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Error::user(format!("{text:?} is neither true nor false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let read = |text: &str| PolicyFlag::of_fields(text.split(','));
        let all = read("filename=a.rego,filename=b.rego,reset=1,strict=false,log-level=warn").unwrap();
        let expected = PolicyFlag {
            files: vec!["a.rego".into(), "b.rego".into()],
            reset: true,
            disabled: false,
            strict: Some(false),
            level: Some(Level::Warn),
        };
        assert_eq!(all, expected);
        assert!(read("disabled=true").unwrap().disabled);
        for (text, told) in [
            ("filename", "invalid value filename"),
            ("filename=", "invalid value filename="),
            ("reset=maybe", "invalid value reset=maybe"),
            ("log-level=loud", "not a valid logrus Level: \"loud\""),
            ("else=1", "invalid value else=1"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
