use errdefs::{Error, Result};

use crate::environment::Environment;

/// How progress is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressMode {
    /// A screen on a terminal, else plain.
    Auto,
    Plain,
    Tty,
    RawJson,
    /// Not at all, but the image ID at the end.
    Quiet,
    /// Not at all.
    Silent,
}

impl ProgressMode {
    /// From `--progress`, `--quiet` and BUILDKIT_PROGRESS, which counts where the flag leaves it open.
    pub(crate) fn choose(progress: &str, quiet: bool, env: &Environment) -> Result<Self> {
        let asked = Self::parse(progress)?;
        if quiet {
            return match asked {
                ProgressMode::Auto | ProgressMode::Quiet | ProgressMode::Silent => Ok(ProgressMode::Quiet),
                _ => Err(Error::user(format!("progress={progress} and quiet cannot be used together"))),
            };
        }
        match (asked, env.filled("BUILDKIT_PROGRESS")) {
            (ProgressMode::Auto, Some(wanted)) => Self::parse(wanted),
            _ => Ok(asked),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "" | "auto" => ProgressMode::Auto,
            "plain" => ProgressMode::Plain,
            "tty" => ProgressMode::Tty,
            "rawjson" => ProgressMode::RawJson,
            "quiet" => ProgressMode::Quiet,
            "none" => ProgressMode::Silent,
            _ => {
                return Err(Error::user(format!("invalid progress mode {text}"))
                    .hint("choose one of auto, plain, tty, quiet, none and rawjson"));
            }
        })
    }

    /// Whether anything is told that is meant for a person.
    pub(crate) fn is_for_people(self) -> bool {
        matches!(self, ProgressMode::Auto | ProgressMode::Plain | ProgressMode::Tty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let check = |progress: &str, quiet, env: &str, expect: &str| {
            let env = Environment::of(&[("BUILDKIT_PROGRESS", env)]);
            let told = match ProgressMode::choose(progress, quiet, &env) {
                Ok(mode) => format!("{mode:?}"),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{progress} {quiet}");
        };
        check("auto", false, "", "Auto");
        check("auto", false, "plain", "Plain");
        check("tty", false, "plain", "Tty");
        check("auto", true, "plain", "Quiet");
        check("quiet", false, "", "Quiet");
        check("none", false, "", "Silent");
        check("plain", true, "", "progress=plain and quiet cannot be used together");
        check("fancy", false, "", "invalid progress mode fancy");
        check("auto", false, "fancy", "invalid progress mode fancy");
    }
}
