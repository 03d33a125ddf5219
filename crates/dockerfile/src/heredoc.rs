//! Here-documents: `<<EOF` on the line of an instruction, the text on the lines below.

use crate::expand::{Lexer, NoEnvironment};
use crate::{Error, Result};

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heredoc {
    /// The word that ends it; for COPY and ADD also the name of the file.
    pub name: String,
    /// The number in front of the arrow, as `3<<EOF`; 0 when there is none.
    pub descriptor: u32,
    /// No part of the name was quoted: variables in the text are meant to be expanded.
    pub expand: bool,
    /// `<<-`: tabs in front of each line do not count.
    pub chomp: bool,
    /// The text, with its line ends.
    pub content: String,
}

impl Heredoc {
    /// Reads one word such as `3<<-"EOF"`. `None` where the word is no heredoc.
    ///
    /// # Errors
    /// For quotes in the name that do not close.
    pub fn parse(word: &str) -> Result<Option<Heredoc>> {
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        let Some(rest) = word[digits..].strip_prefix("<<") else { return Ok(None) };
        let (chomp, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        if rest.is_empty() || rest.contains('<') {
            return Ok(None);
        }
        let lexer = Lexer { keep_unset: true, ..Lexer::new('\\') };
        let plain = lexer.words(rest, &NoEnvironment)?;
        let [name] = plain.as_slice() else { return Ok(None) };
        let raw = Lexer { raw_quotes: true, ..lexer }.words(rest, &NoEnvironment)?;
        let [raw] = raw.as_slice() else {
            return Err(Error::new(format!(
                "internal lexing of heredoc produced inconsistent results: {rest}"
            )));
        };
        let quotes = |s: &str| s.matches(['\'', '"']).count();
        let descriptor = word[..digits].parse().unwrap_or_default();
        let expand = quotes(name) == quotes(raw);
        Ok(Some(Heredoc { name: name.clone(), descriptor, expand, chomp, content: String::new() }))
    }

    /// The heredocs that a line announces, in order.
    pub(crate) fn of_line(line: &str) -> Result<Vec<Heredoc>> {
        if !line.contains("<<") {
            return Ok(Vec::new());
        }
        let lexer = Lexer { raw_quotes: true, raw_escapes: true, keep_unset: true, ..Lexer::new('\\') };
        // A line that the lexer refuses is the shell's to judge.
        let Ok(words) = lexer.words(line, &NoEnvironment) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for word in &words {
            found.extend(Heredoc::parse(word)?);
        }
        Ok(found)
    }

    /// Whether a line, given without its line end, closes this heredoc.
    pub(crate) fn ends_with(&self, line: &str) -> bool {
        let line = if self.chomp { line.trim_start_matches('\t') } else { line };
        line == self.name
    }
}

/// The text without the tabs in front of its lines.
pub fn chomp(content: &str) -> String {
    content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let check = |word, expected: Option<(&str, u32, bool, bool)>| {
            let got = Heredoc::parse(word).expect(word);
            let got = got.as_ref().map(|h| (h.name.as_str(), h.descriptor, h.expand, h.chomp));
            assert_eq!(got, expected, "{word}");
        };
        check("<<EOF", Some(("EOF", 0, true, false)));
        check("<<-EOF", Some(("EOF", 0, true, true)));
        check("3<<EOF", Some(("EOF", 3, true, false)));
        check("<<'EOF'", Some(("EOF", 0, false, false)));
        check("<<\"E\"OF", Some(("EOF", 0, false, false)));
        check("<<$X", Some(("$X", 0, true, false)));
        check("<< EOF", Some(("EOF", 0, true, false)));
        check("<<", None);
        check("<<<EOF", None);
        check("a<<EOF", None);
        check("x", None);
        assert!(Heredoc::parse("<<'EOF").is_err());
    }

    #[test]
    fn a_line_may_announce_several() {
        let names =
            |line| Heredoc::of_line(line).expect(line).into_iter().map(|h| h.name).collect::<Vec<_>>();
        assert_eq!(names("RUN cat <<A && cat << 'B' | tee 4<<-C"), ["A", "B", "C"]);
        assert_eq!(names("RUN echo '<<A' \"<<B\""), Vec::<String>::new());
        assert_eq!(names("RUN echo 'open <<A"), Vec::<String>::new());
        assert_eq!(names("RUN echo \\<<A $((1<<2))"), Vec::<String>::new());
    }
}
