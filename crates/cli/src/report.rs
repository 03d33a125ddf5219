//! How errors are told, and with which exit code.

use std::process::ExitCode;

use errdefs::{Class, Code, Detail, Error, Fault, SourceLocation};

use crate::console;

/// Tells an error on stderr and gives the exit code.
pub(crate) fn error(e: &Error) -> ExitCode {
    console::note(text(e));
    ExitCode::from(code(e))
}

/// Tells what clap has to say: help goes to stdout, faults to stderr.
pub(crate) fn usage(e: &clap::Error) -> ExitCode {
    let _ = e.print();
    ExitCode::from(u8::from(e.use_stderr()))
}

/// Other faults of the source, the place in it, then hints, then the error itself in the last line, where a reader and a
/// log look first.
fn text(e: &Error) -> String {
    let mut out = String::new();
    if let Some(location) = e.source_location() {
        for fault in e.details().iter().filter_map(others).flatten() {
            let place = SourceLocation { ranges: fault.ranges.clone(), ..location.clone() };
            out.push_str(&format!("ALSO: {}\n{}", fault.message, progress::source_frame(&place)));
        }
        out.push_str(&progress::source_frame(location));
    }
    for message in e.details().iter().filter_map(denied).flatten() {
        out.push_str(&format!("Policy: {message}\n"));
    }
    for hint in e.hints() {
        out.push_str(&format!("hint: {hint}\n"));
    }
    if e.class() == Class::Internal {
        out.push_str(
            "hint: this is a fault of Kiln; please report it with the Dockerfile and `kiln engine logs`\n",
        );
    }
    out.push_str(&format!("ERROR: {e}\n"));
    out
}

fn others(detail: &Detail) -> Option<&Vec<Fault>> {
    match detail {
        Detail::OtherFaults { faults } => Some(faults),
        _ => None,
    }
}

fn denied(detail: &Detail) -> Option<&Vec<String>> {
    match detail {
        Detail::Denied { messages } => Some(messages),
        _ => None,
    }
}

/// The last words of a failed step, for where no progress was shown.
pub(crate) fn last_words(e: &Error) -> String {
    let lines = e.details().iter().find_map(|d| match d {
        Detail::Output { lines } if !lines.is_empty() => Some(lines),
        _ => None,
    });
    match lines {
        Some(lines) => format!("------\n{}\n------\n", lines.join("\n")),
        None => String::new(),
    }
}

/// Exit codes of buildx.
fn code(e: &Error) -> u8 {
    match e.code() {
        _ if e.is_canceled() => 130,
        Code::Canceled => 130,
        Code::Internal => 100,
        Code::ResourceExhausted => 102,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use errdefs::{Position, Range, SourceInfo};

    use super::*;

    #[test]
    fn codes() {
        let check = |e: Error, expect| assert_eq!(code(&e), expect, "{e}");
        check(Error::user("x"), 1);
        check(Error::environment("x"), 1);
        check(Error::internal("x"), 100);
        check(Error::environment("x").with_code(Code::ResourceExhausted), 102);
        check(Error::canceled().context("failed to solve"), 130);
    }

    #[test]
    fn a_place_in_the_dockerfile() {
        let info = SourceInfo {
            filename: "Dockerfile".into(),
            data: b"FROM alpine\nRUM make\n".to_vec(),
            ..SourceInfo::default()
        };
        let at = |character| Position { line: 2, character };
        let ranges = vec![Range { start: at(0), end: at(3) }];
        let e = Error::user("unknown instruction: RUM")
            .with_detail(Detail::Source(SourceLocation { info, ranges }))
            .hint("did you mean RUN?")
            .context("failed to solve: dockerfile parse error on line 2");
        insta::assert_snapshot!(text(&e));
    }

    #[test]
    fn all_faults_of_a_dockerfile() {
        let data = b"FROM alpine\nRUM make\nCOPY --form=x a b\n".to_vec();
        let info = SourceInfo { filename: "Dockerfile".into(), data, ..SourceInfo::default() };
        let at = |line, from, to| Range {
            start: Position { line, character: from },
            end: Position { line, character: to },
        };
        let fault = Fault { message: "unknown flag: --form".into(), ranges: vec![at(3, 5, 11)] };
        let e = Error::user("unknown instruction: RUM")
            .with_detail(Detail::Source(SourceLocation { info, ranges: vec![at(2, 0, 3)] }))
            .with_detail(Detail::OtherFaults { faults: vec![fault] });
        insta::assert_snapshot!(text(&e));
    }

    #[test]
    fn a_fault_of_our_own_asks_for_a_report() {
        insta::assert_snapshot!(text(&Error::internal("the graph has a loop")));
    }

    #[test]
    fn a_step_that_said_something() {
        let e = Error::user("x").with_detail(Detail::Output { lines: vec!["a".into(), "b".into()] });
        assert_eq!(last_words(&e), "------\na\nb\n------\n");
        assert_eq!(last_words(&Error::user("x")), "");
    }
}
