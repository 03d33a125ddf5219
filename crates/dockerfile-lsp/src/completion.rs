//! What may stand at the cursor.

use std::ops::Range;

use dockerfile::explain::{self, DIRECTIVES, INSTRUCTIONS, MOUNT_KINDS, MOUNT_OPTIONS, VARIABLES};
use dockerfile::syntax::Statement;
use lsp_types::{
    CompletionItem, CompletionItemKind, CompletionItemTextEdit, Documentation, Position, Range as Span,
    TextEdit,
};

use crate::document::Document;
use crate::hover::{about, markdown};
use crate::model::{Mention, What};
use crate::text::utf16;
use crate::variables;

/// Platforms that images are made for.
const PLATFORMS: [&str; 10] = [
    "$BUILDPLATFORM",
    "$TARGETPLATFORM",
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/386",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
    "windows/amd64",
];

/// Signals that programs take for a request to end, or to reload.
const SIGNALS: [&str; 6] = ["SIGTERM", "SIGQUIT", "SIGINT", "SIGHUP", "SIGUSR1", "SIGKILL"];

/// Something that may stand there.
struct Item {
    label: String,
    /// What is put in, where that is more than the label.
    insert: Option<String>,
    kind: CompletionItemKind,
    detail: Option<String>,
    about: String,
}

impl Item {
    fn new(label: impl Into<String>, kind: CompletionItemKind, about: impl Into<String>) -> Item {
        Item { label: label.into(), insert: None, kind, detail: None, about: about.into() }
    }

    fn value(label: &str) -> Item {
        Item::new(label, CompletionItemKind::Value, "")
    }

    fn inserting(self, text: String) -> Item {
        Item { insert: Some(text), ..self }
    }
}

/// What may stand there, and how much in front of the cursor it takes the place of.
struct Answer<'a> {
    begun: &'a str,
    items: Vec<Item>,
}

impl<'a> Answer<'a> {
    fn new(begun: &'a str, items: Vec<Item>) -> Option<Answer<'a>> {
        Some(Answer { begun, items })
    }
}

impl Document {
    pub(crate) fn completion(&self, position: Position) -> Vec<CompletionItem> {
        let line = self.text.line(position.line as usize);
        let start = self.text.offset(Position { character: 0, ..position });
        let (before, after) = line.split_at((self.text.offset(position) - start).min(line.len()));
        let Some(Answer { begun, items }) = self.candidates(position, before, after) else {
            return Vec::new();
        };
        let from = Position { character: utf16(before) - utf16(begun), ..position };
        let range = Span { start: from, end: Position { character: utf16(before), ..position } };
        let item = |(index, item): (usize, Item)| CompletionItem {
            kind: Some(item.kind),
            detail: item.detail,
            documentation: (!item.about.is_empty()).then(|| Documentation::from(markdown(item.about))),
            // In this order.
            sort_text: Some(format!("{index:03}")),
            filter_text: Some(item.insert.clone().unwrap_or_else(|| item.label.clone())),
            text_edit: Some(CompletionItemTextEdit::TextEdit(TextEdit {
                range,
                new_text: item.insert.unwrap_or_else(|| item.label.clone()),
            })),
            label: item.label,
            ..CompletionItem::default()
        };
        items.into_iter().enumerate().map(item).collect()
    }

