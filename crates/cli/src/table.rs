//! Columns, one tab stop apart as Docker's tools print them.

use std::fmt::Write as _;

/// Lines up columns: each is as wide as its widest cell, plus one, rounded up to a multiple of eight.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::default();
        table.row(["ID".to_owned(), "SIZE".to_owned()]);
        table.row(["abcdefgh".to_owned(), "1kB".to_owned()]);
        table.row(["x".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "ID              SIZE\nabcdefgh        1kB\nx\n");
    }
}
