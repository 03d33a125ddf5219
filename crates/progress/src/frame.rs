//! The frame that shows a place in a source file.

use std::fmt::Write as _;

use errdefs::{Range, SourceLocation};

const RULE: &str = "--------------------\n";

/// Draws the lines around `location` in BuildKit's style: `>>>` marks the lines that are meant, and where columns are
/// known carets stand below them. Empty when the location has no text or points outside of it.
pub fn source_frame(location: &SourceLocation) -> String {
    let text = String::from_utf8_lossy(&location.info.data);
    let lines: Vec<&str> = text.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l)).collect();
    let Some((first, last)) = extent(&location.ranges) else { return String::new() };
    if first == 0 || first > lines.len() || text.is_empty() {
        return String::new();
    }
    let last = last.min(lines.len());
    let (from, to) = surroundings(first, last, lines.len());

    let mut out = format!("{}:{first}\n{RULE}", location.info.filename);
    for number in from..=to {
        let line = lines[number - 1];
        let marked: Vec<&Range> = location.ranges.iter().filter(|r| contains(r, number)).collect();
        let marker = if marked.is_empty() { "   " } else { ">>>" };
        let _ = writeln!(out, " {number:3} | {marker} {line}");
        for range in marked {
            if let Some(carets) = carets(range, number, line) {
                let _ = writeln!(out, "     |     {carets}");
            }
        }
    }
    out.push_str(RULE);
    out
}

/// First and last line that any range covers.
fn extent(ranges: &[Range]) -> Option<(usize, usize)> {
    let first = ranges.iter().map(|r| r.start.line).min()?;
    let last = ranges.iter().map(last_line).max()?;
    Some((first as usize, last as usize))
}

fn last_line(range: &Range) -> u32 {
    range.end.line.max(range.start.line)
}

fn contains(range: &Range, line: usize) -> bool {
    (range.start.line as usize..=last_line(range) as usize).contains(&line)
}

/// Lines shown around the marked ones: one on each side, two where a single line is marked.
fn surroundings(first: usize, last: usize, count: usize) -> (usize, usize) {
    let margin = if first == last { 2 } else { 1 };
    (first.saturating_sub(margin).max(1), (last + margin).min(count))
}

/// Carets under the columns of a range that lies on one line. Tabs are kept so that the columns meet.
fn carets(range: &Range, number: usize, line: &str) -> Option<String> {
    let (start, end) = (range.start, range.end);
    if start.line != end.line || end.character <= start.character || start.line as usize != number {
        return None;
    }
    let (from, to) = (start.character as usize, end.character as usize);
    let length = line.chars().count();
    if from > length {
        return None;
    }
    let mut out: String = line.chars().take(from).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    out.extend(std::iter::repeat_n('^', to.min(length.max(from + 1)) - from));
    Some(out)
}

#[cfg(test)]
mod tests {
    use errdefs::{Position, SourceInfo};

    use super::*;

    fn location(text: &str, ranges: Vec<Range>) -> SourceLocation {
        let info = SourceInfo { filename: "Dockerfile".into(), data: text.into(), ..SourceInfo::default() };
        SourceLocation { info, ranges }
    }

    #[test]
    fn one_line_in_the_middle() {
        let text = "FROM x\nRUN a\nRUN false\nRUN b\nRUN c\n";
        insta::assert_snapshot!(source_frame(&location(text, vec![Range::lines(3, 3)])), @r"
        Dockerfile:3
        --------------------
           1 |     FROM x
           2 |     RUN a
           3 | >>> RUN false
           4 |     RUN b
           5 |     RUN c
        --------------------
        ");
    }

    #[test]
    fn first_line_of_two() {
        insta::assert_snapshot!(source_frame(&location("FROM x\nRUN a", vec![Range::lines(1, 1)])), @r"
        Dockerfile:1
        --------------------
           1 | >>> FROM x
           2 |     RUN a
        --------------------
        ");
    }

    #[test]
    fn several_lines() {
        let text = "FROM x\nRUN a\nRUN b && \\\n  c\nRUN d\nRUN e\n";
        insta::assert_snapshot!(source_frame(&location(text, vec![Range::lines(3, 4)])), @r"
        Dockerfile:3
        --------------------
           2 |     RUN a
           3 | >>> RUN b && \
           4 | >>>   c
           5 |     RUN d
        --------------------
        ");
    }

    #[test]
    fn columns_are_underlined() {
        let at = |line, from, to| Range {
            start: Position { line, character: from },
            end: Position { line, character: to },
        };
        insta::assert_snapshot!(source_frame(&location("FROM x\n\tRUM a\n", vec![at(2, 1, 4)])), @r"
        Dockerfile:2
        --------------------
           1 |     FROM x
           2 | >>> 	RUM a
             |     	^^^
           3 |     
        --------------------
        ");
    }

    #[test]
    fn nonsense_draws_nothing() {
        for ranges in [vec![], vec![Range::lines(0, 0)], vec![Range::lines(9, 9)]] {
            assert_eq!(source_frame(&location("FROM x\n", ranges)), "");
        }
        assert_eq!(source_frame(&location("", vec![Range::lines(1, 1)])), "");
    }
}