    fn candidates<'a>(&self, position: Position, before: &'a str, after: &str) -> Option<Answer<'a>> {
        let model = self.model();
        let place = self.text.place(position);
        if before.trim_start().starts_with('#') {
            return self.directives(position, before);
        }
        let Some(index) = model.syntax.at_line(place.line) else {
            return keywords(before.trim_start(), false);
        };
        let statement = &model.syntax.statements[index];
        let offset = statement.offset_at(place, before.trim().is_empty() && after.trim().is_empty());
        if let Some((name, in_braces)) = variables::begun(before) {
            let close = in_braces && !after.starts_with('}');
            return Answer::new(name, self.variables(index, close));
        }
        let offset = offset?;
        let behind = |part: &Range<usize>| offset > part.end;
        if !behind(&statement.keyword) {
            let in_trigger = statement.onbuild.as_ref().is_some_and(behind);
            return keywords(last_word(before), in_trigger);
        }
        let word = last_word(before);
        let word_start = offset.saturating_sub(word.len());
        let in_flags = statement.words.first().is_none_or(|first| first.start >= word_start);
        if in_flags && let Some(flag) = word.strip_prefix("--") {
            return match flag.split_once('=') {
                Some((name, value)) => self.flag_value(index, name, value),
                None => Answer::new(word, flags(statement)),
            };
        }
        let flags = if in_flags && (word.is_empty() || word == "-") { flags(statement) } else { Vec::new() };
        let mut items = self.arguments(index, word_start);
        items.extend(flags);
        Answer::new(word, items)
    }

    /// Parser directives, in comments on top of the file.
    fn directives<'a>(&self, position: Position, before: &'a str) -> Option<Answer<'a>> {
        let is_directive = |line: &str| line.trim_start().starts_with('#') && line.contains('=');
        if !(0..position.line as usize).all(|line| is_directive(self.text.line(line))) {
            return None;
        }
        let comment = before.trim_start().trim_start_matches('#').trim_start();
        let value = |label: &&str| Item::value(label);
        match comment.split_once('=') {
            None => {
                let item = |word: &explain::Word| {
                    Item::new(word.name, CompletionItemKind::Keyword, word.about)
                        .inserting(format!("{}=", word.name))
                };
                Answer::new(comment, DIRECTIVES.iter().map(item).collect())
            }
            Some(("syntax", image)) => Answer::new(image, vec![Item::value("docker/dockerfile:1")]),
            Some(("escape", begun)) => Answer::new(begun, ["\\", "`"].iter().map(value).collect()),
            Some(("check", options)) => {
                let begun = options.rsplit([';', ',', '=']).next().unwrap_or(options);
                let option = options.rsplit(';').next().unwrap_or(options);
                Answer::new(
                    begun,
                    match option.split_once('=') {
                        None => ["skip=", "error=true", "experimental="].iter().map(value).collect(),
                        Some(("error", _)) => ["true", "false"].iter().map(value).collect(),
                        Some(_) => std::iter::once("all").chain(explain::rules()).map(Item::value).collect(),
                    },
                )
            }
            Some(_) => None,
        }
    }

    /// Variables with a value in this statement, and those that are there without a declaration.
    fn variables(&self, statement: usize, close: bool) -> Vec<Item> {
        let model = self.model();
        let written = &model.syntax.statements[statement];
        let item = |name: &str, about: String| {
            let item = Item::new(name, CompletionItemKind::Variable, about);
            if close { item.inserting(format!("{name}}}")) } else { item }
        };
        let made = |mention: &&Mention| {
            let code = model.syntax.statements[mention.statement].place.text().trim();
            item(&mention.name, format!("```dockerfile\n{code}\n```"))
        };
        let visible = model.visible(statement);
        let mut items: Vec<Item> = visible.iter().map(made).collect();
        // Platforms are there in FROM alone, PATH in commands.
        let is_there = |name: &str| match written.name().as_str() {
            "FROM" => {
                name.starts_with("TARGET") || name.starts_with("BUILD") && !name.starts_with("BUILDKIT")
            }
            _ => name == "PATH",
        };
        let known = VARIABLES.iter().filter(|word| is_there(word.name));
        let known = known.filter(|word| visible.iter().all(|mention| mention.name != word.name));
        items.extend(known.map(|word| item(word.name, word.about.to_owned())));
        items
    }

    fn stages(&self, statement: usize) -> Vec<Item> {
        let model = self.model();
        let item = |mention: &Mention| {
            let from = model.syntax.statements[mention.statement].place.text().trim();
            Item { detail: Some(from.to_owned()), ..Item::new(&mention.name, CompletionItemKind::Class, "") }
        };
        // The latest is the likeliest.
        let mut items: Vec<Item> = model.stages_before(statement).map(item).collect();
        items.reverse();
        items
    }

    fn flag_value<'a>(&self, statement: usize, name: &str, value: &'a str) -> Option<Answer<'a>> {
        let written = &self.model().syntax.statements[statement];
        match name {
            "from" => Answer::new(value, self.stages(statement)),
            "platform" => Answer::new(value, PLATFORMS.map(Item::value).into()),
            "mount" => self.mount(statement, value),
            _ => {
                let flag = explain::instruction(&written.name())?.flag(name)?;
                Answer::new(value, flag.choices.iter().map(|choice| Item::value(choice)).collect())
            }
        }
    }

    /// Options of a mount and their values.
    fn mount<'a>(&self, statement: usize, mount: &'a str) -> Option<Answer<'a>> {
        let field = mount.rsplit(',').next().unwrap_or(mount);
        if let Some((name, value)) = field.split_once('=') {
            return match name {
                "from" => Answer::new(value, self.stages(statement)),
                "type" => {
                    let kind = |word: &explain::Word| {
                        Item::new(word.name, CompletionItemKind::EnumMember, word.about)
                    };
                    Answer::new(value, MOUNT_KINDS.iter().map(kind).collect())
                }
                name => {
                    let option = MOUNT_OPTIONS.iter().find(|option| option.name == name)?;
                    Answer::new(value, option.choices.iter().map(|choice| Item::value(choice)).collect())
                }
            };
        }
        let given: Vec<(&str, &str)> = mount.split(',').filter_map(|field| field.split_once('=')).collect();
        let kind = given.iter().find(|(name, _)| *name == "type").map_or("bind", |(_, kind)| *kind);
        let fits = |option: &&explain::MountOption| {
            (option.kinds.contains(&kind) || option.name == "type")
                && given.iter().all(|(name, _)| *name != option.name)
        };
        let item = |option: &explain::MountOption| {
            let switch = matches!(option.name, "readonly" | "rw" | "required");
            let text = if switch { option.name.to_owned() } else { format!("{}=", option.name) };
            Item::new(option.name, CompletionItemKind::Property, option.about).inserting(text)
        };
        Answer::new(field, MOUNT_OPTIONS.iter().filter(fits).map(item).collect())
    }

    /// Words behind the flags.
    fn arguments(&self, statement: usize, word_start: usize) -> Vec<Item> {
        let written = &self.model().syntax.statements[statement];
        let count =
            written.words.iter().filter(|word| word.end <= word_start && word.start < word_start).count();
        let keyword = |text: &str| vec![Item::new(text, CompletionItemKind::Keyword, "")];
        match (written.name().as_str(), count) {
            ("FROM", 0) => {
                let mut items = self.stages(statement);
                items.push(Item::new("scratch", CompletionItemKind::Class, "Nothing: an empty image."));
                items
            }
            ("FROM", 1) => keyword("AS"),
            ("HEALTHCHECK", 0) => ["CMD", "NONE"].into_iter().flat_map(keyword).collect(),
            ("STOPSIGNAL", 0) => SIGNALS.map(Item::value).into(),
            ("ARG", _) => self.declarable(statement),
            _ => Vec::new(),
        }
    }

    /// What `ARG NAME` in a stage gives a value.
    fn declarable(&self, statement: usize) -> Vec<Item> {
        let model = self.model();
        if model.stage_before(statement).is_none() {
            return Vec::new();
        }
        let globals = model.mentions.iter().filter(|m| m.makes && m.stage.is_none() && m.what == What::Arg);
        let global = |m: &Mention| Item::new(&m.name, CompletionItemKind::Variable, "");
        let known = |word: &explain::Word| Item::new(word.name, CompletionItemKind::Variable, word.about);
        let is_declared =
            |word: &&explain::Word| word.name.starts_with("TARGET") || word.name.starts_with("BUILD");
        globals.map(global).chain(VARIABLES.iter().filter(is_declared).map(known)).collect()
    }
}

