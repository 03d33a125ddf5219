//! What words mean.

use dockerfile::explain::{self, Flag, Instruction};
use dockerfile::syntax::Statement;
use lsp_types::{Contents, Hover, MarkupContent, MarkupKind, Position, Range};

use crate::document::Document;
use crate::model::{Mention, What, fields};

impl Document {
    /// What stands at a position: a name, a keyword, a flag or a mount, in this order; then the pages of the rules that
    /// it breaks.
    pub(crate) fn hover(&self, position: Position) -> Option<Hover> {
        let (text, place) = self.explained(position).unzip();
        let texts: Vec<String> = text.into_iter().chain(self.pages(position)).collect();
        let contents = Contents::MarkupContent(markdown(texts.join("\n\n---\n\n")));
        let range = place.flatten().map(|place| self.text.range(place));
        (!texts.is_empty()).then_some(Hover { contents, range })
    }

    fn pages(&self, position: Position) -> impl Iterator<Item = String> {
        let covers = move |range: &Range| range.start <= position && position < range.end;
        let findings = self.findings.get().into_iter().flatten();
        let rules = findings.filter(move |(range, _)| covers(range)).map(|(_, rule)| rule);
        rules.filter_map(|rule| dockerfile::explain::rule(rule)).map(str::to_owned)
    }

    fn explained(&self, position: Position) -> Option<(String, Option<errdefs::Range>)> {
        let model = self.model();
        let place = self.text.place(position);
        if let Some(mention) = model.at(place).map(|index| &model.mentions[index])
            && let Some(text) = self.name(mention)
        {
            return Some((text, Some(mention.place)));
        }
        let Some(index) = model.syntax.at_line(place.line) else {
            return self.directive(position).map(|text| (text, None));
        };
        let statement = &model.syntax.statements[index];
        let offset = statement.offset_at(place, false)?;
        let covers = |part: &std::ops::Range<usize>| part.start <= offset && offset < part.end;
        if statement.onbuild.as_ref().is_some_and(covers) {
            let range = statement.onbuild.clone().and_then(|part| statement.place.range(part));
            return Some((about(explain::instruction("ONBUILD")?), range));
        }
        let instruction = explain::instruction(&statement.name())?;
        if covers(&statement.keyword) {
            return Some((about(instruction), statement.place.range(statement.keyword.clone())));
        }
        let part = statement.flags.iter().find(|part| covers(part))?;
        let (name, value) = statement.flag(part);
        if let Some(value) = value.filter(|value| covers(value) && statement.text(name.clone()) == "mount") {
            let field =
                fields(statement, value).find(|field| field.start <= offset && offset <= field.end)?;
            let text = mount(statement.text(field.clone()))?;
            return Some((text, statement.place.range(field)));
        }
        let flag = instruction.flag(statement.text(name))?;
        Some((of_flag(flag), statement.place.range(part.clone())))
    }

    /// A stage or a variable: how it is made. Nothing for an image.
    fn name(&self, mention: &Mention) -> Option<String> {
        // FROM makes a stage without a name.
        if mention.name.is_empty() {
            return None;
        }
        let model = self.model();
        let maker = mention.target.map(|target| &model.mentions[target]);
        let made = maker.map(|maker| {
            let statement = &model.syntax.statements[maker.statement];
            let above = self.comment_above(statement);
            format!("```dockerfile\n{}\n```\n{above}", cut(statement.place.text().trim()))
        });
        let known = match mention.what {
            What::Stage => None,
            _ => explain::variable(&mention.name).map(|word| word.about.to_owned()),
        };
        match (made, known) {
            (Some(made), Some(known)) => Some(format!("{made}\n{known}")),
            (made, known) => made.or(known),
        }
    }

    /// The lines of comment that touch a statement.
    fn comment_above(&self, statement: &Statement) -> String {
        let first = statement.place.first_line() as usize - 1;
        let above = (0..first).rev().map(|line| self.text.line(line).trim());
        let mut lines: Vec<&str> = above.map_while(|line| line.strip_prefix('#')).map(str::trim).collect();
        lines.reverse();
        lines.join("\n")
    }

    fn directive(&self, position: Position) -> Option<String> {
        let comment = self.text.line(position.line as usize).trim_start().strip_prefix('#')?;
        let (name, _) = comment.split_once('=')?;
        let found = dockerfile::find_directive(&name.trim().to_lowercase(), self.text().as_bytes())?;
        let word = explain::DIRECTIVES.iter().find(|word| word.name == found.name)?;
        (found.range.start.line == position.line + 1).then(|| word.about.to_owned())
    }
}

pub(crate) fn markdown(value: String) -> MarkupContent {
    MarkupContent { kind: MarkupKind::Markdown, value }
}

/// An instruction with its forms.
pub(crate) fn about(instruction: &Instruction) -> String {
    format!("```dockerfile\n{}\n```\n{}", instruction.form, instruction.about)
}

fn of_flag(flag: &Flag) -> String {
    let value = if flag.value.is_empty() { String::new() } else { format!("={}", flag.value) };
    format!("```dockerfile\n--{}{value}\n```\n{}", flag.name, flag.about)
}

/// A field of `--mount`: the option, and the type where it names one.
fn mount(field: &str) -> Option<String> {
    let (name, value) = field.split_once('=').unwrap_or((field, ""));
    let option =
        explain::MOUNT_OPTIONS.iter().find(|option| option.name.eq_ignore_ascii_case(canonical(name)))?;
    let kind = explain::MOUNT_KINDS.iter().find(|kind| option.name == "type" && kind.name == value);
    Some(match kind {
        Some(kind) => format!("`type={}`\n\n{}", kind.name, kind.about),
        None => format!("`{}` of {}\n\n{}", option.name, option.kinds.join(", "), option.about),
    })
}

/// The name of an option in place of another one for the same.
fn canonical(name: &str) -> &str {
    match name {
        "src" => "source",
        "dst" | "destination" => "target",
        "ro" => "readonly",
        "readwrite" => "rw",
        name => name,
    }
}

/// As much of a text as somebody wants to read at a glance.
fn cut(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
