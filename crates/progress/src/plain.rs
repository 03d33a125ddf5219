//! Line by line, in BuildKit's plain format: `#5 [2/3] RUN make`, `#5 0.123 text`, `#5 DONE 0.3s`.
//!
//! Only one row is talked about at a time. A row that ends is told at once and whole; of those that run, one has the
//! word, and it passes to another when others have more to say for long enough.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write as _;

use jiff::Timestamp;

use crate::event::{SolveStatus, VertexStatus};
use crate::measure::{amount, seconds};
use crate::picture::{Change, LineLog, Picture, Row, RowId, RowState};
use crate::render::{Renderer, Size};

/// Lines of a failed row that are shown again at the end.
const TAIL: usize = 10;
/// A row that had to wait this long, in seconds, gets the word.
const LONGEST_WAIT: f64 = 10.0;
/// The row that has the word keeps it at least about this long, in seconds.
const SHORTEST_TURN: f64 = 5.0;
/// A part is told again when it moved by this share of its total, or after this many seconds.
const PART_STEP: f64 = 0.05;
const PART_PAUSE: f64 = 5.0;

/// BuildKit's plain text.
#[derive(Debug, Default)]
pub struct Plain {
    picture: Picture,
    tracks: BTreeMap<RowId, Track>,
    current: Option<RowId>,
    described: Option<String>,
    printed: usize,
}

/// What this renderer knows of a row beside the picture.
#[derive(Debug, Default)]
struct Track {
    /// The number in `#5`; 0 before the row is first printed.
    number: usize,
    /// Something is to be told.
    fresh: bool,
    log: LineLog,
    /// Bytes of the growing last line that are printed already.
    offset: usize,
    tail: VecDeque<Vec<u8>>,
    /// Parts that moved since they were last told.
    moved: BTreeSet<usize>,
    /// How far a part was and when, when it was last told.
    told: BTreeMap<usize, (i64, Timestamp)>,
    warnings: usize,
    /// Changes since the row last had the word, and since when they pile up.
    pending: u32,
    since: Option<Timestamp>,
}

impl Track {
    fn note(&mut self, now: Timestamp) {
        if self.pending == 0 {
            self.since = Some(now);
        }
        self.pending += 1;
    }
}

impl Plain {
    /// `description` is told first, as `#0 building with …`.
    pub fn new(description: Option<String>) -> Self {
        Plain { described: description, ..Plain::default() }
    }

    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    fn note(&mut self, change: Change, now: Timestamp) {
        let (Change::State(id) | Change::Part(id, _) | Change::Warning(id) | Change::Log { row: id, .. }) =
            change;
        let track = self.tracks.entry(id).or_default();
        track.note(now);
        track.fresh |= !matches!(change, Change::Warning(_));
        match change {
            Change::State(_) | Change::Warning(_) => {}
            Change::Part(_, index) => {
                track.moved.insert(index);
            }
            Change::Log { at, data, .. } => {
                track.log.push(&data, at, self.picture.row(id).started());
            }
        }
    }

    /// Rows with something to tell: those that have ended, by the time of their end, and the others.
    fn fresh(&self) -> (Vec<RowId>, Vec<RowId>) {
        let fresh =
            self.tracks.iter().filter(|(id, t)| t.fresh && !self.picture.is_hidden(**id)).map(|(id, _)| *id);
        let (mut ended, open): (Vec<_>, Vec<_>) = fresh.partition(|id| self.picture.row(*id).is_completed());
        ended.sort_by_key(|id| (Some(*id) != self.current, self.picture.row(*id).completed()));
        (ended, open)
    }

    /// Which of the running rows gets the word next, if it passes on.
    fn next_speaker(&self, open: &[RowId], had_word: Option<RowId>, now: Timestamp) -> Option<RowId> {
        let candidates: Vec<(RowId, f64, f64)> = open
            .iter()
            .chain(had_word.iter().filter(|id| !open.contains(id)))
            .filter_map(|id| {
                let track = self.tracks.get(id)?;
                let waited = seconds(track.since?, now).max(f64::MIN_POSITIVE);
                Some((*id, waited, f64::from(track.pending) / waited))
            })
            .collect();
        let loudest = candidates.iter().max_by(|a, b| a.2.total_cmp(&b.2)).map(|c| c.0);
        let Some(current) = had_word else { return loudest };
        let starved = candidates.iter().find(|(id, waited, _)| *id != current && *waited > LONGEST_WAIT);
        if let Some((id, ..)) = starved {
            return Some(*id);
        }
        let total: f64 = candidates.iter().map(|c| c.2).sum();
        let (_, spoken, speed) = candidates.iter().find(|c| c.0 == current)?;
        let share_of_others = 1.0 - speed / total;
        (SHORTEST_TURN / share_of_others < *spoken).then_some(loudest).flatten()
    }

    fn print_row(&mut self, id: RowId, out: &mut Vec<u8>) {
        self.give_word(id, out);
        let row = self.picture.row(id);
        let track = self.tracks.entry(id).or_default();
        track.fresh = false;
        let open_part = print_parts(row, track, out);
        for warning in &row.warnings[track.warnings..] {
            put(out, format_args!("#{} WARN: {}", track.number, warning.short));
        }
        track.warnings = row.warnings.len();
        print_log(track, out);
        self.current = Some(id);
        if row.is_completed() && !open_part {
            self.current = None;
            track.pending = 0;
            if track.log.is_partial() {
                out.push(b'\n');
            }
            print_end(track.number, row, out);
        }
    }

