//! The table of edges in docs/solver.md, against what was taken.

use std::collections::BTreeSet;

use crate::core::edges::Taken;

const DOC: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/solver.md"));

type Row = (String, String, String, String);

/// The rows `| machine | edge | from | to | .. |` of the table; several states in one row stand between commas.
fn documented() -> BTreeSet<Row> {
    let after = DOC.split_once("| machine | edge |").expect("the page has the table").1;
    let mut rows = BTreeSet::new();
    for line in after.lines().skip(2).take_while(|l| l.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        for from in cells[2].split(", ") {
            for to in cells[3].split(", ") {
                let row = [cells[0], cells[1], from, to].map(|cell| cell.trim_matches('`').to_owned());
                assert!(rows.insert(row.into()), "twice in the table: {line}");
            }
        }
    }
    rows
}

/// Every edge of the table was taken, and no other.
pub fn check(taken: &BTreeSet<Taken>) {
    let taken: BTreeSet<Row> =
        taken.iter().map(|(m, e, f, t)| [*m, *e, *f, *t].map(str::to_owned).into()).collect();
    let documented = documented();
    let missing: Vec<_> = taken.difference(&documented).collect();
    let never: Vec<_> = documented.difference(&taken).collect();
    assert!(
        missing.is_empty() && never.is_empty(),
        "not in docs/solver.md: {missing:?}\nnever taken: {never:?}"
    );
}

/// Both drawings have all states and the names of all edges between them.
#[test]
fn the_drawings_have_every_edge() {
    let drawings: String = DOC.split("```").skip(1).step_by(2).collect();
    for (machine, edge, from, to) in documented() {
        for word in [&edge, &from, &to].into_iter().filter(|w| *w != "nothing" && *w != "new" && *w != "drop")
        {
            assert!(drawings.contains(word.as_str()), "{machine}: `{word}` is not drawn");
        }
    }
}
