//! The keys of a YAML file, with what its values alone do not tell: where keys stand, and the tags of their values.

use granit_parser::{Event, Parser, Tag};

/// A key of a mapping, and what is said of its value. Keys within lists are left out: nobody can name those.
pub struct Key {
    /// The keys that lead here, itself the last.
    pub path: Vec<String>,
    /// The bytes of its name.
    pub place: Option<(usize, usize)>,
    /// As `!reset`.
    pub tag: Option<String>,
}

/// A collection around the place in the text.
enum Around {
    /// With the number of the key whose value comes next.
    Mapping(Option<usize>),
    List,
}

/// All keys of a file in their order. One that is no YAML has those before the fault, which is told by who reads it.
pub fn read(text: &str) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    let mut around: Vec<Around> = Vec::new();
    for (event, span) in Parser::new_from_str(text).map_while(Result::ok) {
        let (tag, opens) = match &event {
            Event::Scalar(name, ..) if matches!(around.last(), Some(Around::Mapping(None))) => {
                let place = span.start.byte_offset().zip(span.end.byte_offset());
                let path = below(&keys, &around).map(|above| [above, vec![name.to_string()]].concat());
                keys.push(Key { path: path.unwrap_or_default(), place, tag: None });
                around.pop();
                around.push(Around::Mapping(Some(keys.len() - 1)));
                continue;
            }
            Event::Scalar(.., tag) => (tag.as_deref(), None),
            Event::SequenceStart(.., tag) => (tag.as_deref(), Some(Around::List)),
            Event::MappingStart(.., tag) => (tag.as_deref(), Some(Around::Mapping(None))),
            Event::SequenceEnd | Event::MappingEnd => {
                around.pop();
                value_ends(&mut around);
                continue;
            }
            Event::Alias(_) => (None, None),
            _ => continue,
        };
        if let (Some(Around::Mapping(Some(key))), Some(tag)) = (around.last(), tag) {
            keys[*key].tag = Some(shown(tag));
        }
        match opens {
            Some(collection) => around.push(collection),
            None => value_ends(&mut around),
        }
    }
    keys.retain(|key| !key.path.is_empty());
    keys
}

fn value_ends(around: &mut [Around]) {
    if let Some(Around::Mapping(key)) = around.last_mut() {
        *key = None;
    }
}

/// The keys that lead to the innermost mapping; none within a list.
fn below(keys: &[Key], around: &[Around]) -> Option<Vec<String>> {
    match around.split_last()?.1.last() {
        None => Some(Vec::new()),
        Some(Around::Mapping(Some(key))) => Some(keys[*key].path.clone()).filter(|path| !path.is_empty()),
        Some(Around::Mapping(None) | Around::List) => None,
    }
}

fn shown(tag: &Tag) -> String {
    format!("{}{}", tag.handle(), tag.suffix())
}
