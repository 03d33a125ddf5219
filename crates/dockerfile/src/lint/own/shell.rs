//! Command lines of a shell, as far as rules need to understand them.

use crate::instruction::Run;

/// One command of a line, without the assignments and keywords in front of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Command {
    pub words: Vec<String>,
    /// What it prints goes to the next one.
    pub piped: bool,
    /// It decides of what follows: it may fail.
    pub is_condition: bool,
}

impl Command {
    /// The last part of the path of what is run.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", |word| word.rsplit('/').next().unwrap_or_default())
    }

    /// Arguments that are no options.
    pub fn operands(&self) -> impl Iterator<Item = &str> {
        self.words.iter().skip(1).map(String::as_str).filter(|word| !word.starts_with('-'))
    }

    pub fn has(&self, word: &str) -> bool {
        self.words.iter().any(|w| w == word)
    }
}

/// What a step hands to its shell, heredocs that are scripts included.
pub(super) fn script(run: &Run) -> String {
    let line = run.command.words.join(" ");
    let first = line.split_whitespace().next().unwrap_or_default();
    let is_shell = matches!(first.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash"));
    let mut text = line.clone();
    if first.starts_with("<<") || is_shell {
        for heredoc in run.command.heredocs.iter() {
            text.push('\n');
            text.push_str(&heredoc.content);
        }
    }
    text
}

/// The commands of a script, those of substitutions left out.
pub(super) fn commands(script: &str) -> Vec<Command> {
    let mut scan = Scan { chars: script.chars().collect(), ..Scan::default() };
    while scan.at < scan.chars.len() {
        scan.step();
    }
    scan.end(false);
    scan.out
}

#[derive(Default)]
struct Scan {
    chars: Vec<char>,
    at: usize,
    out: Vec<Command>,
    command: Command,
    word: String,
    depth: usize,
}

impl Scan {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn step(&mut self) {
        let c = self.chars[self.at];
        self.at += 1;
        match c {
            '\\' => {
                let escaped = self.peek(0);
                self.word.extend(escaped.filter(|&c| c != '\n'));
                self.at += 1;
            }
            '\'' => self.quoted('\''),
            '"' => self.quoted('"'),
            '`' => self.quoted('`'),
            '$' if self.peek(0) == Some('(') => self.substitution(),
            '#' if self.word.is_empty() => self.skip_line(),
            '\n' | ';' => self.end(false),
            '&' if self.peek(0) == Some('&') => {
                self.at += 1;
                self.end(false);
            }
            '&' if self.word.ends_with(['>', '<']) || self.peek(0) == Some('>') => self.word.push(c),
            '&' => self.end(false),
            '|' if self.peek(0) == Some('|') => {
                self.at += 1;
                self.end(false);
            }
            '|' => self.end(true),
            '(' => {
                self.depth += 1;
                self.end(false);
            }
            ')' if self.depth > 0 => {
                self.depth -= 1;
                self.end(false);
            }
            ')' => self.pattern(),
            c if c.is_whitespace() => self.end_word(),
            c => self.word.push(c),
        }
    }

    fn quoted(&mut self, quote: char) {
        while let Some(c) = self.peek(0) {
            self.at += 1;
            match c {
                c if c == quote => return,
                '\\' if quote != '\'' => {
                    self.word.extend(self.peek(0));
                    self.at += 1;
                }
                c => self.word.push(c),
            }
        }
    }

    /// `$(...)` is part of a word.
    fn substitution(&mut self) {
        let mut depth = 0;
        self.word.push('$');
        while let Some(c) = self.peek(0) {
            self.at += 1;
            self.word.push(c);
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_line(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.at += 1;
        }
    }

    /// `a|b)` of a `case`: these were no pipes.
    fn pattern(&mut self) {
        self.word.clear();
        self.command = Command::default();
        while self.out.last().is_some_and(|command| command.piped) {
            self.out.pop();
        }
    }

    fn end_word(&mut self) {
        const KEYWORDS: [&str; 15] = [
            "if", "elif", "while", "until", "!", "then", "else", "do", "{", "}", "time", "sudo", "exec",
            "env", "command",
        ];
        let word = std::mem::take(&mut self.word);
        if word.is_empty() {
            return;
        }
        if self.command.words.is_empty() {
            self.command.is_condition |= matches!(word.as_str(), "if" | "elif" | "while" | "until" | "!");
            let is_assignment = word
                .split_once('=')
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
            if is_assignment || KEYWORDS.contains(&word.as_str()) {
                return;
            }
        }
        self.command.words.push(word);
    }

    fn end(&mut self, piped: bool) {
        self.end_word();
        let is_condition = self.command.is_condition;
        if !self.command.words.is_empty() {
            self.out.push(Command { piped, ..std::mem::take(&mut self.command) });
        }
        // The rest of the pipe belongs to the condition too.
        self.command = Command { is_condition: is_condition && piped, ..Command::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let check = |script: &str, expected: &[&str]| {
            let show = |c: Command| {
                let condition = if c.is_condition { "? " } else { "" };
                let pipe = if c.piped { " |" } else { "" };
                format!("{condition}{}{pipe}", c.words.join("_"))
            };
            let got: Vec<String> = commands(script).into_iter().map(show).collect();
            assert_eq!(got, expected, "{script}");
        };
        check("a b && c; d | e || f", &["a_b", "c", "d |", "e", "f"]);
        check("A=1 sudo /bin/x 'y|z' \"u;v\" \\; w", &["/bin/x_y|z_u;v_;_w"]);
        check("x=$(a | b) c $(d | e)", &["c_$(d | e)"]);
        check("if a | b; then c; fi", &["? a |", "? b", "c", "fi"]);
        check("! a | b", &["? a |", "? b"]);
        check("case x in a|b) c;; esac", &["c", "esac"]);
        check("(a | b) 2>&1 && c &> d", &["a |", "b", "2>&1", "c_&>_d"]);
        check("a # b | c\nd", &["a", "d"]);
        check("a \\\n b", &["a_b"]);
        check("a '", &["a"]);
    }
}
