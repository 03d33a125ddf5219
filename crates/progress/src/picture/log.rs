//! What a row printed, cut into lines that carry their time.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::measure::log_time;

/// Lines as they are shown, `0.123 text`, oldest first. The last may still be growing.
#[derive(Debug, Default)]
pub(crate) struct LineLog {
    lines: VecDeque<Vec<u8>>,
    partial: bool,
    bytes: usize,
}

impl LineLog {
    /// Cuts `data` into lines. `started` is when the row began its present work.
    pub(crate) fn push(&mut self, data: &[u8], at: Timestamp, started: Option<Timestamp>) {
        if data.is_empty() {
            return;
        }
        let ended = data.ends_with(b"\n");
        let body = if ended { &data[..data.len() - 1] } else { data };
        for piece in body.split(|b| *b == b'\n') {
            match self.lines.back_mut() {
                Some(line) if self.partial => {
                    self.bytes += piece.len();
                    line.extend_from_slice(piece);
                }
                _ => {
                    let since = started.map_or(jiff::SignedDuration::ZERO, |s| at.duration_since(s));
                    let mut line = log_time(since).into_bytes();
                    line.push(b' ');
                    line.extend_from_slice(piece);
                    self.bytes += line.len();
                    self.lines.push_back(line);
                }
            }
            self.partial = false;
        }
        self.partial = !ended;
    }

    pub(crate) fn lines(&self) -> &VecDeque<Vec<u8>> {
        &self.lines
    }

    /// Forgets the oldest lines until about `limit` bytes are left.
    pub(crate) fn keep_last(&mut self, limit: usize) {
        while self.bytes > limit && self.lines.len() > 1 {
            self.bytes -= self.lines.pop_front().map_or(0, |l| l.len());
        }
    }

    /// Whether the last line has not seen its end.
    pub(crate) fn is_partial(&self) -> bool {
        self.partial
    }

    /// Forgets the whole lines; one that still grows stays.
    pub(crate) fn drop_whole(&mut self) {
        self.lines.drain(..self.lines.len() - usize::from(self.partial));
        self.bytes = self.lines.iter().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(chunks: &[&str], expect: &[&str], partial: bool) {
        let start = Timestamp::from_second(100).expect("in range");
        let mut log = LineLog::default();
        for (i, chunk) in chunks.iter().enumerate() {
            let at = Timestamp::from_second(100 + i as i64).expect("in range");
            log.push(chunk.as_bytes(), at, Some(start));
        }
        let lines: Vec<_> = log.lines().iter().map(|l| String::from_utf8_lossy(l).into_owned()).collect();
        assert_eq!(lines, expect);
        assert_eq!(log.is_partial(), partial);
    }

    #[test]
    fn the_oldest_go_first() {
        let mut log = LineLog::default();
        for i in 0..10 {
            log.push(format!("line {i}\n").as_bytes(), Timestamp::UNIX_EPOCH, None);
        }
        log.keep_last(20);
        assert!(log.lines().len() < 10 && log.lines().back().is_some_and(|l| l.ends_with(b"line 9")));
        log.keep_last(0);
        assert_eq!(log.lines().len(), 1);
    }

    #[test]
    fn lines() {
        check(&["a\nb\n"], &["0.000 a", "0.000 b"], false);
        check(&["a", "b\nc\n", "d\n"], &["0.000 ab", "1.000 c", "2.000 d"], false);
        check(&["a\n", "b"], &["0.000 a", "1.000 b"], true);
        check(&["a", "\n"], &["0.000 a"], false);
        check(&["\n\n"], &["0.000 ", "0.000 "], false);
        check(&["", "x"], &["1.000 x"], true);
    }
}
