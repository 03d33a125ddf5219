//! An open file.

use std::cell::OnceCell;

use lsp_types::{Position, Range, TextDocumentContentChangeEvent as Change, TextEdit};

use crate::model::Model;
use crate::text::Text;

/// An open file, with what is known of it.
#[derive(Debug, Default)]
pub struct Document {
    pub(crate) text: Text,
    /// The editor's number of this state of it.
    pub(crate) version: i32,
    /// Made when somebody asks.
    model: OnceCell<Model>,
    /// Rules that were found broken, once [`Document::diagnostics`] looked, and where.
    pub(crate) findings: OnceCell<Vec<(Range, &'static str)>>,
}

impl Document {
    pub fn new(text: String, version: i32) -> Document {
        Document { text: Text::new(text), version, ..Document::default() }
    }

    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// Takes changes of the editor, one after the other.
    pub fn change(&mut self, changes: Vec<Change>, version: i32) {
        for change in changes {
            match change {
                Change::TextDocumentContentChangePartial(part) => self.text.replace(part.range, &part.text),
                Change::TextDocumentContentChangeWholeDocument(whole) => self.text = Text::new(whole.text),
            }
        }
        *self = Document { text: std::mem::take(&mut self.text), version, ..Document::default() };
    }

    pub(crate) fn model(&self) -> &Model {
        self.model.get_or_init(|| Model::of(self.text.as_str()))
    }

    /// The formatted file as a change; none where it is formatted, or has faults.
    pub fn formatting(&self) -> Vec<TextEdit> {
        let text = self.text.as_str();
        let Ok(formatted) = dockerfile::format::format(text.as_bytes(), Default::default()) else {
            return Vec::new();
        };
        // Lines that stay at both ends are no part of it, so that cursors there stay too.
        let same = |a: &str, b: &str| a == b && a.ends_with('\n');
        let lines = |text: &'_ str| text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
        let (old, new) = (lines(text), lines(&formatted));
        let above = old.iter().zip(&new).take_while(|(a, b)| same(a, b)).count();
        let (old, new) = (&old[above..], &new[above..]);
        let below = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| same(a, b)).count();
        let (old, new) = (&old[..old.len() - below], &new[..new.len() - below]);
        if old.is_empty() && new.is_empty() {
            return Vec::new();
        }
        let start = Position { line: above as u32, character: 0 };
        let ends_open = old.last().is_some_and(|line| !line.ends_with('\n'));
        let end = match ends_open {
            true => self.text.end(),
            false => Position { line: (above + old.len()) as u32, character: 0 },
        };
        vec![TextEdit { range: Range { start, end }, new_text: new.concat() }]
    }
}
