//! Colours.

use std::collections::BTreeMap;

/// What a line is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Style {
    Run,
    Cancel,
    Error,
    Warning,
    Faint,
}

/// The escape sequence of each style. One that is missing is drawn plain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theme(BTreeMap<Style, String>);

impl Default for Theme {
    fn default() -> Self {
        let named = |style, name| (style, named(name).expect("a known name"));
        let mut theme = Theme(BTreeMap::from([
            named(Style::Run, "blue"),
            named(Style::Cancel, "yellow"),
            named(Style::Error, "red"),
            named(Style::Warning, "yellow"),
        ]));
        theme.0.insert(Style::Faint, "\x1b[2m".into());
        theme
    }
}

impl Theme {
    /// No colours.
    pub fn plain() -> Self {
        Theme(BTreeMap::new())
    }

    /// The default, changed by `colors` in the form of BUILDKIT_COLORS: `run=green:error=255,0,0`, keys `run`,
    /// `cancel`, `error` and `warning`. Components that make no sense are left out and reported.
    pub fn parse(colors: &str) -> (Self, Vec<String>) {
        let mut theme = Theme::default();
        let mut complaints = Vec::new();
        for component in colors.split(':').map(|c| c.trim_matches('"')).filter(|c| !c.is_empty()) {
            match parse_component(component) {
                Ok((style, sequence)) => {
                    theme.0.insert(style, sequence);
                }
                Err(why) => complaints.push(format!("BUILDKIT_COLORS: `{component}` is left out: {why}")),
            }
        }
        (theme, complaints)
    }

    /// The sequence that begins a style, if it has one.
    pub fn start(&self, style: Style) -> Option<&str> {
        self.0.get(&style).map(String::as_str)
    }
}

fn parse_component(component: &str) -> Result<(Style, String), &'static str> {
    let (key, value) = component.split_once('=').ok_or("expected key=color")?;
    let style = match key.to_ascii_lowercase().as_str() {
        "run" => Style::Run,
        "cancel" => Style::Cancel,
        "error" => Style::Error,
        "warning" => Style::Warning,
        _ => return Err("keys are run, cancel, error and warning"),
    };
    let sequence = named(&value.to_ascii_lowercase()).or_else(|| rgb(value));
    Ok((style, sequence.ok_or("expected the name of a color, or red,green,blue from 0 to 255")?))
}

fn named(name: &str) -> Option<String> {
    const NAMES: [&str; 8] = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
    if name == "default" {
        return Some("\x1b[39m".into());
    }
    let (base, name) = match name.strip_prefix("light-") {
        Some(name) => (90, name),
        None => (30, name),
    };
    let index = NAMES.iter().position(|n| *n == name)?;
    Some(format!("\x1b[{}m", base + index))
}

/// The nearest colour of the 6x6x6 cube, which terminals without true colour know too.
fn rgb(value: &str) -> Option<String> {
    let parts: Vec<u32> =
        value.split(',').map(|p| p.parse::<u8>().map(u32::from).ok()).collect::<Option<_>>()?;
    let &[r, g, b] = parts.as_slice() else { return None };
    let level = |c: u32| c * 6 / 256;
    Some(format!("\x1b[38;5;{}m", 16 + 36 * level(r) + 6 * level(g) + level(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors() {
        let check = |input, style, expect: Option<&str>, complaints| {
            let (theme, said) = Theme::parse(input);
            assert_eq!((theme.start(style), said.len()), (expect, complaints), "{input}");
        };
        check("", Style::Run, Some("\x1b[34m"), 0);
        check("run=green", Style::Run, Some("\x1b[32m"), 0);
        check("RUN=Light-Cyan:error=default", Style::Run, Some("\x1b[96m"), 0);
        check("error=255,0,0", Style::Error, Some("\x1b[38;5;196m"), 0);
        check("error=256,0,0", Style::Error, Some("\x1b[31m"), 1);
        check("error=1,2", Style::Error, Some("\x1b[31m"), 1);
        check("nope=red:run:run=mauve", Style::Run, Some("\x1b[34m"), 3);
        assert_eq!(Theme::plain().start(Style::Run), None);
    }
}
