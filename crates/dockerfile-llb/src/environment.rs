//! Environment variables of a stage.

use dockerfile::Environment;

/// Variables in the order in which they were set last: setting one anew moves it to the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Variables(Vec<(String, String)>);

impl Variables {
    pub fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// `name=value` lines.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

impl Environment for Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// Takes a `name=value` line apart; without `=` the value is empty.
pub(crate) fn split_line(line: &str) -> (&str, &str) {
    line.split_once('=').unwrap_or((line, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_anew_moves_to_the_end() {
        let mut v = Variables::default();
        for (name, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
            v.set(name, value);
        }
        assert_eq!(v.lines(), ["b=2", "a=3"]);
        v.remove("b");
        assert_eq!((v.get("b"), v.names()), (None, vec!["a"]));
    }
}
