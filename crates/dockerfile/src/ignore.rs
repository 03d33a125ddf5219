//! `.dockerignore` files.

/// The patterns of an ignore file, cleaned, in order. A leading `!` takes back.
///
/// A `#` is a comment only in the first column; white space around a pattern and a leading `/` do not count.
pub fn parse(data: &[u8]) -> Vec<String> {
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    String::from_utf8_lossy(data).split('\n').filter_map(pattern).collect()
}

fn pattern(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    let (mark, path) = match line.strip_prefix('!') {
        Some(path) => ("!", path.trim()),
        None => ("", line),
    };
    let path = if path.is_empty() { String::new() } else { clean(path) };
    let path = if path.len() > 1 { path.strip_prefix('/').unwrap_or(&path) } else { &path };
    Some(format!("{mark}{path}"))
}

/// The shortest path that means the same, by the text alone; `.` for nothing.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|&p| p != "..") => _ = parts.pop(),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_cleaned() {
        let check = |text: &str, expected: &[&str]| assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        check("\u{feff}a\n\n  # kept\n#dropped\r\n/b/\n", &["a", "# kept", "b"]);
        check("!  c/../d\n!\n/\n**/*.o\n", &["!d", "!", "/", "**/*.o"]);
        check("./e//f\n../g", &["e/f", "../g"]);
    }
}
