use std::path::{Path, PathBuf};

/// Hierarchies of version 1 that a container gets a cgroup in. `cpuset` only joins for a limit: it takes some setting
/// up; and `blkio` where somebody wants to know, since it only counts.
const CONTROLLERS: [&str; 7] = ["memory", "devices", "pids", "cpu", "cpuacct", "cpuset", "blkio"];

/// Where the kernel's cgroup hierarchies are mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Layout {
    #[default]
    None,
    /// Version 1, or a hybrid of both: the second version has no controllers then.
    V1(Vec<Hierarchy>),
    V2(PathBuf),
}

/// One mounted hierarchy of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub controllers: Vec<String>,
    pub mount_point: PathBuf,
}

impl Layout {
    pub fn detect() -> Layout {
        std::fs::read_to_string("/proc/self/mountinfo").map(|text| Layout::parse(&text)).unwrap_or_default()
    }

    /// Reads `mountinfo` (proc(5)).
    fn parse(mountinfo: &str) -> Layout {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for line in mountinfo.lines() {
            let Some((mount, fs)) = line.split_once(" - ") else { continue };
            let Some(mount_point) = mount.split(' ').nth(4).map(unescape) else { continue };
            let fs: Vec<&str> = fs.split(' ').collect();
            match fs[..] {
                ["cgroup2", ..] if mount_point == Path::new("/sys/fs/cgroup") => {
                    return Layout::V2(mount_point);
                }
                ["cgroup", _, options] => {
                    let known = options.split(',').filter(|o| CONTROLLERS.contains(o));
                    let controllers: Vec<String> = known.map(str::to_owned).collect();
                    // A hierarchy may be mounted more than once.
                    let seen = hierarchies.iter().any(|h| h.controllers == controllers);
                    if !controllers.is_empty() && !seen {
                        hierarchies.push(Hierarchy { controllers, mount_point });
                    }
                }
                _ => {}
            }
        }
        if hierarchies.is_empty() { Layout::None } else { Layout::V1(hierarchies) }
    }
}

impl Hierarchy {
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescape(field: &str) -> PathBuf {
    let plain = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    plain.iter().fold(field.to_owned(), |s, (code, c)| s.replace(code, c)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mountinfo: &str, expected: Layout) {
        assert_eq!(Layout::parse(mountinfo), expected, "{mountinfo}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "([a-z0-9/ -]{0,30}( - )?(cgroup2?)?[a-z, ]{0,12}\n){0,4}") {
            let _ = Layout::parse(&text);
        }
    }

    #[test]
    fn layouts() {
        check("", Layout::None);
        check("22 1 0:20 / / rw - ext4 /dev/sda rw\ngarbage\n", Layout::None);
        check(
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
            Layout::V2("/sys/fs/cgroup".into()),
        );
        let hierarchy = |names: &[&str], at: &str| Hierarchy {
            controllers: names.iter().map(|n| (*n).to_owned()).collect(),
            mount_point: at.into(),
        };
        check(
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             33 31 0:30 / /sys/fs/cgroup/my\\040memory rw - cgroup cgroup rw,memory\n\
             34 31 0:30 / /mnt/memory rw - cgroup cgroup rw,memory\n\
             35 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
             36 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            Layout::V1(vec![
                hierarchy(&["cpu", "cpuacct"], "/sys/fs/cgroup/cpu,cpuacct"),
                hierarchy(&["memory"], "/sys/fs/cgroup/my memory"),
            ]),
        );
    }
}
