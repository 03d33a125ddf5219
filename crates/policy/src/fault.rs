//! Errors of the evaluator as errors of Kiln: they point into the file as it was written.

use errdefs::{Detail, Error, Position, Range, SourceInfo, SourceLocation};

use crate::budget;
use crate::modules::Module;

/// Reads `--> file:line:column`, the line with a caret, and `error: what`, as the evaluator writes them.
pub(crate) fn of(error: &anyhow::Error, modules: &[Module]) -> Error {
    let text = error.to_string();
    if text.contains("execution exceeded time limit") {
        return budget::too_slow();
    }
    let message = text.split_once("\nerror: ").map_or(text.as_str(), |(_, message)| message);
    let message = message.lines().next().unwrap_or_default().trim_end_matches(':');
    let Some((module, line, column)) = place(&text, modules) else {
        return Error::user(message.to_owned());
    };
    let position = Position { line, character: module.original_column(line, column).saturating_sub(1) };
    at(module, position, message)
}

/// An error at a place of a file.
pub(crate) fn at(module: &Module, start: Position, message: &str) -> Error {
    let end = Position { character: start.character + 1, ..start };
    let info = SourceInfo {
        filename: module.name.clone(),
        data: module.original.clone().into_bytes(),
        language: "Rego".into(),
        ..SourceInfo::default()
    };
    let location = SourceLocation { info, ranges: vec![Range { start, end }] };
    Error::user(format!("{}:{}: {message}", module.name, start.line)).with_detail(Detail::Source(location))
}

fn place<'m>(text: &str, modules: &'m [Module]) -> Option<(&'m Module, u32, u32)> {
    let place = text.lines().find_map(|line| line.strip_prefix("--> "))?;
    let (rest, column) = place.rsplit_once(':')?;
    let (name, line) = rest.rsplit_once(':')?;
    let module = modules.iter().find(|module| module.name == name)?;
    Some((module, line.parse().ok()?, column.parse().ok()?))
}