fn last_word(text: &str) -> &str {
    text.rsplit([' ', '\t']).next().unwrap_or(text)
}

/// Keywords, in the case in which the word begins.
fn keywords(begun: &str, in_trigger: bool) -> Option<Answer<'_>> {
    let is_lower = begun.contains(char::is_alphabetic) && begun == begun.to_lowercase();
    let fits =
        |i: &&explain::Instruction| !(in_trigger && matches!(i.keyword, "FROM" | "ONBUILD" | "MAINTAINER"));
    let item = |i: &explain::Instruction| {
        let label = if is_lower { i.keyword.to_lowercase() } else { i.keyword.to_owned() };
        Item::new(label, CompletionItemKind::Keyword, about(i))
    };
    Answer::new(begun, INSTRUCTIONS.iter().filter(fits).map(item).collect())
}

/// Flags of the statement's instruction.
fn flags(statement: &Statement) -> Vec<Item> {
    let Some(instruction) = explain::instruction(&statement.name()) else { return Vec::new() };
    let item = |flag: &explain::Flag| {
        let label = format!("--{}", flag.name);
        let text = if flag.value.is_empty() { label.clone() } else { format!("{label}=") };
        Item {
            detail: Some(flag.value.to_owned()).filter(|value| !value.is_empty()),
            ..Item::new(label, CompletionItemKind::Property, flag.about)
        }
        .inserting(text)
    };
    instruction.flags.iter().map(item).collect()
}
