//! `$name` and `${name...}`.

use super::{Run, pattern};
use crate::{Error, Result};

impl<'a> Run<'a> {
    pub(super) fn dollar(&mut self) -> Result<String> {
        self.position += 1;
        if self.eat('{') {
            return self.braced();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        match self.value(name) {
            None if self.lexer.keep_unset => Ok(format!("${name}")),
            value => Ok(value.unwrap_or_default()),
        }
    }

    fn braced(&mut self) -> Result<String> {
        match self.peek() {
            None => return Err(Error::new("syntax error: missing '}'")),
            Some('{' | '}' | ':') => return Err(Error::new("syntax error: bad substitution")),
            Some(_) => {}
        }
        let name = self.name();
        match self.next() {
            Some('}') => match self.value(name) {
                None if self.lexer.keep_unset => Ok(format!("${{{name}}}")),
                value => Ok(value.unwrap_or_default()),
            },
            Some(':') => {
                let modifier = self.next();
                self.modified(name, modifier, true)
            }
            Some(c @ ('+' | '-' | '?' | '#' | '%')) => self.modified(name, Some(c), false),
            Some('/') => self.replaced(name),
            other => Err(unsupported(other, false)),
        }
    }

    /// `${name-word}` and its like. With `colon` an empty value counts as none.
    fn modified(&mut self, name: &str, modifier: Option<char>, colon: bool) -> Result<String> {
        let is_pattern = matches!(modifier, Some('#' | '%'));
        if colon && is_pattern {
            return Err(unsupported(modifier, colon));
        }
        let word = self.argument('}', is_pattern, "syntax error: missing '}'")?;
        let Some(value) = self.value(name) else {
            if self.lexer.keep_unset {
                return Ok(format!("${{{name}{}{word}}}", shown(modifier, colon)));
            }
            return match modifier {
                Some('-') => Ok(word),
                Some('+') => Ok(String::new()),
                Some(mark @ ('#' | '%')) => trimmed(mark, &word, ""),
                Some('?') => Err(demanded(name, &word, "is not allowed to be unset")),
                _ => Err(unsupported(modifier, colon)),
            };
        };
        let missing = colon && value.is_empty();
        match modifier {
            Some('-') => Ok(if missing { word } else { value }),
            Some('+') => Ok(if missing { String::new() } else { word }),
            Some('?') if missing => Err(demanded(name, &word, "is not allowed to be empty")),
            Some('?') => Ok(value),
            Some(mark @ ('#' | '%')) => trimmed(mark, &word, &value),
            _ => Err(unsupported(modifier, colon)),
        }
    }

    /// `${name/pattern/replacement}`; a second slash in front replaces all.
    fn replaced(&mut self, name: &str) -> Result<String> {
        let all = self.eat('/');
        let pattern = self.argument('/', true, "syntax error: missing '/' in ${}")?;
        let replacement = self.argument('}', true, "syntax error: missing '}'")?;
        match self.value(name) {
            None if self.lexer.keep_unset => Ok(format!("${{{name}/{pattern}/{replacement}}}")),
            value => pattern::replace(&pattern, &replacement, &value.unwrap_or_default(), all),
        }
    }

    /// The text up to `stop`; `missing` is the fault when there is no `stop`.
    fn argument(&mut self, stop: char, raw_escapes: bool, missing: &'static str) -> Result<String> {
        let result = self.nested(stop, raw_escapes);
        match result {
            Err(_) if self.peek().is_none() => Err(Error::new(missing)),
            result => result,
        }
    }

    /// Letters, digits and `_`; or digits alone; or one special character.
    fn name(&mut self) -> &'a str {
        match self.peek() {
            Some(c) if c.is_ascii_digit() => self.up_to(|c| !c.is_ascii_digit()),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => {
                let name = &self.rest()[..1];
                self.position += 1;
                name
            }
            _ => self.up_to(|c| !c.is_alphanumeric() && c != '_'),
        }
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = self.env.get(name).map(str::to_owned);
        let names = if value.is_some() { &mut self.found.matched } else { &mut self.found.unmatched };
        names.insert(name.to_owned());
        value
    }
}

/// A doubled mark takes the longest match.
fn trimmed(mark: char, word: &str, value: &str) -> Result<String> {
    let (greedy, word) = match word.strip_prefix(mark) {
        Some(rest) => (true, rest),
        None => (false, word),
    };
    match mark {
        '%' => pattern::trim_suffix(word, value, greedy),
        _ => pattern::trim_prefix(word, value, greedy),
    }
}

fn shown(modifier: Option<char>, colon: bool) -> String {
    let modifier = modifier.unwrap_or(char::REPLACEMENT_CHARACTER);
    if colon { format!(":{modifier}") } else { modifier.to_string() }
}

fn unsupported(modifier: Option<char>, colon: bool) -> Error {
    Error::new(format!("unsupported modifier ({}) in substitution", shown(modifier, colon)))
}

fn demanded(name: &str, message: &str, default: &str) -> Error {
    Error::new(format!("{name}: {}", if message.is_empty() { default } else { message }))
}
