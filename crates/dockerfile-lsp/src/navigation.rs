//! From a name to where it is made and used; stages as symbols; renaming.

use lsp_types::{
    DocumentHighlight, DocumentSymbol, Location, Position, Range, SymbolKind, TextEdit, Uri, WorkspaceEdit,
};

use crate::actions::edits;
use crate::document::Document;
use crate::model::{Mention, What};

impl Document {
    fn mention(&self, position: Position) -> Option<usize> {
        self.model().at(self.text.place(position))
    }

    fn location(&self, uri: &Uri, mention: &Mention) -> Location {
        Location { uri: uri.clone(), range: self.text.range(mention.place) }
    }

    /// Where the stage, or the value of the variable, comes from.
    pub(crate) fn definition(&self, uri: &Uri, position: Position) -> Option<Location> {
        let model = self.model();
        let target = model.mentions[self.mention(position)?].target?;
        Some(self.location(uri, &model.mentions[target]))
    }

    pub(crate) fn references(&self, uri: &Uri, position: Position, with_makers: bool) -> Vec<Location> {
        let Some(index) = self.mention(position) else { return Vec::new() };
        let same = self.model().same(index);
        same.filter(|m| with_makers || !m.makes).map(|m| self.location(uri, m)).collect()
    }

    pub(crate) fn highlights(&self, position: Position) -> Vec<DocumentHighlight> {
        let Some(index) = self.mention(position) else { return Vec::new() };
        let highlight = |m: &Mention| DocumentHighlight { range: self.text.range(m.place), kind: None };
        self.model().same(index).map(highlight).collect()
    }

    /// One symbol for each stage.
    pub(crate) fn symbols(&self) -> Vec<DocumentSymbol> {
        let model = self.model();
        let statements = &model.syntax.statements;
        let symbol = |(number, stage): (usize, &crate::model::Stage)| {
            let name = &model.mentions[stage.mention];
            let next = model.stages.get(number + 1).map_or(statements.len(), |next| next.from);
            let (from, last) = (&statements[stage.from], &statements[next - 1]);
            let start = self.text.range(errdefs::Range::lines(from.place.first_line(), 0)).start;
            let last = last.place.last_line();
            let base = from.words.first().map(|word| from.text(word.clone()).to_owned());
            #[allow(deprecated, reason = "the field has no default")]
            DocumentSymbol {
                name: if name.name.is_empty() { format!("stage {number}") } else { name.name.clone() },
                detail: base,
                kind: SymbolKind::Class,
                tags: None,
                deprecated: None,
                range: Range { start: Position { character: 0, ..start }, end: self.line_end(last) },
                selection_range: self.text.range(name.place),
                children: None,
            }
        };
        model.stages.iter().enumerate().map(symbol).collect()
    }

    /// The end of a line that is counted from 1.
    fn line_end(&self, line: u32) -> Position {
        let index = line.saturating_sub(1);
        Position { line: index, character: crate::text::utf16(self.text.line(index as usize)) }
    }

    /// The stage name at a position, as the one thing that can be renamed.
    pub(crate) fn renamable(&self, position: Position) -> Option<(Range, String)> {
        let mention = &self.model().mentions[self.mention(position)?];
        let is_name = mention.what == What::Stage && self.is_name(mention);
        is_name.then(|| (self.text.range(mention.place), mention.name.clone()))
    }

    /// Stages may be called by number too.
    fn is_name(&self, mention: &Mention) -> bool {
        let model = self.model();
        let made = mention.target.map(|target| model.mentions[target].name.as_str());
        !mention.name.is_empty() && made.is_some_and(|made| made.eq_ignore_ascii_case(&mention.name))
    }

    /// # Errors
    /// Says why that cannot be renamed, or not to that.
    pub(crate) fn rename(&self, uri: &Uri, position: Position, new: &str) -> Result<WorkspaceEdit, String> {
        let index = self.mention(position).filter(|_| self.renamable(position).is_some());
        let index = index.ok_or("only stages can be renamed")?;
        let first = new.starts_with(|c: char| c.is_ascii_alphabetic());
        if !first || !new.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(format!(
                "`{new}` cannot be the name of a stage: a letter, then letters, digits, `-`, `_` and `.`"
            ));
        }
        let model = self.model();
        let is_other = |m: &&Mention| m.what == What::Stage && m.home != model.mentions[index].home;
        if model.mentions.iter().filter(is_other).any(|m| m.name.eq_ignore_ascii_case(new)) {
            return Err(format!("there is a stage `{new}` already"));
        }
        let names = model.same(index).filter(|m| self.is_name(m));
        let edit = |m: &Mention| TextEdit { range: self.text.range(m.place), new_text: new.to_owned() };
        Ok(edits(uri, names.map(edit).collect()))
    }
}