    /// Prints the head of a row unless it has the word already.
    fn give_word(&mut self, id: RowId, out: &mut Vec<u8>) {
        let first = self.printed == 0;
        let track = self.tracks.entry(id).or_default();
        if track.number == 0 {
            self.printed += 1;
            track.number = self.printed;
        }
        let number = track.number;
        if self.current == Some(id) {
            return;
        }
        if let Some(old) = self.current.and_then(|old| self.tracks.get_mut(&old)) {
            if old.log.is_partial() {
                out.push(b'\n');
            }
            old.offset = 0;
            old.pending = 0;
            put(out, format_args!("#{} ...", old.number));
        }
        if !first {
            out.push(b'\n');
        } else if let Some(text) = &self.described {
            put(out, format_args!("#0 {text}\n"));
        }
        put(out, format_args!("#{number} {}", self.picture.row(id).name));
    }
}

impl Renderer for Plain {
    fn update(&mut self, status: &SolveStatus, now: Timestamp, _: &mut Vec<u8>) {
        for change in self.picture.apply(status, now) {
            self.note(change, now);
        }
    }

    fn draw(&mut self, now: Timestamp, _: Size, out: &mut Vec<u8>) {
        let had_word = self.current;
        let (ended, open) = self.fresh();
        for id in &ended {
            self.print_row(*id, out);
        }
        if open.is_empty() {
            if had_word.is_some_and(|id| self.picture.row(id).is_running()) {
                return;
            }
            let running = self.picture.shown().find(|(_, r)| r.is_running()).map(|(id, _)| id);
            if let Some(id) = running {
                self.print_row(id, out);
            }
            return;
        }
        if let Some(id) = had_word.filter(|id| open.contains(id)) {
            self.print_row(id, out);
        }
        let had_word = had_word.filter(|id| !ended.contains(id));
        if let Some(id) = self.next_speaker(&open, had_word, now) {
            self.print_row(id, out);
        }
    }

    fn finish(&mut self, now: Timestamp, size: Size, out: &mut Vec<u8>) {
        self.draw(now, size, out);
        for (id, row) in self.picture.shown() {
            if let RowState::Failed(_) = row.state() {
                let tail = self.tracks.get(&id).into_iter().flat_map(|t| &t.tail);
                print_failure(row, tail.map(Vec::as_slice), out);
            }
        }
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a Vec takes all");
}

/// Prints the parts that moved enough; tells whether one of them is not done.
fn print_parts(row: &Row, track: &mut Track, out: &mut Vec<u8>) -> bool {
    let mut open = false;
    for index in std::mem::take(&mut track.moved) {
        let status = &row.parts[index].status;
        if track.told.get(&index).is_some_and(|last| is_too_soon(status, *last)) {
            continue;
        }
        track.told.insert(index, (status.current, status.timestamp));
        let end = status.completed.unwrap_or(status.timestamp);
        let time = status.started.map(|s| seconds(s, end)).filter(|s| *s > 0.01);
        let time = time.map_or(String::new(), |s| format!(" {s:.1}s"));
        let done = if status.completed.is_some() { " done" } else { "" };
        open |= status.completed.is_none();
        put(
            out,
            format_args!(
                "#{} {}{}{time}{done}",
                track.number,
                status.id,
                amount(status.current, status.total)
            ),
        );
    }
    open
}

fn is_too_soon(status: &VertexStatus, (current, at): (i64, Timestamp)) -> bool {
    let step =
        if status.total > 0 { (status.current as f64 - current as f64) / status.total as f64 } else { 0.0 };
    status.completed.is_none() && step < PART_STEP && seconds(at, status.timestamp) < PART_PAUSE
}

fn print_log(track: &mut Track, out: &mut Vec<u8>) {
    let lines = track.log.lines();
    for (i, line) in lines.iter().enumerate() {
        if i == 0 && track.offset > 0 {
            out.extend_from_slice(&line[track.offset..]);
        } else {
            write!(out, "#{} ", track.number).expect("a Vec takes all");
            out.extend_from_slice(line);
        }
        let growing = i + 1 == lines.len() && track.log.is_partial();
        if !growing {
            out.push(b'\n');
        }
        // The first line may stand in the tail already, shorter.
        if i == 0 && track.offset > 0 {
            track.tail.pop_back();
        }
        if track.tail.len() == TAIL {
            track.tail.pop_front();
        }
        track.tail.push_back(line.clone());
    }
    let Some(last) = lines.back() else { return };
    track.offset = if track.log.is_partial() { last.len() } else { 0 };
    track.log.drop_whole();
}

fn print_end(number: usize, row: &Row, out: &mut Vec<u8>) {
    match row.state() {
        RowState::Canceled => put(out, format_args!("#{number} CANCELED")),
        RowState::Failed(error) => put(out, format_args!("#{number} ERROR: {error}")),
        RowState::Cached => put(out, format_args!("#{number} CACHED")),
        RowState::Done | RowState::Waiting | RowState::Running => {
            let end = row.completed().unwrap_or(Timestamp::UNIX_EPOCH);
            put(out, format_args!("#{number} DONE {:.1}s", row.elapsed(end)));
        }
    }
}

/// The block that shows the last words of a failed row.
pub(crate) fn print_failure<'a>(row: &Row, lines: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    put(out, format_args!("------\n > {}:", row.name));
    for line in lines {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(b"------\n");
}
