//! Values in labels, attributes and options, which are texts.

/// A truth value, as the programs of this field read it: Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_words_are_no_truth_values() {
        assert_eq!(["1", "True", "f", "FALSE"].map(parse_bool), [true, true, false, false].map(Some));
        assert_eq!(["", "yes", "tRUE", " true", "01"].map(parse_bool), [None; 5]);
    }
}
