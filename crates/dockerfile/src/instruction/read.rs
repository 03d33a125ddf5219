//! Statements to instructions.

use super::flags::{Flags, Takes};
use super::{
    Add, ArgDefinition, CommandLine, Copy, Healthcheck, Instruction, KEYWORDS, KeyValue, Kind, Run, Stage,
};
use crate::lint::{Linter, Rule, rules};
use crate::statement::Statement;
use crate::words::split_first;
use crate::{Error, Result, go, suggest};

/// What a statement turns out to be.
pub(crate) enum Item {
    Stage(Stage),
    Instruction(Instruction),
}

/// # Errors
/// For unknown keywords, and flags and arguments that do not fit; the place is set.
pub(crate) fn read(statement: Statement, lint: &mut Linter) -> Result<Item> {
    let keyword = statement.keyword.to_uppercase();
    if keyword == "FROM" {
        return stage(&statement, lint).map(Item::Stage).map_err(|e| e.at(&statement.place));
    }
    if keyword == "MAINTAINER" {
        let message = "Maintainer instruction is deprecated in favor of using label";
        find(lint, rules::MAINTAINER_DEPRECATED, message.to_owned(), &statement);
    }
    let kind = kind(&keyword, &statement).map_err(|e| e.at(&statement.place))?;
    if let Kind::Arg(definitions) = &kind {
        let names: Vec<_> = definitions.iter().map(|d| d.key.as_str()).collect();
        described_names(lint, "ARG", &names, &statement);
    }
    Ok(Item::Instruction(Instruction {
        kind,
        code: statement.text.trim().to_owned(),
        keyword: statement.keyword,
        place: statement.place,
        comments: statement.comments,
    }))
}

fn find(lint: &mut Linter, rule: Rule, message: String, statement: &Statement) {
    lint.find(rule, message, statement.place.ranges(), &statement.comments);
}

fn kind(keyword: &str, s: &Statement) -> Result<Kind> {
    Ok(match keyword {
        "ADD" => Kind::Add(Add::read(s)?),
        "ARG" => Kind::Arg(arg(s)?),
        "CMD" => {
            no_flags(s)?;
            Kind::Cmd(command_line(s))
        }
        "COPY" => Kind::Copy(Copy::read(s)?),
        "ENTRYPOINT" => {
            no_flags(s)?;
            Kind::Entrypoint(command_line(s))
        }
        "ENV" => Kind::Env(pairs(s, keyword)?),
        "EXPOSE" => {
            let mut ports = at_least_one(s, keyword)?.to_vec();
            no_flags(s)?;
            ports.sort();
            Kind::Expose(ports)
        }
        "HEALTHCHECK" => Kind::Healthcheck(Healthcheck::read(s)?),
        "LABEL" => Kind::Label(pairs(s, keyword)?),
        "MAINTAINER" => Kind::Maintainer(exactly_one(s, keyword)?),
        "ONBUILD" => Kind::Onbuild(onbuild(s)?),
        "RUN" => Kind::Run(Run::read(s)?),
        "SHELL" => Kind::Shell(shell(s)?),
        "STOPSIGNAL" => match s.arguments.words.as_slice() {
            [signal] => Kind::StopSignal(signal.clone()),
            _ => return Err(Error::new("STOPSIGNAL requires exactly one argument")),
        },
        "USER" => Kind::User(exactly_one(s, keyword)?),
        "VOLUME" => Kind::Volume(volume(s)?),
        "WORKDIR" => Kind::Workdir(exactly_one(s, keyword)?),
        _ => {
            let message = format!("unknown instruction: {}", s.keyword);
            let message = suggest::append_any_case(message, &s.keyword, KEYWORDS);
            return Err(Error::new(message).about(&s.keyword));
        }
    })
}

fn no_flags(s: &Statement) -> Result<()> {
    Flags::read(&s.flags, &[]).map(|_| ())
}

fn at_least_one<'a>(s: &'a Statement, keyword: &str) -> Result<&'a [String]> {
    match s.arguments.words.as_slice() {
        [] => Err(Error::new(format!("{keyword} requires at least one argument"))),
        words => Ok(words),
    }
}

fn exactly_one(s: &Statement, keyword: &str) -> Result<String> {
    let [word] = s.arguments.words.as_slice() else {
        return Err(Error::new(format!("{keyword} requires exactly one argument")));
    };
    no_flags(s)?;
    Ok(word.clone())
}

fn pairs(s: &Statement, keyword: &str) -> Result<Vec<KeyValue>> {
    no_flags(s)?;
    let pairs = &s.arguments.pairs;
    if pairs.is_empty() {
        return Err(Error::new(format!("{keyword} requires at least one argument")));
    }
    if pairs.iter().any(|p| p.key.is_empty()) {
        return Err(Error::new(format!("{keyword} names can not be blank")));
    }
    Ok(pairs.clone())
}

