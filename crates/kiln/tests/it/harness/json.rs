use serde_json::Value;

/// Checks that `expect` is a part of `value`: objects may have more keys, all else is the same. `null` stands for a key
/// that is not there.
#[track_caller]
pub fn assert_has(value: &Value, expect: &Value) {
    if let Some(fault) = difference("", value, expect) {
        panic!("{fault}\nin {value:#}");
    }
}

fn difference(place: &str, value: &Value, expect: &Value) -> Option<String> {
    match (value, expect) {
        (Value::Object(value), Value::Object(expect)) => expect.iter().find_map(|(key, expect)| {
            difference(&format!("{place}/{key}"), value.get(key).unwrap_or(&Value::Null), expect)
        }),
        (value, expect) if value == expect => None,
        (value, expect) => Some(format!("{place} is {value}, not {expect}")),
    }
}
