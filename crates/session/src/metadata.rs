//! Lists of strings in gRPC metadata.
//!
//! Headers carry ASCII only. When a value of a list is not ASCII, all values of that list are query-escaped and
//! `<key>-encoded: 1` says so.

use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};

/// Puts `values` under `key`, escaped if need be.
pub(crate) fn put_list(metadata: &mut MetadataMap, key: &'static str, values: &[String]) {
    let escaped = values.iter().any(|v| !carriable(v));
    for value in values {
        let value = if escaped { escape(value) } else { value.clone() };
        if let Ok(value) = MetadataValue::<Ascii>::try_from(value) {
            metadata.append(MetadataKey::<Ascii>::from_static(key), value);
        }
    }
    if escaped && let Ok(flag) = MetadataKey::<Ascii>::from_bytes(format!("{key}-encoded").as_bytes()) {
        metadata.insert(flag, MetadataValue::from_static("1"));
    }
}

/// Reads what [`put_list`] put.
pub(crate) fn get_list(metadata: &MetadataMap, key: &str) -> Vec<String> {
    let escaped =
        metadata.get(format!("{key}-encoded")).is_some_and(|v| matches!(v.as_bytes(), b"1" | b"true"));
    metadata
        .get_all(key)
        .iter()
        .map(|v| {
            let value = String::from_utf8_lossy(v.as_bytes());
            if escaped { unescape(&value) } else { value.into_owned() }
        })
        .collect()
}

/// The first value under `key`, or an empty string.
pub(crate) fn get_one(metadata: &MetadataMap, key: &str) -> String {
    get_list(metadata, key).into_iter().next().unwrap_or_default()
}

/// Control characters are ASCII but no header carries them; peers that send them unescaped fail on their own.
fn carriable(value: &str) -> bool {
    value.bytes().all(|b| (0x20..0x7f).contains(&b))
}

/// As Go's url.QueryEscape.
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len() * 3);
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// As Go's url.QueryUnescape, but for a broken escape: that is kept as it stands.
fn unescape(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(values: &[&str]) -> (Vec<String>, bool) {
        let mut metadata = MetadataMap::new();
        put_list(
            &mut metadata,
            "include-patterns",
            &values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>(),
        );
        let sent = metadata.get_all("include-patterns").iter();
        let sent = sent.map(|v| v.to_str().unwrap_or_default().to_owned()).collect();
        (sent, metadata.contains_key("include-patterns-encoded"))
    }

    #[test]
    fn ascii_goes_as_it_is() {
        assert_eq!(wire(&["a b+%41", "*.go"]), (vec!["a b+%41".into(), "*.go".into()], false));
    }

    #[test]
    fn one_odd_value_escapes_the_whole_list() {
        assert_eq!(wire(&["a b+", "é"]), (vec!["a+b%2B".into(), "%C3%A9".into()], true));
    }

    proptest! {
        #[test]
        fn lists_survive_the_trip(values in proptest::collection::vec(any::<String>(), 0..4)) {
            let mut metadata = MetadataMap::new();
            put_list(&mut metadata, "k", &values);
            prop_assert_eq!(get_list(&metadata, "k"), values);
        }

        #[test]
        fn unescape_takes_anything(value in "[%+0-9a-f]{0,20}") {
            unescape(&value);
        }
    }
}
