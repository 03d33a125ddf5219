//! COPY and ADD.

use std::collections::HashMap;

use super::flags::{Flags, Takes};
use crate::heredoc::{self, Heredoc};
use crate::statement::Statement;
use crate::{Error, Result};

/// What to copy, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    pub paths: Vec<String>,
    pub inline: Vec<InlineFile>,
    pub destination: String,
}

/// A heredoc that becomes a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InlineFile {
    pub name: String,
    pub content: String,
    /// Variables in the text are to be expanded.
    pub expand: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copy {
    pub sources: Sources,
    /// A stage, an image or a named context; empty is the build context.
    pub from: String,
    pub chown: String,
    pub chmod: String,
    pub link: bool,
    pub parents: bool,
    pub exclude: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Add {
    pub sources: Sources,
    pub chown: String,
    pub chmod: String,
    pub link: bool,
    pub checksum: String,
    pub exclude: Vec<String>,
    /// Of a git source, whether `.git` is kept.
    pub keep_git_dir: Option<bool>,
    /// Whether archives are unpacked; unset, only local ones are.
    pub unpack: Option<bool>,
}

impl Copy {
    pub(super) fn read(s: &Statement) -> Result<Copy> {
        let words = at_least_two(s, "COPY")?;
        let mut flags = Flags::read(
            &s.flags,
            &[
                ("chown", Takes::One),
                ("from", Takes::One),
                ("chmod", Takes::One),
                ("link", Takes::Switch),
                ("exclude", Takes::Many),
                ("parents", Takes::Switch),
            ],
        )?;
        Ok(Copy {
            sources: sources(words, &s.heredocs, "COPY")?,
            from: flags.one("from"),
            chown: flags.one("chown"),
            chmod: flags.one("chmod"),
            link: flags.switch("link").unwrap_or(false),
            parents: flags.switch("parents").unwrap_or(false),
            exclude: flags.many("exclude"),
        })
    }
}

impl Add {
    pub(super) fn read(s: &Statement) -> Result<Add> {
        let words = at_least_two(s, "ADD")?;
        let mut flags = Flags::read(
            &s.flags,
            &[
                ("chown", Takes::One),
                ("chmod", Takes::One),
                ("link", Takes::Switch),
                ("keep-git-dir", Takes::Switch),
                ("checksum", Takes::One),
                ("unpack", Takes::Switch),
                ("exclude", Takes::Many),
            ],
        )?;
        Ok(Add {
            sources: sources(words, &s.heredocs, "ADD")?,
            chown: flags.one("chown"),
            chmod: flags.one("chmod"),
            link: flags.switch("link").unwrap_or(false),
            checksum: flags.one("checksum"),
            exclude: flags.many("exclude"),
            keep_git_dir: flags.switch("keep-git-dir"),
            unpack: flags.switch("unpack"),
        })
    }
}

fn at_least_two<'a>(s: &'a Statement, keyword: &str) -> Result<&'a [String]> {
    if s.arguments.words.len() < 2 {
        return Err(Error::new(format!(
            "{keyword} requires at least two arguments, but only one was provided. Destination could not be determined"
        )));
    }
    Ok(&s.arguments.words)
}

fn sources(words: &[String], heredocs: &[Heredoc], keyword: &str) -> Result<Sources> {
    let (destination, words) = words.split_last().expect("two words were checked for");
    let announced = |word: &str| Heredoc::parse(word).ok().flatten();
    if announced(destination).is_some() {
        return Err(
            Error::new(format!("{keyword} cannot accept a heredoc as a destination")).about(destination)
        );
    }
    let texts: HashMap<&str, &Heredoc> = heredocs.iter().map(|h| (h.name.as_str(), h)).collect();
    let mut sources = Sources { destination: destination.clone(), ..Sources::default() };
    for word in words {
        let Some(heredoc) = announced(word) else {
            sources.paths.push(word.clone());
            continue;
        };
        let text = texts.get(heredoc.name.as_str()).map_or("", |h| h.content.as_str());
        let content = if heredoc.chomp { heredoc::chomp(text) } else { text.to_owned() };
        sources.inline.push(InlineFile { name: heredoc.name, content, expand: heredoc.expand });
    }
    Ok(sources)
}
