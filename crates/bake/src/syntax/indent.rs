//! `<<-`: the space that all lines of a heredoc begin with goes.

use std::rc::Rc;

use unicode_segmentation::UnicodeSegmentation as _;

use super::Part;

/// Takes it from text that was split into lines. Lines that only end with a mark have no say, nor have empty ones; one
/// that begins with a part to fill in begins with no space.
pub fn remove(parts: &mut [Part]) {
    let mut least = usize::MAX;
    each_line_start(parts, &mut |text| match text {
        Some(text) if text.trim().is_empty() && text.ends_with('\n') => {}
        Some(text) => least = least.min(space(text).graphemes(true).count()),
        None => least = 0,
    });
    each_line_start(parts, &mut |text| {
        if let Some(text) = text.filter(|t| !(t.trim().is_empty() && t.ends_with('\n'))) {
            let cut: usize = space(text).graphemes(true).take(least).map(str::len).sum();
            *text = text[cut..].into();
        }
    });
}

fn space(text: &str) -> &str {
    &text[..text.len() - text.trim_start().len()]
}

/// Calls `visit` with the text, or with nothing for a part to fill in, that each line begins with.
fn each_line_start(parts: &mut [Part], visit: &mut dyn FnMut(Option<&mut Rc<str>>)) {
    let mut at_start = true;
    each(parts, &mut |mut text| {
        let ends_line = text.as_ref().is_some_and(|t| t.ends_with('\n'));
        if std::mem::take(&mut at_start) {
            visit(text.as_deref_mut());
        }
        at_start |= ends_line;
    });
}

fn each(parts: &mut [Part], visit: &mut dyn FnMut(Option<&mut Rc<str>>)) {
    for part in parts {
        match part {
            Part::Text(text) => visit(Some(text)),
            Part::Value(_) => visit(None),
            Part::If { then, otherwise, .. } => {
                visit(None);
                each(then, visit);
                if !otherwise.is_empty() {
                    visit(None);
                    each(otherwise, visit);
                }
                visit(None);
            }
            Part::For { body, .. } => {
                visit(None);
                each(body, visit);
                visit(None);
            }
        }
    }
}