pub(super) fn command_line(s: &Statement) -> CommandLine {
    CommandLine { words: s.arguments.words.clone(), heredocs: s.heredocs.clone(), shell: !s.arguments.json }
}

fn arg(s: &Statement) -> Result<Vec<ArgDefinition>> {
    let definition = |word: &String| {
        let (key, value) = match word.split_once('=') {
            Some(("", _)) => return Err(Error::new("ARG names can not be blank").about(word)),
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        Ok(ArgDefinition { key: key.to_owned(), value, description: described(&s.comments, key) })
    };
    at_least_one(s, "ARG")?.iter().map(definition).collect()
}

fn shell(s: &Statement) -> Result<Vec<String>> {
    no_flags(s)?;
    let words = at_least_one(s, "SHELL")?;
    if !s.arguments.json {
        return Err(Error::new("SHELL requires the arguments to be in JSON form"));
    }
    Ok(words.to_vec())
}

fn volume(s: &Statement) -> Result<Vec<String>> {
    let words = at_least_one(s, "VOLUME")?;
    no_flags(s)?;
    let volumes: Vec<String> = words.iter().map(|w| w.trim().to_owned()).collect();
    if volumes.iter().any(String::is_empty) {
        return Err(Error::new("VOLUME specified can not be an empty string"));
    }
    Ok(volumes)
}

fn onbuild(s: &Statement) -> Result<String> {
    let words = at_least_one(s, "ONBUILD")?;
    no_flags(s)?;
    let trigger = split_first(words[0].trim()).0.to_uppercase();
    match trigger.as_str() {
        "ONBUILD" => return Err(Error::new("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")),
        "MAINTAINER" | "FROM" => {
            return Err(Error::new(format!("{trigger} isn't allowed as an ONBUILD trigger")));
        }
        _ => {}
    }
    let text = s.text.trim_start();
    let mut expression = text.get(s.keyword.len()..).unwrap_or_default().trim_start().to_owned();
    for heredoc in &s.heredocs {
        expression.push('\n');
        expression.push_str(&heredoc.content);
        expression.push_str(&heredoc.name);
    }
    Ok(expression)
}

fn stage(s: &Statement, lint: &mut Linter) -> Result<Stage> {
    let words = &s.arguments.words;
    if let [_, keyword, name] = words.as_slice() {
        if *name != name.to_lowercase() {
            let message = format!("Stage name '{name}' should be lowercase");
            find(lint, rules::STAGE_NAME_CASING, message, s);
        }
        let lower = s.keyword == s.keyword.to_lowercase() && *keyword != keyword.to_lowercase();
        let upper = s.keyword == s.keyword.to_uppercase() && *keyword != keyword.to_uppercase();
        if lower || upper {
            let message = format!("'{keyword}' and '{}' keywords' casing do not match", s.keyword);
            find(lint, rules::FROM_AS_CASING, message, s);
        }
    }
    let name = match words.as_slice() {
        [_] => String::new(),
        [_, keyword, name] if keyword.eq_ignore_ascii_case("as") => stage_name(name)?,
        _ => return Err(Error::new("FROM requires either one or three arguments")),
    };
    let mut flags = Flags::read(&s.flags, &[("platform", Takes::One)])?;
    if !name.is_empty() {
        described_names(lint, "FROM", &[&name], s);
    }
    Ok(Stage {
        description: described(&s.comments, &name),
        name,
        base: words[0].clone(),
        platform: flags.one("platform"),
        keyword: s.keyword.clone(),
        code: s.text.trim().to_owned(),
        place: s.place.clone(),
        comments: s.comments.clone(),
        instructions: Vec::new(),
    })
}

/// A letter, then letters, digits and `-_.`.
fn stage_name(written: &str) -> Result<String> {
    let name = written.to_lowercase();
    let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
    if valid {
        return Ok(name);
    }
    let message = format!(
        "invalid name for build stage: {}, name can't start with a number or contain symbols",
        go::quote(written)
    );
    Err(Error::new(message).about(written))
}

/// A comment right above is to begin with one of the names.
fn described_names(lint: &mut Linter, keyword: &str, names: &[&str], s: &Statement) {
    let Some(comment) = s.comments.last() else { return };
    if names.contains(&comment.split(' ').next().unwrap_or_default()) {
        return;
    }
    let example = match names {
        [name] => name,
        _ => "<arg_key>",
    };
    let message = format!("Comment for {keyword} should follow the format: `# {example} <description>`");
    find(lint, rules::INVALID_DEFINITION_DESCRIPTION, message, s);
}

/// The rest of the comment line that begins with the name.
fn described(comments: &[String], name: &str) -> String {
    if name.is_empty() {
        return String::new();
    }
    let of_name = |line: &String| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
    comments.iter().find_map(of_name).unwrap_or_default()
}
