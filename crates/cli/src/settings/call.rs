use std::collections::BTreeMap;

use errdefs::{Error, Result};

use crate::args::BuildArgs;
use crate::flags::{fields, parse_bool};

/// A question to the frontend in place of a build: `--call NAME[,format=json][,ignorestatus=BOOL]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CallSetting {
    /// `lint`, `outline`, `targets`, or what else a frontend knows.
    pub name: String,
    pub json: bool,
    /// The exit code does not tell of findings.
    pub ignore_status: bool,
}

impl CallSetting {
    /// Nothing for a build.
    pub fn new(args: &BuildArgs) -> Result<Option<Self>> {
        Self::parse(if args.check { "check" } else { &args.call })
    }

    /// As [`CallSetting::new`], from the text of the flag.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let mut call = CallSetting::default();
        if text.is_empty() {
            return Ok(None);
        }
        for field in fields(text)? {
            match field.split_once('=') {
                Some(("format", format)) => call.json = format == "json",
                Some(("ignorestatus", value)) => {
                    call.ignore_status = parse_bool(value)
                        .ok_or_else(|| Error::user(format!("invalid ignorestatus print value: {value}")))?;
                }
                Some(_) => return Err(Error::user(format!("invalid print field: {field}"))),
                None if call.name.is_empty() => call.name = field,
                None => return Err(Error::user(format!("invalid print value: {text}"))),
            }
        }
        if call.name == "check" {
            call.name = "lint".into();
        }
        Ok(Some(call).filter(|call| call.name != "build"))
    }

    /// Puts the question into the options of the frontend.
    pub fn ask(&self, attrs: &mut BTreeMap<String, String>) {
        const CAP: &str = "moby.buildkit.frontend.subrequests+forward";
        attrs.insert("requestid".into(), format!("frontend.{}", self.name));
        // BuildKit passes over it; Kiln then tells all faults, and findings of its own rules.
        if self.name == "lint" {
            attrs.insert("kiln.check".into(), "full".into());
        }
        let caps = attrs.entry("frontend.caps".into()).or_default();
        *caps = if caps.is_empty() { CAP.to_owned() } else { format!("{caps},{CAP}") };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls() {
        let check = |text: &str, expected: &str| {
            let told = match CallSetting::parse(text) {
                Ok(None) => "a build".to_owned(),
                Ok(Some(call)) => {
                    let json = if call.json { " json" } else { "" };
                    let ignored = if call.ignore_status { " ignored" } else { "" };
                    format!("{}{json}{ignored}", call.name)
                }
                Err(e) => format!("ERROR: {e}"),
            };
            assert_eq!(told, expected, "{text}");
        };
        check("build", "a build");
        check("", "a build");
        check("check", "lint");
        check("outline,format=json", "outline json");
        check("format=text,lint,ignorestatus=1", "lint ignored");
        check("subrequests.describe", "subrequests.describe");
        check("a,b", "ERROR: invalid print value: a,b");
        check("check,x=y", "ERROR: invalid print field: x=y");
        check("check,ignorestatus=z", "ERROR: invalid ignorestatus print value: z");
    }

    #[test]
    fn questions_join_what_is_asked_already() {
        let call = CallSetting { name: "lint".into(), ..CallSetting::default() };
        let mut attrs = BTreeMap::from([("frontend.caps".to_owned(), "x+forward".to_owned())]);
        call.ask(&mut attrs);
        assert_eq!(attrs["frontend.caps"], "x+forward,moby.buildkit.frontend.subrequests+forward");
        assert_eq!(attrs["requestid"], "frontend.lint");
    }
}
