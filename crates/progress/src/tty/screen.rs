//! The window on what a running row prints: a small terminal of its own, so that progress bars stay in their line.

use std::num::NonZeroU16;

/// Having had a window counts as having said this many bytes more, so that windows do not jump about.
const LOYALTY: usize = 50;

pub(super) struct LogScreen {
    parser: vt100::Parser,
    size: (u16, u16),
    bytes: usize,
    times_shown: usize,
    after_cr: bool,
}

impl LogScreen {
    pub(super) fn new() -> Self {
        let size = (6, 70);
        LogScreen {
            parser: vt100::Parser::new(at_least_one(size.0), at_least_one(size.1), 0),
            size,
            bytes: 0,
            times_shown: 0,
            after_cr: false,
        }
    }

    /// Takes what a process printed. It had no terminal, so a line feed begins a new line.
    pub(super) fn write(&mut self, data: &[u8]) {
        self.bytes = self.bytes.saturating_add(data.len());
        let mut fed = Vec::with_capacity(data.len() + 16);
        for byte in data {
            if *byte == b'\n' && !self.after_cr {
                fed.push(b'\r');
            }
            self.after_cr = *byte == b'\r';
            fed.push(*byte);
        }
        self.parser.process(&fed);
    }

    /// How much the row deserves a window.
    pub(super) fn weight(&self) -> usize {
        self.bytes + self.times_shown * LOYALTY
    }

    /// The lines that are not empty, fitted to the size.
    pub(super) fn show(&mut self, height: usize, width: usize) -> Vec<String> {
        let small = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).max(1);
        let size = (small(height), small(width));
        if size != self.size {
            self.size = size;
            self.parser.screen_mut().set_size(at_least_one(size.0), at_least_one(size.1));
        }
        self.times_shown += 1;
        let rows = self.parser.screen().rows(0, size.1);
        rows.map(|r| r.trim_end().to_owned()).filter(|r| !r.is_empty()).collect()
    }
}

fn at_least_one(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[&str], expect: &[&str]) {
        let mut screen = LogScreen::new();
        input.iter().for_each(|i| screen.write(i.as_bytes()));
        assert_eq!(screen.show(6, 20), expect, "{input:?}");
    }

    #[test]
    fn windows() {
        check(&["a\nb\n"], &["a", "b"]);
        check(&["1\n2\n3\n4\n5\n6\n7\n"], &["3", "4", "5", "6", "7"]);
        check(&["10%\r", "20%\r", "30%"], &["30%"]);
        check(&["x\r", "\ny"], &["x", "y"]);
        check(&["\x1b[31mred\x1b[0m\n"], &["red"]);
        check(&["\x1b[2J\x1b[10Aup"], &["up"]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken(data: Vec<u8>, height in 0usize..20, width in 0usize..200) {
            let mut screen = LogScreen::new();
            screen.write(&data);
            screen.show(height, width);
            screen.write(&data);
            screen.show(6, 70);
        }
    }
}
