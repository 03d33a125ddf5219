//! `/etc/passwd` and `/etc/group` of an image, as text. Lines that are damaged are left out.

/// A line of `/etc/passwd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User<'a> {
    pub name: &'a [u8],
    pub uid: u32,
    pub gid: u32,
    pub home: &'a [u8],
}

/// A line of `/etc/group`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group<'a> {
    pub name: &'a [u8],
    pub gid: u32,
    members: &'a [u8],
}

impl<'a> Group<'a> {
    pub fn members(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.members.split(|&b| b == b',').filter(|m| !m.is_empty())
    }
}

pub fn users(text: &[u8]) -> impl Iterator<Item = User<'_>> {
    lines(text).filter_map(|line| {
        let mut fields = line.split(|&b| b == b':');
        let name = fields.next()?;
        let _password = fields.next()?;
        let uid = number(fields.next()?)?;
        let gid = number(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        Some(User { name, uid, gid, home })
    })
}

pub fn groups(text: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(text).filter_map(|line| {
        let mut fields = line.split(|&b| b == b':');
        let name = fields.next()?;
        let _password = fields.next()?;
        let gid = number(fields.next()?)?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).filter(|l| !l.is_empty() && l[0] != b'#')
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_damage_is_left_out() {
        let text = b"root:x:0:0:root:/root:/bin/sh\n# note\nbroken\nx:y:z:1:::\nweb:x:33:34::/var/www:\n";
        let found: Vec<_> = users(text).map(|u| (u.name, u.uid, u.gid, u.home)).collect();
        assert_eq!(found, [(&b"root"[..], 0, 0, &b"/root"[..]), (b"web", 33, 34, b"/var/www")]);
        let found: Vec<_> =
            groups(b"wheel:x:10:root,web\nnobody:x:99:\n").map(|g| (g.gid, g.members().count())).collect();
        assert_eq!(found, [(10, 2), (99, 0)]);
    }
}
