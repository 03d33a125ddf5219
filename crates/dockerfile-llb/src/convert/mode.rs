//! `--chmod`.

use dockerfile::{Error, Result};

/// A mode as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    Octal(i32),
    /// As `u=rwX,go=rX`.
    Symbolic(String),
}

/// # Errors
/// For numbers beyond 07777 and for what is no mode at all.
pub(super) fn parse(text: &str) -> Result<Option<Mode>> {
    if text.is_empty() {
        return Ok(None);
    }
    let not_octal = || {
        let message =
            format!("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777");
        Error::new(message).about(text)
    };
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let mode = i32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
        return Ok(Some(Mode::Octal(mode.ok_or_else(not_octal)?)));
    }
    if text.split(',').all(is_clause) {
        return Ok(Some(Mode::Symbolic(text.to_owned())));
    }
    Err(Error::new("invalid syntax").about(text))
}

/// Whose bits, then one or more changes: `u+x-w`.
fn is_clause(clause: &str) -> bool {
    let changes = clause.trim_start_matches(['a', 'u', 'g', 'o']);
    changes.starts_with(['+', '-', '='])
        && changes
            .chars()
            .all(|c| matches!(c, '+' | '-' | '=' | 'r' | 'w' | 'x' | 'X' | 's' | 't' | 'u' | 'g' | 'o'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let check = |text, expected| assert_eq!(parse(text).ok().flatten(), expected, "{text}");
        check("755", Some(Mode::Octal(0o755)));
        check("07777", Some(Mode::Octal(0o7777)));
        check("u=rwX,go=rX", Some(Mode::Symbolic("u=rwX,go=rX".into())));
        check("+x", Some(Mode::Symbolic("+x".into())));
        check("g=u", Some(Mode::Symbolic("g=u".into())));
        check("", None);
        for bad in ["10000", "888", "u", "rwx", "u=z", "u+x,", "a b"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
