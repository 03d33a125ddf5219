//! Compose's tags, by which a value takes the place of what files before it say: `!override`, where both would join, and
//! `!reset`, which leaves nothing.

use granit_parser::{Event, Parser};
use serde_json::{Map, Value as Json};

/// A value with a tag, by the keys that lead to it.
pub struct Tag {
    pub path: Vec<String>,
    is_reset: bool,
}

/// A collection around the place in the text.
enum Around {
    /// With the key whose value comes next.
    Mapping(Option<String>),
    List,
}

/// All tags of a file. One that is no YAML has none: what is wrong with it is told by who reads it.
pub fn read(text: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut around: Vec<Around> = Vec::new();
    for (event, _) in Parser::new_from_str(text).map_while(Result::ok) {
        let (tag, opens) = match &event {
            Event::Scalar(key, ..) if matches!(around.last(), Some(Around::Mapping(None))) => {
                around.pop();
                around.push(Around::Mapping(Some(key.to_string())));
                continue;
            }
            Event::Scalar(.., tag) => (tag, None),
            Event::SequenceStart(.., tag) => (tag, Some(Around::List)),
            Event::MappingStart(.., tag) => (tag, Some(Around::Mapping(None))),
            Event::SequenceEnd | Event::MappingEnd => {
                around.pop();
                value_ends(&mut around);
                continue;
            }
            Event::Alias(_) => (&None, None),
            _ => continue,
        };
        let is_reset = match tag.as_ref().map(|tag| (tag.handle(), tag.suffix())) {
            Some(("!", "reset")) => Some(true),
            Some(("!", "override")) => Some(false),
            _ => None,
        };
        if let (Some(is_reset), Some(path)) = (is_reset, path(&around)) {
            tags.push(Tag { path, is_reset });
        }
        match opens {
            Some(collection) => around.push(collection),
            None => value_ends(&mut around),
        }
    }
    tags
}

fn value_ends(around: &mut [Around]) {
    if let Some(Around::Mapping(key)) = around.last_mut() {
        *key = None;
    }
}

/// The keys that lead here; none within a list, whose entries have no names.
fn path(around: &[Around]) -> Option<Vec<String>> {
    let key = |one: &Around| match one {
        Around::Mapping(key) => key.clone(),
        Around::List => None,
    };
    around.iter().map(key).collect()
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
