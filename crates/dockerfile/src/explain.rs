//! What instructions, flags, mounts, variables and rules mean, in a few words for people: an editor shows them.

mod instructions;
mod pages;
mod words;

pub use instructions::INSTRUCTIONS;
pub use words::{DIRECTIVES, MOUNT_KINDS, MOUNT_OPTIONS, VARIABLES};

/// An instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub keyword: &'static str,
    /// How it is written, one form a line.
    pub form: &'static str,
    pub about: &'static str,
    pub flags: &'static [Flag],
}

/// A flag of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// What stands behind the `=`; nothing for a switch.
    pub value: &'static str,
    pub about: &'static str,
    /// The values that it may have, where these are few.
    pub choices: &'static [&'static str],
}

/// An option of `RUN --mount`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountOption {
    pub name: &'static str,
    /// Types of mounts that have it.
    pub kinds: &'static [&'static str],
    pub about: &'static str,
    pub choices: &'static [&'static str],
}

/// A word, and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    pub name: &'static str,
    pub about: &'static str,
}

/// The instruction of a keyword, in any case.
pub fn instruction(keyword: &str) -> Option<&'static Instruction> {
    INSTRUCTIONS.iter().find(|i| i.keyword.eq_ignore_ascii_case(keyword))
}

/// A variable that is there without a declaration.
pub fn variable(name: &str) -> Option<&'static Word> {
    VARIABLES.iter().find(|word| word.name == name)
}

/// The page of a rule, in Markdown.
pub fn rule(name: &str) -> Option<&'static str> {
    pages::PAGES.iter().find(|(rule, _)| *rule == name).map(|(_, page)| *page)
}

/// Names of all rules.
pub fn rules() -> impl Iterator<Item = &'static str> {
    pages::PAGES.iter().map(|(rule, _)| *rule)
}

impl Instruction {
    pub fn flag(&self, name: &str) -> Option<&'static Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::KEYWORDS;
    use crate::lint::Linter;
    use crate::parse;

    #[test]
    fn every_instruction_is_explained() {
        assert_eq!(INSTRUCTIONS.map(|i| i.keyword), KEYWORDS);
        assert_eq!(instruction("from").map(|i| i.keyword), Some("FROM"));
    }

    /// The parser, asked for a flag that there is not, one letter beside the one that is looked for.
    fn knows(keyword: &str, flag: &str) -> bool {
        let arguments = match keyword {
            "FROM" => "a",
            "HEALTHCHECK" => "CMD x",
            _ => "a b",
        };
        let text = format!("FROM a\n{keyword} --{flag}# {arguments}\n");
        let parsed = parse(text.as_bytes(), &mut Linter::default());
        parsed.errors.iter().any(|e| e.message().contains(&format!("(did you mean {flag}?)")))
    }

    #[test]
    fn flags_are_those_of_the_parser() {
        let all: Vec<_> = INSTRUCTIONS.iter().flat_map(|i| i.flags).collect();
        for instruction in &INSTRUCTIONS {
            for flag in &all {
                let explained = instruction.flag(flag.name).is_some();
                let keyword = instruction.keyword;
                assert_eq!(explained, knows(keyword, flag.name), "{keyword} --{}", flag.name);
            }
        }
    }

    #[test]
    fn mounts_are_those_of_the_parser() {
        let is_taken = |mount: &str| {
            let text = format!("FROM a\nRUN --mount={mount} x\n");
            let file = parse(text.as_bytes(), &mut Linter::default()).dockerfile;
            let crate::Kind::Run(run) = &file.stages[0].instructions[0].kind else { return false };
            run.mounts[0].resolve(&mut |text| Ok(text.to_owned())).is_ok()
        };
        for kind in MOUNT_KINDS.map(|kind| kind.name) {
            for option in MOUNT_OPTIONS.iter().filter(|o| o.name != "type" && o.kinds.contains(&kind)) {
                for value in if option.choices.is_empty() { &["1"] } else { option.choices } {
                    let rest = if kind == "secret" && option.name != "id" { ",id=x" } else { "" };
                    let mount = format!("type={kind},{}={value}{rest}", option.name);
                    assert!(is_taken(&mount), "{mount}");
                }
            }
        }
    }

    #[test]
    fn every_rule_has_a_page() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter_map(|name| name.strip_suffix(".md").map(str::to_owned))
            .filter(|name| name != "README")
            .collect();
        files.sort();
        assert_eq!(files, rules().collect::<Vec<_>>());
        assert!(rule("kiln.PipeFail").is_some_and(|page| page.starts_with("# ")));
    }
}
