//! "Did you mean": the nearest known word by edit distance.

use std::cmp::Reverse;

/// The option nearest to `word`, when fewer than three edits lie between; of two as near, the one that begins alike.
/// `None` also when `word` itself is an option: then the spelling was not the fault.
pub fn nearest<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(&str, (usize, Reverse<usize>))> = None;
    for option in options {
        if option == word {
            return None;
        }
        let alike = word.chars().zip(option.chars()).take_while(|(a, b)| a == b).count();
        let rank = (distance(word, option), Reverse(alike));
        if rank.0 < 3 && best.is_none_or(|(_, known)| rank < known) {
            best = Some((option, rank));
        }
    }
    best.map(|(option, _)| option)
}

/// The message with ` (did you mean X?)` where an option is near.
pub fn append<'a>(message: String, word: &str, options: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(word, options) {
        Some(option) => with(message, option),
        None => message,
    }
}

fn with(message: String, option: &str) -> String {
    format!("{message}{BEFORE}{option}{AFTER}")
}

const BEFORE: &str = " (did you mean ";
const AFTER: &str = "?)";

/// The option that [`append`] put into a message; of several the first.
pub fn suggested(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once(BEFORE)?;
    rest.split_once(AFTER).map(|(option, _)| option)
}

/// As [`append`], blind to case; the option is written in the case of `word`.
pub fn append_any_case<'a>(
    message: String,
    word: &str,
    options: impl IntoIterator<Item = &'a str>,
) -> String {
    let options: Vec<String> = options.into_iter().map(str::to_lowercase).collect();
    let Some(option) = nearest(&word.to_lowercase(), options.iter().map(String::as_str)) else {
        return message;
    };
    let option = if word == word.to_lowercase() || word != word.to_uppercase() {
        option.to_owned()
    } else {
        option.to_uppercase()
    };
    with(message, &option)
}

/// Levenshtein distance in characters. Long words are cut: nothing that long is near to anything.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 256;
    let a: Vec<char> = a.chars().take(LONGEST).collect();
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (i, cb) in b.chars().take(LONGEST).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, ca) in a.iter().enumerate() {
            let substituted = diagonal + usize::from(*ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[a.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found() {
        let check =
            |word, expected| assert_eq!(nearest(word, ["chown", "chmod", "from"]), expected, "{word}");
        check("chow", Some("chown"));
        check("form", Some("from"));
        check("chown", None);
        check("elsewhere", None);
    }

    #[test]
    fn case_is_that_of_the_writer() {
        let check = |word, expected| {
            assert_eq!(append_any_case("m".into(), word, ["FROM", "RUN"]), expected, "{word}");
        };
        check("FRM", "m (did you mean FROM?)");
        check("frm", "m (did you mean from?)");
        check("XYZZY", "m");
    }

    #[test]
    fn a_suggestion_is_found_again() {
        assert_eq!(suggested(&append("m".into(), "chow", ["chown"])), Some("chown"));
        assert_eq!(suggested("m"), None);
    }
}
