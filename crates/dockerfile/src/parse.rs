//! Files to stages.

use crate::instruction::read::{Item, read};
use crate::instruction::{Dockerfile, Instruction, Kind, Stage};
use crate::lint::{self, Linter, rules};
use crate::place::Place;
use crate::statement::{self, Statement};
use crate::{Error, Result};

/// A file, as far as it could be understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parsed {
    pub dockerfile: Dockerfile,
    /// Every fault. The first is the one that BuildKit would report. Where there are some, what could be understood of
    /// the rest is there all the same.
    pub errors: Vec<Error>,
}

/// Reads a whole file. Bytes that are no UTF-8 are replaced. What stands behind the first fault is not linted.
pub fn parse(data: &[u8], lint: &mut Linter) -> Parsed {
    if data.is_empty() {
        return Parsed { errors: vec![Error::new("the Dockerfile cannot be empty")], ..Parsed::default() };
    }
    let statements = statement::split(data);
    let mut parsed = Parsed {
        dockerfile: Dockerfile { escape: statements.escape, ..Dockerfile::default() },
        errors: statements.errors,
    };
    // How many findings there were at the first fault.
    let mut before_fault = (!parsed.errors.is_empty()).then_some(lint.findings().len());
    for place in statements.empty_continuations {
        lint.find(rules::NO_EMPTY_CONTINUATION, "Empty continuation line".into(), place.ranges(), &[]);
    }
    // A lost statement may have been a FROM.
    let mut homeless = !parsed.errors.is_empty();
    for statement in statements.list {
        let line = statement.place.first_line();
        let lost = recover(&statement);
        match read(statement, lint) {
            Ok(Item::Stage(stage)) => parsed.dockerfile.stages.push(stage),
            Ok(Item::Instruction(instruction)) => match parsed.dockerfile.stages.last_mut() {
                Some(stage) => stage.instructions.push(instruction),
                None if matches!(instruction.kind, Kind::Arg(_)) => {
                    parsed.dockerfile.global_args.push(instruction);
                }
                // One fault is enough for all that stands in front of the first FROM.
                None if homeless => {}
                None => {
                    homeless = true;
                    parsed
                        .errors
                        .push(Error::new("no build stage in current context").at(&instruction.place));
                }
            },
            Err(e) => {
                parsed.errors.push(e.context(format_args!("dockerfile parse error on line {line}")));
                parsed.dockerfile.stages.extend(lost);
                homeless = true;
            }
        }
        if !parsed.errors.is_empty() {
            before_fault.get_or_insert(lint.findings().len());
        }
    }
    if let Some(count) = before_fault {
        lint.keep(count);
    }
    if parsed.dockerfile.stages.is_empty() && parsed.errors.is_empty() {
        parsed.errors.push(Error::new("dockerfile contains no stages to build"));
    }
    if parsed.errors.is_empty() {
        lint::check_file(&parsed.dockerfile, lint);
    }
    parsed
}

/// The stage that a faulty FROM meant, so that what follows has a home and its name is known.
fn recover(statement: &Statement) -> Option<Stage> {
    if !statement.keyword.eq_ignore_ascii_case("from") {
        return None;
    }
    let words = &statement.arguments.words;
    Some(Stage {
        name: words.get(2).map(|name| name.to_lowercase()).unwrap_or_default(),
        base: words.first().cloned().unwrap_or_else(|| "scratch".to_owned()),
        keyword: statement.keyword.clone(),
        code: statement.text.trim().to_owned(),
        place: statement.place.clone(),
        ..Stage::default()
    })
}

/// Reads the instruction that an image or a stage left for its users with ONBUILD. Its place is `place`.
///
/// # Errors
/// For what is no single instruction, and FROM.
pub fn parse_trigger(text: &str, place: &Place) -> Result<Instruction> {
    let mut statements = statement::split(text.as_bytes());
    if !statements.errors.is_empty() {
        return Err(relocated(statements.errors.swap_remove(0), place));
    }
    let mut list = statements.list.into_iter();
    let (Some(mut statement), None) = (list.next(), list.next()) else {
        return Err(Error::new("onbuild trigger should be a single expression").at(place));
    };
    statement.place = place.clone();
    match read(statement, &mut Linter::default())? {
        Item::Instruction(instruction) => Ok(instruction),
        Item::Stage(_) => Err(Error::new("FROM isn't allowed as an ONBUILD trigger").at(place)),
    }
}

/// Lines of a trigger mean nothing to the file that uses it.
fn relocated(error: Error, place: &Place) -> Error {
    Error::new(error.message()).at(place)
}
