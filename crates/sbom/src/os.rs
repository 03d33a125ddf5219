//! `os-release` (freedesktop.org, os-release(5)).

use crate::package::Distro;

/// Whose file system it is; `None` where nobody says so.
pub fn read(bytes: &[u8]) -> Option<Distro> {
    let text = String::from_utf8_lossy(bytes);
    let mut distro = Distro::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let value = unquoted(value.trim());
        match key.trim() {
            "ID" => distro.id = value.to_lowercase(),
            "VERSION_ID" => distro.version = value,
            "PRETTY_NAME" => distro.name = value,
            _ => {}
        }
    }
    (!distro.id.is_empty()).then_some(distro)
}

/// What a shell makes of the value of an assignment.
fn unquoted(value: &str) -> String {
    let inner = ['"', '\''].into_iter().find_map(|q| value.strip_prefix(q)?.strip_suffix(q));
    inner.unwrap_or(value).replace("\\\"", "\"").replace("\\$", "$").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_it_is() {
        for (text, expected) in [
            ("ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian \\\"x\\\"\"\n", "debian-12 Debian \"x\""),
            ("ID='Arch'\n", "arch "),
            ("NAME=x\n", "-"),
        ] {
            let read = read(text.as_bytes());
            assert_eq!(read.map_or("-".into(), |d| format!("{d} {}", d.name)), expected);
        }
    }
}
