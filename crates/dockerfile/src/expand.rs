//! Variables and quotes in the words of an instruction, after the manner of a shell.

use std::collections::BTreeSet;

use crate::go::quote;
use crate::{Error, Result};

mod dollar;
mod pattern;
#[cfg(test)]
mod tests;

/// Where the values of variables come from.
pub trait Environment {
    fn get(&self, name: &str) -> Option<&str>;

    /// Names, oldest first.
    fn names(&self) -> Vec<&str>;
}

/// Has no variables.
#[derive(Debug, Clone, Copy)]
pub struct NoEnvironment;

impl Environment for NoEnvironment {
    fn get(&self, _: &str) -> Option<&str> {
        None
    }

    fn names(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// Expands words. The flags choose what is left as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lexer {
    pub escape: char,
    /// Quotes stay in the result.
    pub raw_quotes: bool,
    /// Escape characters stay in the result.
    pub raw_escapes: bool,
    /// Quotes are characters like any other.
    pub ignore_quotes: bool,
    /// A variable without a value stays as it was written.
    pub keep_unset: bool,
}

/// An expanded text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expansion {
    pub text: String,
    /// The text split at white space that is neither quoted nor escaped.
    pub words: Vec<String>,
    /// Names that were asked for and had a value.
    pub matched: BTreeSet<String>,
    /// Names that were asked for and had none.
    pub unmatched: BTreeSet<String>,
}

impl Lexer {
    pub fn new(escape: char) -> Self {
        Lexer { escape, raw_quotes: false, raw_escapes: false, ignore_quotes: false, keep_unset: false }
    }

    /// # Errors
    /// For quotes and braces that do not close, unknown modifiers, and variables that `?` demands.
    pub fn expand(&self, text: &str, env: &dyn Environment) -> Result<Expansion> {
        let mut run = Run {
            lexer: self,
            env,
            chars: text.chars().collect(),
            position: 0,
            raw_escapes: self.raw_escapes,
            depth: 0,
            found: Expansion::default(),
        };
        let (text_out, words) =
            run.until(None).map_err(|e| e.context(format_args!("failed to process {}", quote(text))))?;
        Ok(Expansion { text: text_out, words, ..run.found })
    }

    /// The expanded text alone.
    ///
    /// # Errors
    /// As [`Lexer::expand`].
    pub fn word(&self, text: &str, env: &dyn Environment) -> Result<String> {
        Ok(self.expand(text, env)?.text)
    }
}

/// Words under construction.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    current: String,
}

impl Words {
    /// A character that may separate words.
    fn push(&mut self, c: char) {
        if c.is_whitespace() {
            self.end();
        } else {
            self.current.push(c);
        }
    }

    fn end(&mut self) {
        if !self.current.is_empty() {
            self.done.push(std::mem::take(&mut self.current));
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.end();
        self.done
    }
}

/// One expansion on its way through the text.
struct Run<'a> {
    lexer: &'a Lexer,
    env: &'a dyn Environment,
    chars: Vec<char>,
    position: usize,
    raw_escapes: bool,
    depth: usize,
    found: Expansion,
}

/// `${a:-${b:-...}}` nests on the stack; nobody writes this deep.
const DEEPEST: usize = 200;

impl Run<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.position).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += 1;
        Some(c)
    }

    fn eat(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        self.position += usize::from(there);
        there
    }

    /// Expands up to `stop`, which is consumed, or to the end.
    fn until(&mut self, stop: Option<char>) -> Result<(String, Vec<String>)> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.position += 1;
                return Ok((text, words.finish()));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    text.push_str(&value);
                    value.chars().for_each(|c| words.push(c));
                }
                '\'' | '"' if !self.lexer.ignore_quotes => {
                    let quoted = if c == '"' { self.double_quoted()? } else { self.single_quoted()? };
                    text.push_str(&quoted);
                    words.current.push_str(&quoted);
                }
                '<' => {
                    let arrow = self.heredoc_arrow();
                    text.push_str(&arrow);
                    words.current.push_str(&arrow);
                }
                c if c == self.lexer.escape => {
                    self.position += 1;
                    if self.raw_escapes {
                        text.push(c);
                        words.current.push(c);
                    }
                    let Some(escaped) = self.next() else { break };
                    text.push(escaped);
                    words.current.push(escaped);
                }
                c => {
                    self.position += 1;
                    text.push(c);
                    words.push(c);
                }
            }
        }
        match stop {
            Some(stop) => {
                Err(Error::new(format!("unexpected end of statement while looking for matching {stop}")))
            }
            None => Ok((text, words.finish())),
        }
    }

    /// As [`Run::until`], for the word of a modifier.
    fn nested(&mut self, stop: char, raw_escapes: bool) -> Result<String> {
        if self.depth == DEEPEST {
            return Err(Error::new("syntax error: substitutions are nested too deep"));
        }
        let before = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        self.depth += 1;
        let result = self.until(Some(stop));
        self.depth -= 1;
        self.raw_escapes = before;
        Ok(result?.0)
    }

    /// Everything up to the next quote stands for itself.
    fn single_quoted(&mut self) -> Result<String> {
        let mut out = String::new();
        self.position += 1;
        if self.lexer.raw_quotes {
            out.push('\'');
        }
        while let Some(c) = self.next() {
            if c != '\'' {
                out.push(c);
                continue;
            }
            if self.lexer.raw_quotes {
                out.push(c);
            }
            return Ok(out);
        }
        Err(Error::new("unexpected end of statement while looking for matching single-quote"))
    }

    /// Variables are expanded; the escape works on the quote, the dollar and itself.
    fn double_quoted(&mut self) -> Result<String> {
        let mut out = String::new();
        self.position += 1;
        if self.lexer.raw_quotes {
            out.push('"');
        }
        while let Some(c) = self.peek() {
            match c {
                '"' => {
                    self.position += 1;
                    if self.lexer.raw_quotes {
                        out.push('"');
                    }
                    return Ok(out);
                }
                '$' => out.push_str(&self.dollar()?),
                c if c == self.lexer.escape => {
                    self.position += 1;
                    if self.raw_escapes {
                        out.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(next) if next == '"' || next == '$' || next == c => {
                            out.push(next);
                            self.position += 1;
                        }
                        Some(_) => out.push(c),
                    }
                }
                c => {
                    self.position += 1;
                    out.push(c);
                }
            }
        }
        Err(Error::new("unexpected end of statement while looking for matching double-quote"))
    }

    /// `<<` and the blanks after it belong to one word: the heredoc's name may follow at a distance.
    fn heredoc_arrow(&mut self) -> String {
        self.position += 1;
        if !self.eat('<') {
            return "<".to_owned();
        }
        let mut arrow = "<<".to_owned();
        while let Some(c @ ('\t' | '\r' | ' ')) = self.peek() {
            arrow.push(c);
            self.position += 1;
        }
        arrow
    }
}
