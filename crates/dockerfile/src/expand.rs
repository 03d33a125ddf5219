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
        let mut out = String::with_capacity(text.len());
        let found = self.run(text, env, &mut out)?;
        Ok(Expansion { text: out, ..found })
    }

    /// The expanded text alone.
    ///
    /// # Errors
    /// As [`Lexer::expand`].
    pub fn word(&self, text: &str, env: &dyn Environment) -> Result<String> {
        Ok(self.expand(text, env)?.text)
    }

    /// The expanded text, split at white space that is neither quoted nor escaped.
    ///
    /// # Errors
    /// As [`Lexer::expand`].
    pub fn words(&self, text: &str, env: &dyn Environment) -> Result<Vec<String>> {
        let mut words = Words::default();
        self.run(text, env, &mut words)?;
        Ok(words.finish())
    }

    fn run(&self, text: &str, env: &dyn Environment, out: &mut impl Sink) -> Result<Expansion> {
        let raw_escapes = self.raw_escapes;
        let found = Expansion::default();
        let mut run = Run { lexer: self, env, text, position: 0, raw_escapes, depth: 0, found };
        run.until(None, out).map_err(|e| e.context(format_args!("failed to process {}", quote(text))))?;
        Ok(run.found)
    }
}

/// Takes an expanded text, piece by piece.
trait Sink {
    /// Its white space separates words.
    fn plain(&mut self, piece: &str);

    /// It belongs to one word.
    fn quoted(&mut self, piece: &str);
}

impl Sink for String {
    fn plain(&mut self, piece: &str) {
        self.push_str(piece);
    }

    fn quoted(&mut self, piece: &str) {
        self.push_str(piece);
    }
}

/// Words under construction.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    current: String,
}

impl Words {
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

impl Sink for Words {
    fn plain(&mut self, piece: &str) {
        for (i, part) in piece.split(char::is_whitespace).enumerate() {
            if i > 0 {
                self.end();
            }
            self.current.push_str(part);
        }
    }

    fn quoted(&mut self, piece: &str) {
        self.current.push_str(piece);
    }
}

/// One expansion on its way through the text.
struct Run<'a> {
    lexer: &'a Lexer,
    env: &'a dyn Environment,
    text: &'a str,
    /// In bytes.
    position: usize,
    raw_escapes: bool,
    depth: usize,
    found: Expansion,
}

/// `${a:-${b:-...}}` nests on the stack; nobody writes this deep.
const DEEPEST: usize = 200;

impl<'a> Run<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        if there {
            self.position += c.len_utf8();
        }
        there
    }

    /// What comes before the first character that is `special`.
    fn up_to(&mut self, special: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let piece = &rest[..rest.find(special).unwrap_or(rest.len())];
        self.position += piece.len();
        piece
    }

    /// Expands up to `stop`, which is consumed, or to the end.
    fn until(&mut self, stop: Option<char>, out: &mut impl Sink) -> Result<()> {
        let Lexer { escape, ignore_quotes, .. } = *self.lexer;
        let is_quote = |c: char| !ignore_quotes && matches!(c, '\'' | '"');
        loop {
            out.plain(
                self.up_to(|c| Some(c) == stop || c == escape || matches!(c, '$' | '<') || is_quote(c)),
            );
            match self.peek() {
                None => break,
                c if c == stop => {
                    self.next();
                    return Ok(());
                }
                Some('$') => out.plain(&self.dollar()?),
                Some('"') if !ignore_quotes => out.quoted(&self.double_quoted()?),
                Some('\'') if !ignore_quotes => out.quoted(self.single_quoted()?),
                Some('<') => out.quoted(self.heredoc_arrow()),
                Some(_) => {
                    let start = self.position;
                    self.next();
                    let from = if self.raw_escapes { start } else { self.position };
                    self.next();
                    out.quoted(&self.text[from..self.position]);
                }
            }
        }
        match stop {
            Some(stop) => {
                Err(Error::new(format!("unexpected end of statement while looking for matching {stop}")))
            }
            None => Ok(()),
        }
    }

    /// As [`Run::until`], for the word of a modifier.
    fn nested(&mut self, stop: char, raw_escapes: bool) -> Result<String> {
        if self.depth == DEEPEST {
            return Err(Error::new("syntax error: substitutions are nested too deep"));
        }
        let before = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        self.depth += 1;
        let mut word = String::new();
        let result = self.until(Some(stop), &mut word);
        self.depth -= 1;
        self.raw_escapes = before;
        result.map(|()| word)
    }

    /// Everything up to the next quote stands for itself.
    fn single_quoted(&mut self) -> Result<&'a str> {
        let start = self.position;
        self.next();
        let inner = self.up_to(|c| c == '\'');
        if !self.eat('\'') {
            return Err(Error::new("unexpected end of statement while looking for matching single-quote"));
        }
        Ok(if self.lexer.raw_quotes { &self.text[start..self.position] } else { inner })
    }

    /// Variables are expanded; the escape works on the quote, the dollar and itself.
    fn double_quoted(&mut self) -> Result<String> {
        let escape = self.lexer.escape;
        let quote = if self.lexer.raw_quotes { "\"" } else { "" };
        let mut out = quote.to_owned();
        self.next();
        loop {
            out.push_str(self.up_to(|c| c == escape || matches!(c, '"' | '$')));
            match self.peek() {
                None => break,
                Some('"') => {
                    self.next();
                    out.push_str(quote);
                    return Ok(out);
                }
                Some('$') => out.push_str(&self.dollar()?),
                Some(c) => {
                    self.next();
                    if self.raw_escapes {
                        out.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(next) if next == '"' || next == '$' || next == c => {
                            out.push(next);
                            self.next();
                        }
                        Some(_) => out.push(c),
                    }
                }
            }
        }
        Err(Error::new("unexpected end of statement while looking for matching double-quote"))
    }

    /// `<<` and the blanks after it belong to one word: the heredoc's name may follow at a distance.
    fn heredoc_arrow(&mut self) -> &'a str {
        let start = self.position;
        self.next();
        if self.eat('<') {
            self.up_to(|c| !matches!(c, '\t' | '\r' | ' '));
        }
        &self.text[start..self.position]
    }
}
