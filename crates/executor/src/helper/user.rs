//! Who a process runs as: `USER` against the `/etc/passwd` and `/etc/group` of its own root.

use std::io::Read;

use errdefs::{Error, Result, ResultExt};

/// Longest passwd or group file that is read.
const MAX_FILE: u64 = 10 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups; `gid` is among them.
    pub groups: Vec<u32>,
    pub home: String,
}

/// The two files, empty when missing.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    passwd: String,
    group: String,
}

#[derive(Debug)]
struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl Accounts {
    /// `open` opens a file of the root; an absent file is `None`.
    pub fn read<R: Read>(open: impl Fn(&str) -> std::io::Result<Option<R>>) -> Result<Self> {
        let read = |path: &str| -> Result<String> {
            let mut bytes = Vec::new();
            if let Some(file) = open(path).with_context(|| format!("failed to open `{path}`"))? {
                file.take(MAX_FILE + 1)
                    .read_to_end(&mut bytes)
                    .with_context(|| format!("failed to read `{path}`"))?;
            }
            if bytes.len() as u64 > MAX_FILE {
                return Err(Error::user(format!("`{path}` exceeds {MAX_FILE} bytes")));
            }
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Accounts { passwd: read("/etc/passwd")?, group: read("/etc/group")? })
    }

    /// Resolves `spec`: empty, or `user` or `user:group`, each a name or a number. A number is never taken as a name.
    pub fn resolve(&self, spec: &str) -> Result<User> {
        if let Some((uid, gid)) = both_numbers(spec) {
            return Ok(self.user(uid, gid, Vec::new()));
        }
        let (user_arg, group_arg) = spec.split_once(':').unwrap_or((spec, ""));
        let group_arg = group_arg.split(':').next().unwrap_or_default();
        let uid_arg = number(user_arg)?;
        let wanted = |e: &Entry| match uid_arg {
            Some(uid) => e.uid == uid,
            None if user_arg.is_empty() => e.uid == 0,
            None => e.name == user_arg,
        };
        let entry = self.entries().find(wanted);
        let uid = match (&entry, uid_arg) {
            (Some(e), _) => e.uid,
            (None, Some(uid)) => uid,
            (None, None) if user_arg.is_empty() => 0,
            (None, None) => {
                return Err(Error::user(format!(
                    "unable to find user {user_arg}: no matching entries in passwd file"
                )));
            }
        };
        if !group_arg.is_empty() {
            return Ok(self.user(uid, self.group(group_arg)?, Vec::new()));
        }
        let gid = entry.as_ref().map_or(0, |e| e.gid);
        let groups = entry.map(|e| self.groups_of(e.name)).unwrap_or_default();
        Ok(self.user(uid, gid, groups))
    }

    fn user(&self, uid: u32, gid: u32, mut groups: Vec<u32>) -> User {
        if !groups.contains(&gid) {
            groups.insert(0, gid);
        }
        let home = self.entries().find(|e| e.uid == uid).map(|e| e.home).filter(|home| !home.is_empty());
        User { uid, gid, groups, home: home.unwrap_or("/").to_owned() }
    }

    /// Fields that are missing, or no numbers, count as empty and as 0: such files are met.
    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.passwd.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let field = |i: usize| fields.get(i).copied().unwrap_or_default();
            let id = |i| field(i).parse().unwrap_or_default();
            Entry { name: field(0), uid: id(2), gid: id(3), home: field(5) }
        })
    }

    /// Name, number and members of every group.
    fn group_entries(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(
            |line| {
                let fields: Vec<&str> = line.split(':').collect();
                let field = |i: usize| fields.get(i).copied().unwrap_or_default();
                (field(0), field(2).parse().unwrap_or_default(), field(3))
            },
        )
    }

    fn group(&self, arg: &str) -> Result<u32> {
        if let Some(gid) = number(arg)? {
            return Ok(gid);
        }
        let found = self.group_entries().find(|(name, ..)| *name == arg).map(|(_, gid, _)| gid);
        found.ok_or_else(|| {
            Error::user(format!("unable to find group {arg}: no matching entries in group file"))
        })
    }

    fn groups_of(&self, user: &str) -> Vec<u32> {
        let member = |members: &str| members.split(',').any(|m| m == user);
        self.group_entries().filter(|(.., members)| member(members)).map(|(_, gid, _)| gid).collect()
    }
}

/// `uid:gid`, where `root` is a number too. Such a user has no supplementary groups, and nothing is looked up.
fn both_numbers(spec: &str) -> Option<(u32, u32)> {
    let (user, group) = spec.split_once(':')?;
    let id = |s: &str| if s == "root" { Some(0) } else { digits(s)?.parse().ok() };
    Some((id(user)?, id(group)?))
}

fn digits(s: &str) -> Option<&str> {
    (!s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())).then_some(s)
}

/// A number from 0 to 2^31-1, or none when `s` is a name.
fn number(s: &str) -> Result<Option<u32>> {
    let unsigned = s.strip_prefix(['+', '-']).unwrap_or(s);
    if digits(unsigned).is_none() {
        return Ok(None);
    }
    match s.parse::<i32>() {
        Ok(id) if id >= 0 => Ok(Some(id.unsigned_abs())),
        _ => Err(Error::user("uids and gids must be in range 0-2147483647")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n\n  app:x:1000:1001:::/bin/sh\nbin:x:2:2::/bin:\nbroken\n";
    const GROUP: &str = "root:x:0:root\n# c\nwheel:x:10:root,app\nstaff:x:50:app\nbin:x:2:\n";

    fn check(spec: &str, expected: Result<(u32, u32, &[u32], &str), &str>) {
        let accounts = Accounts { passwd: PASSWD.into(), group: GROUP.into() };
        let got = accounts.resolve(spec);
        let got =
            got.as_ref().map(|u| (u.uid, u.gid, &u.groups[..], u.home.as_str())).map_err(|e| e.message());
        assert_eq!(got, expected, "{spec:?}");
    }

    #[test]
    fn users() {
        check("", Ok((0, 0, &[0, 10], "/root")));
        check("root", Ok((0, 0, &[0, 10], "/root")));
        check("0", Ok((0, 0, &[0, 10], "/root")));
        check("0:0", Ok((0, 0, &[0], "/root")));
        check("root:root", Ok((0, 0, &[0], "/root")));
        check("app", Ok((1000, 1001, &[1001, 10, 50], "/")));
        check("1000", Ok((1000, 1001, &[1001, 10, 50], "/")));
        check("app:staff", Ok((1000, 50, &[50], "/")));
        check(":staff", Ok((0, 50, &[50], "/root")));
        check("app:77", Ok((1000, 77, &[77], "/")));
        check("4242", Ok((4242, 0, &[0], "/")));
        check("4242:4243", Ok((4242, 4243, &[4243], "/")));
        check("2", Ok((2, 2, &[2], "/bin")));
        check("bob", Err("unable to find user bob: no matching entries in passwd file"));
        check("1:bob", Err("unable to find group bob: no matching entries in group file"));
        check("-1", Err("uids and gids must be in range 0-2147483647"));
        check("4294967296", Err("uids and gids must be in range 0-2147483647"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(passwd in ".{0,80}", group in "[a:,0-9\\n-]{0,80}", spec in "[a:0-9+-]{0,14}") {
            let _ = Accounts { passwd, group }.resolve(&spec);
        }
    }

    #[test]
    fn without_files() {
        let user = Accounts::default().resolve("").expect("root needs no files");
        assert_eq!(user, User { uid: 0, gid: 0, groups: vec![0], home: "/".into() });
        assert!(Accounts::default().resolve("root").is_err());
    }
}
