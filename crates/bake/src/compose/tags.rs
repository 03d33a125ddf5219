//! Compose's tags, by which a value takes the place of what files before it say: `!override`, where both would join, and
//! `!reset`, which leaves nothing.

use serde_json::{Map, Value as Json};

use super::keys;

/// A value with a tag, by the keys that lead to it.
pub struct Tag {
    pub path: Vec<String>,
    is_reset: bool,
}

/// All tags of a file.
pub fn read(text: &str) -> Vec<Tag> {
    let tag = |key: keys::Key| match key.tag.as_deref() {
        Some("!reset") => Some(Tag { path: key.path, is_reset: true }),
        Some("!override") => Some(Tag { path: key.path, is_reset: false }),
        _ => None,
    };
    keys::read(text).into_iter().filter_map(tag).collect()
}

/// Takes the values out that are only there to take others away.
pub fn drop_resets(root: &mut Map<String, Json>, tags: &[Tag]) {
    for tag in tags.iter().filter(|tag| tag.is_reset) {
        remove(root, &tag.path);
    }
}

/// Takes a value out of mappings in mappings.
pub fn remove(map: &mut Map<String, Json>, path: &[String]) {
    match path {
        [] => {}
        [last] => _ = map.remove(last),
        [first, rest @ ..] => {
            if let Some(Json::Object(inner)) = map.get_mut(first) {
                remove(inner, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_by_their_paths() {
        let check = |text: &str, expect: &str| {
            let tag = |tag: &Tag| format!("{}{}", if tag.is_reset { "-" } else { "=" }, tag.path.join("."));
            let told: Vec<_> = read(text).iter().map(tag).collect();
            assert_eq!(told.join(" "), expect, "{text}");
        };
        check("a:\n  b: !reset null\n  c: !override {d: !reset []}\ne: !reset\n", "-a.b =a.c -a.c.d -e");
        check("a: [!reset x, {b: !reset x}]\nc: !override [x]\nd: !other x\n", "=c");
        check("a: &x {b: 1}\nc: *x\nd: !reset 1\n", "-d");
        check("a: [", "");
    }
}
