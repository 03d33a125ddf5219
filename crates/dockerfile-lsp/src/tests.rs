//! Tables of what editors ask. `|` marks the cursor.

use lsp_server::{Message, Notification, Request};
use lsp_types::{
    CodeActionResponse, Diagnostic, Position, Range, TextDocumentContentChangePartial, TextEdit, Uri,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::text::{Text, utf16};
use crate::{Document, Server};

const URI: &str = "file:///Dockerfile";

fn uri() -> Uri {
    URI.into()
}

/// The text without its mark, and where the mark was.
fn marked(text: &str) -> (Document, Position) {
    let (before, after) = text.split_once('|').expect("a cursor");
    let line = before.matches('\n').count() as u32;
    let character = utf16(before.rsplit('\n').next().unwrap_or_default());
    (Document::new(format!("{before}{after}"), 0), Position { line, character })
}

/// The text with changes made, the last one first.
fn changed(text: &str, edits: &[TextEdit]) -> String {
    let mut edits = edits.to_vec();
    edits.sort_by_key(|edit| std::cmp::Reverse(edit.range.start));
    let mut text = Text::new(text.to_owned());
    edits.iter().for_each(|edit| text.replace(edit.range, &edit.new_text));
    text.as_str().to_owned()
}

/// What a range covers.
fn covered(document: &Document, range: Range) -> String {
    let text = &document.text;
    text.as_str()[text.offset(range.start)..text.offset(range.end)].to_owned()
}

#[test]
fn completion() {
    // The labels offered, and the text once the first of them is taken.
    let check = |text: &str, labels: &str, taken: &str| {
        let (document, position) = marked(text);
        let items = document.completion(position);
        let found: Vec<_> = items.iter().map(|item| item.label.as_str()).collect();
        assert_eq!(found.join(" "), labels, "{text}");
        let Some(item) = items.first() else { return assert_eq!(taken, "", "{text}") };
        let Some(lsp_types::CompletionItemTextEdit::TextEdit(edit)) = &item.text_edit else {
            panic!("no edit")
        };
        assert_eq!(changed(document.text(), std::slice::from_ref(edit)), taken, "{text}");
    };
    let triggers =
        "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL RUN SHELL STOPSIGNAL USER VOLUME WORKDIR";
    let all = "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR";
    check("|", all, "ADD");
    check("FROM a\n|\nRUN x", all, "FROM a\nADD\nRUN x");
    check("FROM a\n  C|\n", all, "FROM a\n  ADD\n");
    check("FROM a\nru|", &all.to_lowercase(), "FROM a\nadd");
    check("FROM a\nONBUILD |", triggers, "FROM a\nONBUILD ADD");
    check("FROM a\nONBUILD R|", triggers, "FROM a\nONBUILD ADD");

    check("FROM --|", "--platform", "FROM --platform=");
    check(
        "FROM --platform=l|",
        "$BUILDPLATFORM $TARGETPLATFORM linux/amd64 linux/arm64 linux/arm/v7 linux/386 linux/ppc64le linux/riscv64 linux/s390x windows/amd64",
        "FROM --platform=$BUILDPLATFORM",
    );
    check(
        "FROM a AS one\nFROM b AS two\nFROM |",
        "two one scratch --platform",
        "FROM a AS one\nFROM b AS two\nFROM two",
    );
    check("FROM a |", "AS", "FROM a AS");
    check("FROM a AS |", "", "");
    check(
        "FROM a\nHEALTHCHECK |",
        "CMD NONE --interval --timeout --start-period --start-interval --retries",
        "FROM a\nHEALTHCHECK CMD",
    );
    check("FROM a\nCOPY --f|", "--from --chown --chmod --link --parents --exclude", "FROM a\nCOPY --from=");
    check("FROM a\nCOPY --link x --|", "", "");
    check("FROM a AS one\nFROM b\nCOPY --from=|", "one", "FROM a AS one\nFROM b\nCOPY --from=one");
    check(
        "FROM a AS one\nFROM b\nCOPY --link \\\n  --from=o|",
        "one",
        "FROM a AS one\nFROM b\nCOPY --link \\\n  --from=one",
    );
    check("FROM a\nCOPY --link=|", "true false", "FROM a\nCOPY --link=true");
    check("FROM a\nRUN --network=|", "default none host", "FROM a\nRUN --network=default");
    check("FROM a\nRUN --mount=|", "type target source from readonly rw", "FROM a\nRUN --mount=type=");
    check("FROM a\nRUN --mount=type=c|", "bind cache tmpfs secret ssh", "FROM a\nRUN --mount=type=bind");
    check(
        "FROM a\nRUN --mount=type=cache,target=/x,| make",
        "source from readonly id sharing mode uid gid",
        "FROM a\nRUN --mount=type=cache,target=/x,source= make",
    );
    check(
        "FROM a\nRUN --mount=type=cache,sharing=| make",
        "shared private locked",
        "FROM a\nRUN --mount=type=cache,sharing=shared make",
    );
    check("FROM a AS one\nRUN --mount=from=|", "", "");
    check(
        "FROM a AS one\nFROM b\nRUN --mount=type=bind,from=|",
        "one",
        "FROM a AS one\nFROM b\nRUN --mount=type=bind,from=one",
    );
    check("FROM a\nRUN make \\\n\n  |\n", "", "");

    check(
        "ARG A=1\nFROM a:$|",
        "A TARGETPLATFORM TARGETOS TARGETOSVERSION TARGETARCH TARGETVARIANT TARGETSTAGE BUILDPLATFORM BUILDOS BUILDOSVERSION BUILDARCH BUILDVARIANT",
        "ARG A=1\nFROM a:$A",
    );
    check(
        "ARG A=1\nFROM a AS x\nENV E=1\nARG B\nFROM x\nARG C\nWORKDIR /${|}",
        "C E PATH",
        "ARG A=1\nFROM a AS x\nENV E=1\nARG B\nFROM x\nARG C\nWORKDIR /${C}",
    );
    check("FROM a\nENV ÄÖ=1 B=😀\nRUN echo 😀 ${B|", "B ÄÖ PATH", "FROM a\nENV ÄÖ=1 B=😀\nRUN echo 😀 ${B}");
    check("FROM a\nENV A=1\nRUN <<E\necho $|\nE\n", "A PATH", "FROM a\nENV A=1\nRUN <<E\necho $A\nE\n");
    check("FROM a\nRUN <<E\nfrom |\nE\n", "", "");
    check(
        "ARG X\nFROM a\nARG TARGETOS|",
        "X TARGETPLATFORM TARGETOS TARGETOSVERSION TARGETARCH TARGETVARIANT TARGETSTAGE BUILDPLATFORM BUILDOS BUILDOSVERSION BUILDARCH BUILDVARIANT BUILDKIT_SYNTAX BUILDKIT_DOCKERFILE_CHECK BUILDKIT_CACHE_MOUNT_NS BUILDKIT_CONTEXT_KEEP_GIT_DIR BUILDKIT_INLINE_CACHE BUILDKIT_MULTI_PLATFORM BUILDKIT_SANDBOX_HOSTNAME BUILDKIT_SBOM_SCAN_CONTEXT BUILDKIT_SBOM_SCAN_STAGE",
        "ARG X\nFROM a\nARG X",
    );

    check("# |", "syntax escape check", "# syntax=");
    check("# syntax=|\nFROM a", "docker/dockerfile:1", "# syntax=docker/dockerfile:1\nFROM a");
    check("# syntax=x\n# check=error=|", "true false", "# syntax=x\n# check=error=true");
    check("FROM a\n# |", "", "");
}

#[test]
fn hover() {
    // What is explained, and a part of what is said.
    let check = |text: &str, word: &str, expected: &str| {
        let (document, position) = marked(text);
        let hover = document.hover(position);
        let Some(hover) = hover else { return assert_eq!(expected, "", "{text}") };
        let lsp_types::Contents::MarkupContent(content) = &hover.contents else { panic!("no markup") };
        let covered = hover.range.map(|range| covered(&document, range)).unwrap_or_default();
        assert_eq!(covered, word, "{text}");
        assert!(!expected.is_empty() && content.value.contains(expected), "{text}: {}", content.value);
    };
    check("F|ROM a", "FROM", "Begins a stage");
    check("FROM a\nONBU|ILD RUN x", "ONBUILD", "Keeps an instruction");
    check("FROM a\nONBUILD RU|N x", "RUN", "Runs a command");
    check("FROM a\nCOPY --lin|k a b", "--link", "layer of their own");
    check("FROM a\nRUN --mount=type=ca|che,id=x y", "type=cache", "stays from build to build");
    check("FROM a\nRUN --mount=type=cache,ds|t=/x y", "dst=/x", "Where it is seen");
    check("FROM a\nRUN ec|ho x", "", "");
    check("# the one\n# and only\nFROM a AS one\nFROM on|e", "one", "FROM a AS one\n```\nthe one\nand only");
    check("FROM a\nENV A=1\nRUN echo $|A", "A", "ENV A=1");
    check("FROM --platform=$BUILD|PLATFORM a", "BUILDPLATFORM", "The platform that the build runs on");
    check("FROM a\nARG TARGET|ARCH", "TARGETARCH", "The architecture");
    check("# syn|tax=docker/dockerfile:1\nFROM a", "", "frontend");
    check("FROM a\n# syn|tax=x\n", "", "");
    check("FROM ima|ge", "", "");
}

#[test]
fn names_lead_to_where_they_are_made_and_used() {
    // The lines of the definition and of all references, counted from 0.
    let check = |text: &str, definition: Option<u32>, references: &[u32]| {
        let (document, position) = marked(text);
        let found = document.definition(&uri(), position).map(|location| location.range.start.line);
        assert_eq!(found, definition, "{text}");
        let found = document.references(&uri(), position, true);
        assert_eq!(found.iter().map(|l| l.range.start.line).collect::<Vec<_>>(), references, "{text}");
        assert_eq!(document.highlights(position).len(), references.len(), "{text}");
    };
    let stages = |at: &str| {
        let lines = [
            "FROM a AS one",
            "FROM one AS two",
            "COPY --from=ONE a b",
            "RUN --mount=type=bind,from=one x",
            "COPY --from=0 a b",
        ];
        lines.join("\n").replacen(at, &format!("{}|", at), 1)
    };
    check(&stages("AS on"), Some(0), &[0, 1, 2, 3, 4]);
    check(&stages("FROM on"), Some(0), &[0, 1, 2, 3, 4]);
    check(&stages("=ON"), Some(0), &[0, 1, 2, 3, 4]);
    check(&stages(",from=o"), Some(0), &[0, 1, 2, 3, 4]);
    check(&stages("AS tw"), Some(1), &[1]);
    check(&stages("FROM a"), None, &[]);
    // Of two stages of one name, the later one is meant.
    check("FROM a AS x\nFROM b AS x\nFROM |x", Some(1), &[1, 2]);

    check("ARG V=1\nFROM a:$|V\nARG V\nRUN echo $V", Some(0), &[0, 1, 2, 3]);
    check("ARG V=1\nFROM a:$V\nARG |V\nRUN echo $V", Some(0), &[0, 1, 2, 3]);
    check("ARG V=1\nFROM a\nRUN echo $|V", None, &[2]);
    check("FROM a\nENV A=1\nENV A=$|A\nRUN $A", Some(1), &[1, 2, 2, 3]);
    check("FROM a\nENV A=1\nENV A=$A\nRUN $|A", Some(2), &[1, 2, 2, 3]);
    check("FROM a AS x\nENV A=1\nARG B=1\nFROM x\nRUN $|A $B", Some(1), &[1, 4]);
    check("FROM a AS x\nENV A=1\nARG B=1\nFROM x\nRUN $A $|B", None, &[4]);
    check("FROM a\nARG A=1 B=$|A\nRUN x", Some(1), &[1, 1]);
    check("FROM a\nENV A 1 $B\nRUN <<E\necho ä $|A\nE", Some(1), &[1, 3]);
    check("FROM a\nARG A\nCOPY <<'E' $|A/\n$A\nE", Some(1), &[1, 2]);
    check("FROM a\nARG A=1\nFROM b\nRUN $|A", None, &[3]);
    check("FROM |", None, &[]);
}

#[test]
fn stages_are_renamed() {
    let check = |text: &str, new: &str, expected: Result<&str, &str>| {
        let (document, position) = marked(text);
        let renamed = document.rename(&uri(), position, new).map(|edit| {
            let edits = edit.changes.and_then(|mut changes| changes.remove(&uri())).unwrap_or_default();
            changed(document.text(), &edits)
        });
        assert_eq!(renamed.as_deref().map_err(String::as_str), expected, "{text}");
        let is_taken = expected.is_ok() || !expected.is_err_and(|why| why.starts_with("only"));
        assert_eq!(document.renamable(position).is_some(), is_taken, "{text}");
    };
    let text = "FROM a AS o|ne\nFROM One\nCOPY --from=one --link \\\n a b\nCOPY --from=0 a b";
    let renamed = "FROM a AS new\nFROM new\nCOPY --from=new --link \\\n a b\nCOPY --from=0 a b";
    check(text, "new", Ok(renamed));
    check(text, "ONE", Ok(&renamed.replace("new", "ONE")));
    check(
        text,
        "1",
        Err("`1` cannot be the name of a stage: a letter, then letters, digits, `-`, `_` and `.`"),
    );
    check("FROM a AS one\nFROM b AS tw|o", "One", Err("there is a stage `One` already"));
    check("FROM a\nARG |V", "W", Err("only stages can be renamed"));
    check("FROM a AS x\nCOPY --from=|0 a b", "W", Err("only stages can be renamed"));
}

#[test]
fn stages_are_symbols() {
    let document =
        Document::new("ARG V\n\nFROM a AS one\nRUN x \\\n  y\n\nFROM one\nCOPY <<E /\nz\nE\n".into(), 0);
    let symbols = document.symbols();
    let found: Vec<_> = symbols
        .iter()
        .map(|s| (s.name.as_str(), s.detail.as_deref(), s.range.start.line, s.range.end.line))
        .collect();
    assert_eq!(found, [("one", Some("a"), 2, 4), ("stage 1", Some("one"), 6, 9)]);
    assert_eq!(covered(&document, symbols[0].selection_range), "one");
    assert_eq!(covered(&document, symbols[1].selection_range), "FROM");
}

/// A diagnostic in one line: severity, code, what it covers, message.
fn told(document: &Document, d: &Diagnostic) -> String {
    let code = serde_json::to_value(&d.code).expect("JSON");
    let tags = d.tags.as_ref().map(|tags| format!(" {tags:?}")).unwrap_or_default();
    let lsp_types::Message::String(message) = &d.message else { panic!("no text") };
    let severity = d.severity.map(|s| format!("{s:?}")).unwrap_or_default();
    format!("{severity} {}{tags} `{}`: {message}", code.as_str().unwrap_or("-"), covered(document, d.range))
}

#[test]
fn diagnostics() {
    let text = "FROM a AS Build\nMAINTAINER me\n\
        RUN echo 😀 | tee $HMOE\nCOPY --form=x a b\nENV A b\nRNU x\nCOPY secret /\nADD x y\nCOPY --from=biuld a b\n";
    let document = Document::new(text.into(), 0);
    let told: Vec<_> = document.diagnostics(b"secret").iter().map(|d| told(&document, d)).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn rules_have_their_page() {
    let document = Document::new("FROM a AS Build\n".into(), 0);
    let all = document.diagnostics(b"");
    let page = all[0].code_description.as_ref().map(|d| d.href.as_ref());
    assert_eq!(page, Some("https://docs.docker.com/go/dockerfile/rule/stage-name-casing/"));
}

#[test]
fn pages_of_broken_rules_are_shown() {
    let (document, position) = marked("FROM a\nAD|D x y\nCMD [\"x\"]\n");
    let shown = |document: &Document, position| {
        let hover = document.hover(position).expect("an explanation");
        serde_json::to_value(hover.contents).expect("JSON")["value"].to_string()
    };
    assert!(!shown(&document, position).contains("kiln.AddForCopy"));
    document.diagnostics(b"");
    let text = shown(&document, position);
    assert!(text.contains("Copies files, unpacks") && text.contains("# kiln.AddForCopy"), "{text}");
    assert!(!shown(&document, Position { line: 2, character: 1 }).contains("kiln."));
}

#[test]
fn files_for_other_frontends_are_left_alone() {
    let check = |syntax: &str, faults| {
        let document = Document::new(format!("# syntax={syntax}\nFROM a\nINCLUDE x\n"), 0);
        assert_eq!(document.diagnostics(b"").len(), faults, "{syntax}");
    };
    check("docker/dockerfile:1.7-labs", 1);
    check("docker/dockerfile", 1);
    check(&format!("docker.io/docker/dockerfile@sha256:{}", "ab".repeat(32)), 1);
    check("docker/dockerfile-upstream:master", 1);
    check("docker/dockerfile:0.9", 0);
    check("localhost:5000/docker/dockerfile", 0);
    check("devthefuture/dockerfile-x", 0);
}

#[test]
fn misspelt_words_are_mended() {
    let check = |text: &str, expected: &str| {
        let document = Document::new(text.into(), 0);
        let fixes = document.fixes(&uri(), document.diagnostics(b""));
        let edits = fixes.into_iter().flat_map(|fix| match fix {
            CodeActionResponse::CodeAction(action) => {
                action.edit.and_then(|e| e.changes).and_then(|mut c| c.remove(&uri())).unwrap_or_default()
            }
            CodeActionResponse::Command(_) => Vec::new(),
        });
        assert_eq!(changed(text, &edits.collect::<Vec<_>>()), expected);
    };
    check("FROM a\nrnu x\n", "FROM a\nrun x\n");
    check("FROM a\nCOPY --form=x a b\n", "FROM a\nCOPY --from=x a b\n");
    check("FROM a\nRUN --mount=typ=cache,target=/x y\n", "FROM a\nRUN --mount=type=cache,target=/x y\n");
    check("FROM a\nRUN --mount=type=cahce,target=/x y\n", "FROM a\nRUN --mount=type=cache,target=/x y\n");
    check(
        "FROM a AS build\nFROM b\nCOPY --from=biuld 😀 b\n",
        "FROM a AS build\nFROM b\nCOPY --from=build 😀 b\n",
    );
    check("FROM a\nARG VERSION=1\nENV X=$VERSOIN\n", "FROM a\nARG VERSION=1\nENV X=$VERSION\n");
    check("FROM a\nRUN x\n", "FROM a\nRUN x\n");
}

#[test]
fn files_are_formatted_where_they_differ() {
    let check = |text: &str, expected: &str, lines: Option<(u32, u32)>| {
        let edits = Document::new(text.into(), 0).formatting();
        assert_eq!(changed(text, &edits), expected, "{text:?}");
        let found = edits.first().map(|edit| (edit.range.start.line, edit.range.end.line));
        assert_eq!((found, edits.len()), (lines, usize::from(lines.is_some())), "{text:?}");
    };
    check("FROM a\n", "FROM a\n", None);
    check("FROM a\nrun x\nRUN y\n", "FROM a\nRUN x\nRUN y\n", Some((1, 2)));
    check("FROM a\nRUN x", "FROM a\nRUN x\n", Some((1, 1)));
    check("FROM a\n\n\n\nRUN x\n\n", "FROM a\n\nRUN x\n", Some((2, 6)));
    check("from a 😀\nrnu x", "from a 😀\nrnu x", None);
}

/// A server that was asked and told these things: what it says, one message a line.
fn session(messages: &[(&str, Value)]) -> Vec<Value> {
    let mut server = Server::new("v1", Box::new(|_| Vec::new()));
    let mut said = Vec::new();
    for (number, (method, params)) in messages.iter().enumerate() {
        let (method, params) = ((*method).to_owned(), params.clone());
        let message =
            match method.starts_with("textDocument/did") || matches!(&*method, "exit" | "initialized") {
                true => Message::Notification(Notification { method, params }),
                false => Message::Request(Request { id: (number as i32).into(), method, params }),
            };
        said.extend(server.handle(message));
        while let Some(news) = server.news() {
            said.push(news);
        }
    }
    said.push(Message::Notification(Notification {
        method: format!("{:?}", server.ended()),
        params: json!(null),
    }));
    said.iter().map(|message| serde_json::to_value(message).expect("JSON")).collect()
}

#[test]
fn a_session_goes_through_its_phases() {
    let open = json!({"textDocument": {"uri": URI, "languageId": "dockerfile", "version": 1, "text": "FROM a\nRNU x\n"}});
    let mend = json!({"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": 3}});
    let said = session(&[
        ("textDocument/hover", json!({})),
        ("initialize", json!({"capabilities": {}, "processId": null, "rootUri": null})),
        ("initialized", json!({})),
        ("textDocument/didOpen", open),
        (
            "textDocument/didChange",
            json!({"textDocument": {"uri": URI, "version": 2}, "contentChanges": [{"range": mend, "text": "RUN"}]}),
        ),
        (
            "textDocument/hover",
            json!({"textDocument": {"uri": URI}, "position": {"line": 1, "character": 1}}),
        ),
        (
            "textDocument/hover",
            json!({"textDocument": {"uri": "file:///other"}, "position": {"line": 1, "character": 1}}),
        ),
        ("textDocument/hover", json!(1)),
        ("workspace/odd", json!({})),
        ("textDocument/didClose", json!({"textDocument": {"uri": URI}})),
        ("shutdown", json!(null)),
        ("textDocument/hover", json!({})),
        ("exit", json!(null)),
    ]);
    let codes: Vec<_> = said.iter().filter_map(|m| m["error"]["code"].as_i64()).collect();
    assert_eq!(codes, [-32002, -32602, -32602, -32601, -32600]);
    let news: Vec<_> = said.iter().filter(|m| m["method"] == "textDocument/publishDiagnostics").collect();
    let counts: Vec<_> =
        news.iter().map(|m| m["params"]["diagnostics"].as_array().map_or(9, Vec::len)).collect();
    assert_eq!((counts, &news[1]["params"]["version"]), (vec![1, 0, 0], &json!(2)));
    assert!(
        said[4]["result"]["contents"]["value"].as_str().is_some_and(|text| text.contains("Runs a command"))
    );
    assert_eq!(said.last().map(|m| &m["method"]), Some(&json!("Some(true)")));
    assert_eq!(session(&[("exit", json!(null))])[0]["method"], "Some(false)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_and_no_place_is_too_odd(
        lines in prop::collection::vec("[ \t]{0,2}(FROM|from|ARG|ENV|COPY|RUN|ONBUILD|#|# syntax=|)([ ]{1,2}(a|😀|b AS c|--from=c|--mount=from=c,type=|\\$a|\\$\\{a|a=\\$b|<<E|E|'|\"|--|=|AS|\\\\)){0,4}", 0..9),
        line in 0u32..10,
        character in 0u32..40,
    ) {
        let document = Document::new(lines.join("\n"), 0);
        let position = Position { line, character };
        document.completion(position);
        document.hover(position);
        document.definition(&uri(), position);
        document.references(&uri(), position, true);
        document.symbols();
        let _ = document.rename(&uri(), position, "new");
        document.fixes(&uri(), document.diagnostics(b""));
        if let Ok(formatted) = dockerfile::format::format(document.text().as_bytes(), Default::default()) {
            prop_assert_eq!(changed(document.text(), &document.formatting()), formatted);
        }
    }

    #[test]
    fn changes_are_those_of_the_editor(text in "[a😀ß\r\n]{0,12}", new in "[b\n😀]{0,4}", from in (0u32..5, 0u32..6), to in (0u32..5, 0u32..6)) {
        let mut document = Document::new(text, 0);
        let position = |(line, character)| Position { line, character };
        let range = Range { start: position(from.min(to)), end: position(from.max(to)) };
        #[allow(deprecated, reason = "the field has no default")]
        let part = TextDocumentContentChangePartial { range, range_length: None, text: new.clone() };
        document.change(vec![part.into()], 1);
        prop_assert!(document.text().contains(&new));
        prop_assert_eq!(&document.text, &Text::new(document.text().to_owned()));
    }
}
