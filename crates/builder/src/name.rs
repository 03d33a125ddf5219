use errdefs::{Error, Result};

const FIRST: [&str; 16] = [
    "amber", "brisk", "calm", "deft", "early", "fired", "glazed", "hardy", "iron", "keen", "lucid", "mellow",
    "noble", "quiet", "ruddy", "warm",
];
const SECOND: [&str; 16] = [
    "anvil", "bellows", "brick", "chimney", "crucible", "ember", "flint", "forge", "furnace", "hearth",
    "kettle", "oven", "potter", "smelter", "tile", "vessel",
];

/// A name as it is kept: in small letters.
///
/// # Errors
/// It does not begin with a letter, or has other signs than letters, digits, `.`, `_` and `-`.
pub fn check_name(name: &str) -> Result<String> {
    let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    match is_word {
        true => Ok(name.to_ascii_lowercase()),
        false => Err(Error::user(format!(
            "invalid name {name}, name needs to start with a letter and may not contain symbols, except ._-"
        ))),
    }
}

/// A name for a builder that was given none. `is_taken` tells of those that there are.
pub fn random_name(mut is_taken: impl FnMut(&str) -> bool) -> Result<String> {
    for attempt in 0..8 {
        let mut dice = [0u8; 2];
        rustix::rand::getrandom(&mut dice, rustix::rand::GetRandomFlags::empty())
            .map_err(std::io::Error::from)?;
        let word = |words: &[&'static str; 16], die: u8| words[usize::from(die) % words.len()];
        let mut name = format!("{}_{}", word(&FIRST, dice[0]), word(&SECOND, dice[1]));
        if attempt > 0 {
            name.push_str(&attempt.to_string());
        }
        if !is_taken(&name) {
            return Ok(name);
        }
    }
    Err(Error::environment("failed to generate random name").hint("give one with `--name`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |name: &str, expect: Option<&str>| assert_eq!(check_name(name).ok().as_deref(), expect);
        check("b", Some("b"));
        check("My.Builder_1-x", Some("my.builder_1-x"));
        check("", None);
        check("1b", None);
        check("a b", None);
        check("../b", None);
        check("a/b", None);
    }

    #[test]
    fn random_names_are_names_that_nobody_has() {
        let first = random_name(|_| false).expect("a name");
        assert_eq!(check_name(&first).ok().as_ref(), Some(&first));
        let mut asked = 0;
        let second = random_name(|_| {
            asked += 1;
            asked < 3
        });
        assert!(second.expect("a name").ends_with('2'));
        assert!(random_name(|_| true).is_err());
    }
}
