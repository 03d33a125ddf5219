use super::*;
use crate::lint::Linter;
use crate::parse;

const FILE: &str = "# build makes it\nFROM --platform=$P a AS build\nRUN x\n\nFROM build\n";

fn targets() -> Targets {
    Targets::of(&parse(FILE.as_bytes(), &mut Linter::default()).dockerfile, b"x")
}

fn json<T: Serialize>(value: &T) -> String {
    String::from_utf8(oci::json::to_vec(value)).expect("text")
}

#[test]
fn targets_are_listed() {
    let list = targets();
    assert_eq!(list.text(), "TARGET    DESCRIPTION\nbuild     makes it\n(default) \n");
    let expected = concat!(
        r#"{"targets":[{"name":"build","description":"makes it","base":"a","platform":"$P","#,
        r#""location":{"ranges":[{"start":{"line":2},"end":{"line":2}}]}},"#,
        r#"{"default":true,"base":"build","location":{"ranges":[{"start":{"line":5},"end":{"line":5}}]}}],"#,
        r#""sources":["eA=="]}"#
    );
    assert_eq!(json(&list), expected);
    assert_eq!(serde_json::from_str::<Targets>(expected).expect("valid"), list);
}

#[test]
fn outlines_are_tables() {
    let arg = |name: &str, value: &str, description: &str| Arg {
        name: name.into(),
        value: value.into(),
        description: description.into(),
        ..Arg::default()
    };
    let need = |name: &str, required| Requirement { name: name.into(), required, ..Requirement::default() };
    let outline = Outline {
        name: "t".into(),
        description: "makes it".into(),
        args: vec![arg("VERSION", "1", "is the version"), arg("A", "", "")],
        secrets: vec![need("token", true), need("other", false)],
        ssh: vec![need("default", false)],
        ..Outline::default()
    };
    let expected = "TARGET:      t\nDESCRIPTION: makes it\n\n\
        BUILD ARG   VALUE   DESCRIPTION\nVERSION     1       is the version\nA                   \n\n\
        SECRET   REQUIRED\ntoken    true\nother    \n\n\
        SSH       REQUIRED\ndefault   \n\n";
    assert_eq!(outline.text(), expected);
    assert_eq!(Outline::default().text(), "");
    assert_eq!(json(&Outline::default()), "{}");
    let read: Outline = serde_json::from_str(&json(&outline)).expect("valid");
    assert_eq!(read, outline);
}

#[test]
fn findings_are_told_from_top_to_bottom() {
    let mut lint = Linter::default();
    parse(b"FROM a AS b\nFROM a AS B\n", &mut lint);
    let source =
        Source { filename: "Dockerfile".into(), data: form::Base64(b"x".to_vec()), ..Source::default() };
    let mut findings = Findings {
        warnings: lint.findings().iter().rev().map(Warning::from).collect(),
        sources: vec![source],
        error: None,
        ..Findings::default()
    };
    findings.warnings.push(Warning { rule: "Odd".into(), detail: "no place".into(), ..Warning::default() });
    let frame = |l: &errdefs::SourceLocation| format!("<{} {}>\n", l.info.filename, l.ranges.len());
    let url = |page| format!("https://docs.docker.com/go/dockerfile/rule/{page}/");
    let expected = format!(
        "\nWARNING: Odd\nno place\n<Dockerfile 0>\n\
        \nWARNING: DuplicateStageName - {}\nDuplicate stage name \"b\", stage names should be unique\n<Dockerfile 1>\n\
        \nWARNING: StageNameCasing - {}\nStage name 'B' should be lowercase\n<Dockerfile 1>\n",
        url("duplicate-stage-name"),
        url("stage-name-casing"),
    );
    assert_eq!(findings.text(frame), expected);
    assert_eq!((findings.error_text(frame), findings.status()), (None, 1));
    findings.error = Some(BuildError::new("broken".into(), &[Range::lines(2, 2)]));
    assert_eq!(findings.error_text(frame).as_deref(), Some("broken\n<Dockerfile 1>\n"));
    let read: Findings = serde_json::from_str(&json(&findings)).expect("valid");
    assert_eq!(read, findings);
}

#[test]
fn what_is_missing_or_strange_is_taken() {
    let none = Findings::default();
    assert_eq!(json(&none), r#"{"warnings":null,"sources":null}"#);
    assert_eq!(none.status(), 0);
    let text = r#"{"warnings":[{"ruleName":"A","location":{"sourceIndex":7}},{"location":{"sourceIndex":-1,"ranges":null}}]}"#;
    let read: Findings = serde_json::from_str(text).expect("valid");
    assert_eq!(read.text(|_| unreachable!("there is no source")), "\nWARNING: \n\n\nWARNING: A\n\n");
    assert!(serde_json::from_str::<Targets>(r#"{"sources":["?"]}"#).is_err());
    assert!(serde_json::from_str::<Questions>("{}").is_err());
}

#[test]
fn questions_are_described() {
    let json = oci::json::to_vec_indent(&questions());
    let first =
        "[\n  {\n    \"name\": \"frontend.outline\",\n    \"version\": \"1.0.0\",\n    \"type\": \"rpc\",\n";
    assert!(json.starts_with(first.as_bytes()));
    let expected = "NAME                 VERSION DESCRIPTION\n\
        outline              1.0.0   List all parameters current build target supports\n\
        targets              1.0.0   List all targets current build supports\n\
        subrequests.describe 1.0.0   List available subrequest types\n";
    let read: Questions = serde_json::from_slice(&json).expect("valid");
    assert_eq!((read.text().as_str(), &read), (expected, &questions()));
}
