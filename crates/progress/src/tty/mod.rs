//! A screen that is drawn again and again: a head with the count, a line for every row, and the last words of the
//! rows that run.

mod layout;
mod screen;
mod theme;

use std::collections::HashMap;
use std::io::Write as _;

use jiff::Timestamp;

use crate::event::SolveStatus;
use crate::measure::seconds;
use crate::picture::{Change, LineLog, Picture, RowId, RowState};
use crate::plain::print_failure;
use crate::render::{Renderer, Size};
use layout::{Entry, Line, Subject};
use screen::LogScreen;
pub use theme::{Style, Theme};

/// Bytes of a row's log that are kept for the case that it fails: more than anybody reads.
const KEPT_LOG: usize = 4 << 20;
/// Log windows are never lower than this.
const LOWEST_WINDOW: usize = 6;

#[derive(Debug, Clone)]
pub struct Options {
    /// What the head says is going on.
    pub phase: String,
    /// Who does it, at the right end of the head, as `kiln:default`.
    pub description: String,
    pub theme: Theme,
    /// Lines of a log window, where there is room.
    pub log_lines: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            phase: "Building".into(),
            description: String::new(),
            theme: Theme::default(),
            log_lines: LOWEST_WINDOW,
        }
    }
}

/// The screen.
pub struct Tty {
    picture: Picture,
    options: Options,
    logs: HashMap<RowId, RowLog>,
    /// Widths of the lines that stand on the terminal now.
    drawn: Vec<usize>,
}

/// What a row printed: a live window, and the lines for the case that it fails.
struct RowLog {
    screen: LogScreen,
    lines: LineLog,
}

impl Tty {
    pub fn new(options: Options) -> Self {
        Tty { picture: Picture::default(), options, logs: HashMap::new(), drawn: Vec::new() }
    }

    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    fn frame(&mut self, now: Timestamp, size: Size, last: bool) -> Vec<Line> {
        let mut entries = self.entries(now);
        let height = self.window_height(size);
        let windows = if last { Vec::new() } else { self.open_windows(&entries, height, size) };
        if !last {
            let taken: usize = windows.iter().map(|(_, lines)| lines.len()).sum();
            layout::fit(&mut entries, size.height.saturating_sub(2 + taken));
        }
        let mut lines = vec![self.head(now, size, last)];
        for entry in entries {
            let window = match entry.subject {
                Subject::Row(id) => windows.iter().find(|(w, _)| *w == id),
                Subject::Part | Subject::Warning => None,
            };
            lines.extend(entry.line(size.width));
            for text in window.into_iter().flat_map(|(_, lines)| lines) {
                let text = layout::cut(&format!(" => => # {text}"), size.width.saturating_sub(1));
                lines.push(Line { text, style: Some(Style::Faint) });
            }
        }
        lines
    }

    fn head(&self, now: Timestamp, size: Size, last: bool) -> Line {
        let (complete, count) = self.picture.counts();
        let since =
            self.picture.started().map_or(0.0, |s| seconds(s, self.picture.engine_time(now)).max(0.0));
        let end = if last && complete > 0 && complete == count { " FINISHED" } else { "" };
        let left = format!("[+] {} {since:.1}s ({complete}/{count}){end}", self.options.phase);
        Line { text: layout::justify(&left, &self.options.description, size.width), style: None }
    }

    fn entries(&self, now: Timestamp) -> Vec<Entry> {
        let now = self.picture.engine_time(now);
        self.picture.shown().flat_map(|(id, row)| Entry::of_row(id, row, now)).collect()
    }

    fn window_height(&self, size: Size) -> usize {
        self.options.log_lines.min(size.height.saturating_sub(LOWEST_WINDOW + 1)).max(LOWEST_WINDOW)
    }

    /// The windows there is room for, by how much their rows have to say and how long they had one.
    fn open_windows(&mut self, entries: &[Entry], height: usize, size: Size) -> Vec<(RowId, Vec<String>)> {
        let busy = entries.iter().filter(|e| e.is_running).count();
        let mut free = size.height.saturating_sub(2 + busy);
        let mut talking: Vec<(usize, RowId)> = entries
            .iter()
            .filter(|e| e.is_running)
            .filter_map(|e| match e.subject {
                Subject::Row(id) => Some((self.logs.get(&id)?.screen.weight(), id)),
                Subject::Part | Subject::Warning => None,
            })
            .collect();
        talking.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut windows = Vec::new();
        for (_, id) in talking {
            if free <= height + 3 {
                break;
            }
            free -= height + 3;
            if let Some(log) = self.logs.get_mut(&id) {
                windows.push((id, log.screen.show(height, window_width(size))));
            }
        }
        windows
    }

    /// Draws over what was drawn before, in one go so that nothing flickers.
    fn paint(&mut self, lines: &[Line], size: Size, out: &mut Vec<u8>) {
        // A terminal that became narrower has wrapped the lines that stand there.
        let width = size.width.max(1);
        let up: usize = self.drawn.iter().map(|w| w.div_ceil(width).max(1)).sum();
        out.extend_from_slice(b"\x1b[?2026h\x1b[?25l\r");
        if up > 0 {
            write!(out, "\x1b[{up}A").expect("a Vec takes all");
        }
        for line in lines {
            let paint = line.style.and_then(|s| self.options.theme.start(s));
            match paint {
                Some(start) => writeln!(out, "{start}{}\x1b[0m\x1b[K", line.text),
                None => writeln!(out, "{}\x1b[K", line.text),
            }
            .expect("a Vec takes all");
        }
        out.extend_from_slice(b"\x1b[J\x1b[?25h\x1b[?2026l");
        self.drawn = lines.iter().map(|l| layout::width(&l.text)).collect();
    }
}

fn window_width(size: Size) -> usize {
    size.width.saturating_sub(10).max(1)
}

impl Renderer for Tty {
    fn update(&mut self, status: &SolveStatus, now: Timestamp, _: &mut Vec<u8>) {
        for change in self.picture.apply(status, now) {
            match change {
                Change::Log { row, at, data } => {
                    let log = self
                        .logs
                        .entry(row)
                        .or_insert_with(|| RowLog { screen: LogScreen::new(), lines: LineLog::default() });
                    log.screen.write(&data);
                    log.lines.push(&data, at, self.picture.row(row).started());
                    log.lines.keep_last(KEPT_LOG);
                }
                // A row that went well will not be asked for its log.
                Change::State(id)
                    if matches!(self.picture.row(id).state(), RowState::Done | RowState::Cached) =>
                {
                    self.logs.remove(&id);
                }
                Change::State(_) | Change::Part(..) | Change::Warning(_) => {}
            }
        }
    }

    fn draw(&mut self, now: Timestamp, size: Size, out: &mut Vec<u8>) {
        let lines = self.frame(now, size, false);
        self.paint(&lines, size, out);
    }

    fn finish(&mut self, now: Timestamp, size: Size, out: &mut Vec<u8>) {
        let lines = self.frame(now, size, true);
        self.paint(&lines, size, out);
        self.drawn.clear();
        for (id, row) in self.picture.shown() {
            if let RowState::Failed(_) = row.state() {
                let lines = self.logs.get(&id).into_iter().flat_map(|l| l.lines.lines());
                print_failure(row, lines.map(Vec::as_slice), out);
            }
        }
    }
}
