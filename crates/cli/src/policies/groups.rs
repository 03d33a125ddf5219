//! Which policies a build has, in which order (`build/build.go` of buildx, `withPolicyConfig`).

use errdefs::{Error, Result};
use policy::{Level, PolicyFlag};

/// The policy beside the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefaultFile {
    pub name: String,
    /// What is in it; nothing where it has to be looked for.
    pub data: Option<Vec<u8>>,
}

/// Files that decide together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Group {
    pub files: Vec<Wanted>,
    pub strict: bool,
    pub level: Option<Level>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub name: String,
    /// It may be missing.
    pub optional: bool,
    pub data: Option<Vec<u8>>,
}

pub(crate) fn groups(default: Option<DefaultFile>, flags: &[PolicyFlag]) -> Result<Vec<Group>> {
    if let Some(off) = flags.iter().find(|flag| flag.disabled) {
        return match off.says_more() || flags.len() > 1 {
            true => Err(Error::user("disabled policy cannot be combined with other policy flags")),
            false => Ok(Vec::new()),
        };
    }
    let first = default.map(|DefaultFile { name, data }| Group {
        files: vec![Wanted { name, optional: true, data }],
        ..Group::default()
    });
    let mut groups: Vec<Group> = first.into_iter().collect();
    // What is said before there is any policy counts for those that come.
    let mut before = PolicyFlag::default();
    for flag in flags {
        if flag.reset {
            groups.clear();
        }
        if flag.files.is_empty() {
            match groups.last_mut() {
                Some(last) => {
                    last.strict = flag.strict.unwrap_or(last.strict);
                    last.level = flag.level.or(last.level);
                }
                None => before = flag.clone(),
            }
            continue;
        }
        let wanted = |name: &String| Wanted { name: name.clone(), optional: false, data: None };
        groups.push(Group {
            files: flag.files.iter().map(wanted).collect(),
            strict: flag.strict.or(before.strict).unwrap_or_default(),
            level: flag.level.or(before.level),
        });
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies;

    fn check(flags: &[&str], expected: &str) {
        let values: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let default = DefaultFile { name: "D.rego".into(), data: None };
        let groups = policies::flags(&values).and_then(|flags| groups(Some(default), &flags));
        let told = match groups {
            Err(e) => e.to_string(),
            Ok(groups) => {
                let one = |group: &Group| {
                    let names: Vec<&str> = group.files.iter().map(|file| file.name.as_str()).collect();
                    let strict = if group.strict { "!" } else { "" };
                    let level = group.level.map(|level| format!("@{}", level.as_str())).unwrap_or_default();
                    format!("{}{strict}{level}", names.join("+"))
                };
                groups.iter().map(one).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(told, expected, "{flags:?}");
    }

    #[test]
    fn flags_are_put_together() {
        check(&[], "D.rego");
        check(&["filename=a"], "D.rego a");
        check(&["filename=a,filename=b"], "D.rego a+b");
        check(&["reset=true,filename=a"], "a");
        check(&["filename=a", "reset=true"], "");
        check(&["strict=true"], "D.rego!");
        check(
            &["reset=true,strict=true,log-level=debug", "filename=a", "filename=b,strict=false"],
            "a!@debug b@debug",
        );
        check(&["filename=a", "log-level=trace"], "D.rego a@trace");
        check(&["disabled=true"], "");
        check(&["disabled=true,strict=true"], "disabled policy cannot be combined with other policy flags");
        check(&["disabled=true", "filename=a"], "disabled policy cannot be combined with other policy flags");
    }
}
