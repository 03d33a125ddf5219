//! Where the keys of a Compose file stand. What is wrong with a file is told by the path of a key; its place is that of the
//! key.

use super::keys;

/// The place of the key that a message is about: of those that it names, the deepest. A key is named by its path, or
/// quoted together with the path of what it stands in.
pub fn find(text: &str, message: &str) -> Option<(usize, usize)> {
    let named = keys::read(text).into_iter().filter(|key| names(message, &key.path.join(".")));
    named.max_by_key(|key| key.path.len())?.place
}

fn names(message: &str, path: &str) -> bool {
    if has_word(message, path) {
        return true;
    }
    let Some((parent, key)) = path.rsplit_once('.') else { return false };
    let is_quoted = [format!("'{key}'"), format!("\"{key}\"")].iter().any(|quoted| message.contains(quoted));
    is_quoted
        && (has_word(message, parent)
            || parent == "services" && message.contains(&format!("service \"{key}\"")))
}

/// Whether a path stands in a text by itself, and not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !before.ends_with(goes_on) && !after.starts_with(goes_on)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_is_meant() {
        let text = "services:\n  app:\n    build: &b\n      args: [x]\n      ünknown: {}\n      tags: 1\n  \
                    app.b:\n    build: *b\n    image: x\nsecrets: {s: {file: x}}\n";
        let check = |message: &str, expect: Option<&str>| {
            let found = find(text, message);
            let told = found.map(|(start, end)| {
                let line = text[..start].lines().count().max(1);
                format!("{line} {}", &text[start..end])
            });
            assert_eq!(told.as_deref(), expect, "{message}");
        };
        check("services.app.build.tags must be an array", Some("6 tags"));
        check("services.app.build additional properties 'ünknown' not allowed", Some("5 ünknown"));
        check("service \"app\" has neither an image nor a build", Some("2 app"));
        check("services.app.build must be a mapping", Some("3 build"));
        check("services.app.build.labels.x must be a string", None);
        check("secrets.s must be a mapping", Some("10 s"));
        check("services.app.b.build must be a mapping", Some("8 build"));
        check("files include each other in a circle", None);
    }
}
