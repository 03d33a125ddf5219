//! Columns, one tab stop apart as Docker's tools print them.

use std::fmt::Write as _;

/// Lines up columns: each is as wide as its widest cell, plus one, rounded up to a multiple of eight.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |c: usize| {
            let widest = self.rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max();
            (widest.unwrap_or(0) + 1).next_multiple_of(8)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:width$}")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Lines up cells that tabs end, over as many lines as have one in that column without a break: each is as wide as the
/// widest of them and `gap` more, and at least `least`. What follows the last tab of a line is left as it is.
pub(crate) fn line_up(text: &str, least: usize, gap: usize) -> String {
    let mut lines: Vec<Vec<String>> =
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let ends_with_tab = |line: &Vec<String>| line.len() > column + 1;
        for block in lines.chunk_by_mut(|a, b| ends_with_tab(a) == ends_with_tab(b)) {
            let widest = block.iter().filter(|l| ends_with_tab(l)).map(|l| l[column].chars().count()).max();
            let width = (widest.unwrap_or(0) + gap).max(least);
            for cell in block.iter_mut().filter(|l| ends_with_tab(l)).map(|l| &mut l[column]) {
                *cell = format!("{cell:width$}");
            }
        }
    }
    lines.iter().map(|line| line.concat() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_line_up_where_nothing_breaks_the_column() {
        let text = "Name:\tb\nDriver:\tremote\n\nLabels:\n\ta:\t1\n\tlonger:\t2\nX:\t3\n";
        let expect = "Name:   b\nDriver: remote\n\nLabels:\n   a:      1\n   longer: 2\nX: 3\n";
        assert_eq!(line_up(text, 0, 1), expect);
        assert_eq!(line_up("A\tB\nlonger\t\n", 10, 3), "A         B\nlonger    \n");
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::default();
        table.row(["ID".to_owned(), "SIZE".to_owned()]);
        table.row(["abcdefgh".to_owned(), "1kB".to_owned()]);
        table.row(["x".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "ID              SIZE\nabcdefgh        1kB\nx\n");
    }
}
