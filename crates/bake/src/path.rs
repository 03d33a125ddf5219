//! Paths as text, with `/`: nothing here looks at a disk.

/// The shortest path that means the same, without looking at links: as Go's `path.Clean`.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut out: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match out.last() {
                Some(&last) if last != ".." => _ = out.pop(),
                _ if rooted => {}
                _ => out.push(".."),
            },
            part => out.push(part),
        }
    }
    match (rooted, out.is_empty()) {
        (true, _) => format!("/{}", out.join("/")),
        (false, true) => ".".into(),
        (false, false) => out.join("/"),
    }
}

/// Joins and cleans.
pub fn join(base: &str, path: &str) -> String {
    clean(&format!("{base}/{path}"))
}

/// A relative path of a context, counted from this folder.
pub fn rebase(base: &str, path: &str) -> String {
    let special = ["cwd://", "target:", "docker-image:", "oci-layout://"];
    let stays = base.is_empty()
        || path.is_empty()
        || path.starts_with('/')
        || special.iter().any(|prefix| path.starts_with(prefix))
        || is_remote(path);
    if stays { path.to_owned() } else { join(base, path) }
}

/// Whether a context is fetched from somewhere, by http or git.
pub fn is_remote(context: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://", "git+ssh://", "git@", "github.com/"];
    if schemes.iter().any(|scheme| context.starts_with(scheme)) {
        return true;
    }
    // As scp has it: user@host:path.
    let address = context.split_once(':').and_then(|(host, _)| host.split_once('@'));
    address.is_some_and(|(user, host)| {
        !user.is_empty() && !host.is_empty() && !user.contains('/') && !host.contains('/')
    })
}

/// The folder of a file.
pub fn parent(path: &str) -> String {
    clean(path.rfind('/').map_or("", |i| &path[..=i]))
}

/// Whether a name matches a shell pattern: `*`, `?`, `[a-z]`, `[^a]`, `\` to escape. As Go's `path.Match`, so `*` and `?`
/// stop at `/`.
///
/// # Errors
/// If the pattern is malformed.
pub fn matches(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    check(&pattern)?;
    Ok(match_here(&pattern, &name))
}

#[derive(Debug, PartialEq, Eq)]
pub struct BadPattern;

fn check(pattern: &[char]) -> Result<(), BadPattern> {
    let mut rest = pattern;
    while let Some((first, more)) = rest.split_first() {
        rest = match first {
            '\\' => more.get(1..).ok_or(BadPattern)?,
            '[' => class(more, ' ').ok_or(BadPattern)?.1,
            _ => more,
        };
    }
    Ok(())
}

/// Iterative with one point to go back to, so that no pattern takes long.
fn match_here(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some('*') => {
                back = Some((p + 1, n));
                p += 1;
                continue;
            }
            None if n == name.len() => return true,
            None => None,
            Some(_) => one(&pattern[p..], name.get(n).copied()),
        };
        match (step, &mut back) {
            (Some(used), _) => {
                p += used;
                n += 1;
            }
            (None, Some((after_star, from))) if *from < name.len() && name[*from] != '/' => {
                *from += 1;
                (p, n) = (*after_star, *from);
            }
            _ => return false,
        }
    }
}

/// How much of the pattern this character uses up.
fn one(pattern: &[char], c: Option<char>) -> Option<usize> {
    let c = c?;
    match pattern.first()? {
        '?' => (c != '/').then_some(1),
        '\\' => (pattern.get(1) == Some(&c)).then_some(2),
        '[' => {
            let (matched, rest) = class(&pattern[1..], c)?;
            matched.then_some(pattern.len() - rest.len())
        }
        literal => (*literal == c).then_some(1),
    }
}

/// Whether a class, that begins after its bracket, has the character; and what follows the class.
fn class(pattern: &[char], c: char) -> Option<(bool, &[char])> {
    let (negated, mut rest) = match pattern.first()? {
        '^' => (true, &pattern[1..]),
        _ => (false, pattern),
    };
    let mut found = false;
    let mut ranges = 0;
    loop {
        if rest.first()? == &']' && ranges > 0 {
            return Some((found != negated, &rest[1..]));
        }
        let (low, after) = letter(rest)?;
        let (high, after) = match after.first()? {
            '-' => letter(&after[1..])?,
            _ => (low, after),
        };
        found |= (low..=high).contains(&c);
        rest = after;
        ranges += 1;
    }
}

fn letter(pattern: &[char]) -> Option<(char, &[char])> {
    match pattern.first()? {
        '-' | ']' => None,
        '\\' => Some((*pattern.get(1)?, &pattern[2..])),
        c => Some((*c, &pattern[1..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (path, clean_path) in [
            ("", "."),
            ("./", "."),
            ("a//b/", "a/b"),
            ("a/../..", ".."),
            ("/..", "/"),
            ("../a/./b", "../a/b"),
        ] {
            assert_eq!(clean(path), clean_path, "{path}");
        }
    }

    #[test]
    fn patterns_match_names() {
        for (pattern, name, matched) in [
            ("*", "app", true),
            ("app-*", "app-1", true),
            ("*-1", "app-1-1", true),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a*b*c", "aXbYd", false),
            ("*", "a/b", false),
            (r"\*", "*", true),
        ] {
            assert_eq!(matches(pattern, name), Ok(matched), "{pattern} {name}");
        }
        assert_eq!(matches("[", "a"), Err(BadPattern));
        assert_eq!(matches("[a-]", "a"), Err(BadPattern));
    }
}
