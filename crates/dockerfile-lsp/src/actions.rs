//! What can be mended with a key.

use std::collections::HashMap;

use dockerfile::suggest;
use lsp_types::{
    CodeAction, CodeActionKind, CodeActionResponse, Diagnostic, Message, Position, Range, TextEdit,
};
use lsp_types::{Uri, WorkspaceEdit};

use crate::document::Document;
use crate::text::utf16;

impl Document {
    /// Changes that put in what was probably meant.
    pub(crate) fn fixes(&self, uri: &Uri, diagnostics: Vec<Diagnostic>) -> Vec<CodeActionResponse> {
        let fix = |diagnostic: Diagnostic| {
            let Message::String(message) = &diagnostic.message else { return None };
            let suggestion = suggest::suggested(message)?.trim_start_matches('$').to_owned();
            let range = self.misspelt(diagnostic.range, &suggestion)?;
            let edit = TextEdit { range, new_text: suggestion.clone() };
            Some(CodeActionResponse::CodeAction(CodeAction {
                title: format!("Change to `{suggestion}`"),
                kind: Some(CodeActionKind::QuickFix),
                diagnostics: Some(vec![diagnostic]),
                is_preferred: Some(true),
                edit: Some(edits(uri, vec![edit])),
                ..CodeAction::default()
            }))
        };
        diagnostics.into_iter().filter_map(fix).collect()
    }

    /// The word within a range that is nearly the suggestion.
    fn misspelt(&self, range: Range, suggestion: &str) -> Option<Range> {
        let line = self.text.line(range.start.line as usize);
        let start =
            self.text.offset(range.start) - self.text.offset(Position { character: 0, ..range.start });
        let same_line = range.start.line == range.end.line;
        let end = if same_line {
            start + self.text.offset(range.end) - self.text.offset(range.start)
        } else {
            line.len()
        };
        let part = line.get(start..end)?;
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let words = part.split(|c| !is_part(c)).map(|word| word.trim_start_matches('-'));
        let word = words.filter(|word| !word.is_empty()).find(|word| {
            suggest::nearest(&word.to_lowercase(), [suggestion.to_lowercase().as_str()]).is_some()
        })?;
        let at = word.as_ptr() as usize - line.as_ptr() as usize;
        let from = utf16(&line[..at]);
        let position = |character| Position { line: range.start.line, character };
        Some(Range { start: position(from), end: position(from + utf16(word)) })
    }
}

/// Changes of one file.
pub(crate) fn edits(uri: &Uri, edits: Vec<TextEdit>) -> WorkspaceEdit {
    WorkspaceEdit { changes: Some(HashMap::from([(uri.clone(), edits)])), ..WorkspaceEdit::default() }
}
