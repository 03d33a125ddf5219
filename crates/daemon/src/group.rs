//! Groups by name, without the C library.

use errdefs::{Error, Result, ResultExt as _};

/// The number of a group that is given by name or number.
pub fn number(group: &str) -> Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string("/etc/group").context("failed to look up a group")?;
    find(&text, group).ok_or_else(|| Error::user(format!("there is no group `{group}`")))
}

fn find(groups: &str, name: &str) -> Option<u32> {
    let mut lines = groups.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let is_it = fields.next()? == name;
        is_it.then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups() {
        let text = "root:x:0:\nbuild:x:990:kim\nbroken\n";
        let check = |name, expect| assert_eq!(find(text, name), expect, "{name}");
        check("root", Some(0));
        check("build", Some(990));
        check("kim", None);
        check("broken", None);
        assert_eq!(number("7").ok(), Some(7));
    }
}
