//! `kiln dockerfile fmt`.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use dockerfile::format::{Options, format};
use errdefs::{Detail, Error, Fault, Result, ResultExt as _, SourceInfo};
use similar::TextDiff;

use crate::args::FmtArgs;
use crate::result_files::rewrite;
use crate::{console, report};

/// Goes through all files, also behind a faulty one.
pub(super) fn fmt(args: &FmtArgs) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for path in &args.files {
        match fmt_one(path, args) {
            Ok(true) if args.check => code = ExitCode::FAILURE,
            Ok(_) => {}
            Err(e) => code = report::error(&e),
        }
    }
    Ok(code)
}

/// Whether the file was not formatted.
fn fmt_one(path: &Path, args: &FmtArgs) -> Result<bool> {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { "stdin".into() } else { path.to_string_lossy() };
    let text = match is_stdin {
        true => stdin(),
        false => std::fs::read(path),
    };
    let text = text.with_context(|| format!("failed to read `{name}`"))?;
    let options = Options { commands: args.commands };
    let formatted = format(&text, options).map_err(|faults| faulty(&name, &text, faults))?;
    let differs = formatted.as_bytes() != text;
    match (is_stdin, args.check) {
        (_, true) if differs => console::out(diff(&name, &String::from_utf8_lossy(&text), &formatted))?,
        (true, false) => console::out(formatted)?,
        (false, false) if differs => {
            rewrite(path, &formatted)?;
            console::out(format!("{name}\n"))?;
        }
        _ => {}
    }
    Ok(differs)
}

fn stdin() -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text).map(|_| text)
}

fn diff(name: &str, before: &str, after: &str) -> String {
    let diff = TextDiff::from_lines(before, after);
    diff.unified_diff().header(name, &format!("{name}, formatted")).to_string()
}

/// All faults of a file, as those of a build are told.
fn faulty(name: &str, text: &[u8], faults: Vec<dockerfile::Error>) -> Error {
    let info = SourceInfo { filename: name.to_owned(), data: text.to_vec(), ..SourceInfo::default() };
    let mut faults = faults.into_iter();
    let Some(first) = faults.next() else { return Error::internal("a file without faults was refused") };
    let others: Vec<Fault> =
        faults.map(|e| Fault { message: e.message().to_owned(), ranges: e.ranges().to_vec() }).collect();
    let error = first.with_source(info).context(format_args!("failed to format `{name}`"));
    if others.is_empty() { error } else { error.with_detail(Detail::OtherFaults { faults: others }) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    use super::*;

    fn args(files: &[&Path], check: bool) -> FmtArgs {
        FmtArgs { files: files.iter().map(PathBuf::from).collect(), check, commands: false }
    }

    #[test]
    fn a_file_behind_a_link_is_formatted_and_keeps_its_mode() {
        let dir = tempfile::tempdir().expect("a folder");
        let (file, link) = (dir.path().join("Dockerfile"), dir.path().join("link"));
        fs::write(&file, "from a\nrun x").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("a mode");
        symlink("Dockerfile", &link).expect("a link");

        assert!(fmt_one(&link, &args(&[], true)).expect("checked"));
        assert_eq!(fs::read_to_string(&file).expect("text"), "from a\nrun x");

        assert!(fmt_one(&link, &args(&[], false)).expect("formatted"));
        assert_eq!(fs::read_to_string(&file).expect("text"), "FROM a\nRUN x\n");
        assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o7777, 0o640);
        assert!(link.is_symlink());
        assert!(!fmt_one(&link, &args(&[], true)).expect("checked"));
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 2);
    }

    #[test]
    fn a_faulty_file_stays_and_those_behind_it_are_formatted() {
        let dir = tempfile::tempdir().expect("a folder");
        let (faulty, good) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&faulty, "from a\nrnu x\ncopy b").expect("written");
        fs::write(&good, "from a").expect("written");
        assert_eq!(fmt(&args(&[&faulty, &good], false)).expect("told"), ExitCode::from(1));
        assert_eq!(fs::read_to_string(&faulty).expect("text"), "from a\nrnu x\ncopy b");
        assert_eq!(fs::read_to_string(&good).expect("text"), "FROM a\n");
        assert_eq!(fmt(&args(&[&good], true)).expect("checked"), ExitCode::SUCCESS);

        let e = fmt_one(&faulty, &args(&[], false)).expect_err("faulty");
        assert!(e.to_string().ends_with("unknown instruction: rnu (did you mean run?)"), "{e}");
        let place = e.source_location().and_then(|l| l.ranges.first()).expect("a place");
        assert_eq!((place.start.line, place.end.character), (2, 3));
        assert!(e.details().iter().any(|d| matches!(d, Detail::OtherFaults { faults } if faults.len() == 1)));
    }

    #[test]
    fn a_diff_shows_what_would_change() {
        insta::assert_snapshot!(diff("x/Dockerfile", "from a\nRUN x\n\n\n", "FROM a\nRUN x\n"));
    }
}
