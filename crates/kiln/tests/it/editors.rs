//! `kiln dockerfile`: the formatter as a user runs it, and the language server as editors do.

use std::io::BufReader;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use lsp_server::{Message, Notification, Request};
use lsp_types::{
    CompletionResponse, DocumentSymbolResponse, Hover, InitializeResult, PublishDiagnosticsParams, TextEdit,
    Uri,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::harness::{Folder, output_of};

fn kiln(folder: &Folder, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.args(words).current_dir(folder.path()).env_clear();
    command
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_formatter_checks_formats_and_leaves_faulty_files() {
    let folder = Folder::with_dockerfile("from a\nrun x\n", &[("faulty", "from a\nrnu x\n")]);
    let fmt = |words: &[&str], stdin: &str| {
        told(&output_of(&mut kiln(&folder, &[&["dockerfile", "fmt"], words].concat()), stdin.as_bytes()))
    };
    let (code, diff, _) = fmt(&["--check"], "");
    assert_eq!(code, Some(1));
    assert!(diff.starts_with("--- Dockerfile\n") && diff.contains("\n-run x\n+FROM a\n+RUN x\n"), "{diff}");
    assert_eq!(folder.read("Dockerfile"), "from a\nrun x\n");

    let (code, names, faults) = fmt(&["faulty", "Dockerfile"], "");
    assert_eq!((code, names.as_str()), (Some(1), "Dockerfile\n"));
    assert!(
        faults.contains("faulty:2") && faults.contains("unknown instruction: rnu (did you mean run?)"),
        "{faults}"
    );
    assert_eq!(folder.read("faulty"), "from a\nrnu x\n");
    assert_eq!(folder.read("Dockerfile"), "FROM a\nRUN x\n");
    assert_eq!(fmt(&["--check"], ""), (Some(0), String::new(), String::new()));
    assert_eq!(fmt(&["-"], "from a"), (Some(0), "FROM a\n".to_owned(), String::new()));
}

/// A session with the language server. One that is dropped ends it.
struct Editor {
    server: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    asked: i32,
}

impl Editor {
    fn start(folder: &Folder) -> Editor {
        let mut command = kiln(folder, &["dockerfile", "lsp", "--stdio"]);
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let output = BufReader::new(server.stdout.take().expect("a pipe"));
        let input = server.stdin.take();
        Editor { server, input, output, asked: 0 }
    }

    fn send(&mut self, message: Message) {
        message.write(self.input.as_mut().expect("it is open")).expect("sent");
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(Message::Notification(Notification { method: method.into(), params }));
    }

    fn receive(&mut self) -> Message {
        Message::read(&mut self.output).expect("a message").expect("no end")
    }

    fn ask<T: DeserializeOwned>(&mut self, method: &str, params: Value) -> T {
        self.asked += 1;
        self.send(Message::Request(Request { id: self.asked.into(), method: method.into(), params }));
        match self.receive() {
            Message::Response(answer) => {
                assert_eq!(answer.id, self.asked.into());
                let result = answer.response_result.unwrap_or_else(|e| panic!("{method}: {e:?}"));
                serde_json::from_value(result).expect("what the protocol says")
            }
            other => panic!("{method}: {other:?}"),
        }
    }

    /// The messages of the next diagnostics.
    fn diagnostics(&mut self) -> Vec<String> {
        let Message::Notification(n) = self.receive() else { panic!("no notification") };
        let params: PublishDiagnosticsParams = serde_json::from_value(n.params).expect("diagnostics");
        params
            .diagnostics
            .into_iter()
            .map(|d| serde_json::to_value(d.message).expect("JSON").to_string())
            .collect()
    }

    fn end(mut self) -> Option<i32> {
        drop(self.input.take());
        self.server.wait().expect("it ends").code()
    }
}

fn open(folder: &Folder) -> (Uri, Value) {
    let uri = format!("file://{}/Dockerfile", folder.path().display());
    let text = folder.read("Dockerfile");
    let file = json!({"textDocument": {"uri": uri, "languageId": "dockerfile", "version": 1, "text": text}});
    (uri.into(), file)
}

const INITIALIZE: &str = r#"{"processId": null, "rootUri": null, "capabilities": {}}"#;

fn initialize(editor: &mut Editor) {
    let params = serde_json::from_str(INITIALIZE).expect("JSON");
    let found: InitializeResult = editor.ask("initialize", params);
    assert_eq!(found.server_info.map(|info| info.name).as_deref(), Some("kiln"));
    editor.tell("initialized", json!({}));
}

#[test]
fn an_editor_is_served() {
    let folder = Folder::with_dockerfile(
        "FROM alpine AS base\nRNU x\nCOPY --from=base 😀 secret /\n",
        &[(".dockerignore", "secret")],
    );
    let mut editor = Editor::start(&folder);
    initialize(&mut editor);
    let (uri, file) = open(&folder);
    editor.tell("textDocument/didOpen", file);
    let found = editor.diagnostics();
    assert!(found[0].contains("unknown instruction: RNU (did you mean RUN?)"), "{found:?}");

    // Mended, and a file that the ignore file keeps away is copied.
    let range = |line, from, to| json!({"start": {"line": line, "character": from}, "end": {"line": line, "character": to}});
    let changes = json!([
        {"range": range(1, 0, 3), "text": "RUN"},
        {"range": range(2, 17, 20), "text": ""},
        {"range": range(2, 5, 17), "text": ""},
    ]);
    editor.tell(
        "textDocument/didChange",
        json!({"textDocument": {"uri": uri, "version": 2}, "contentChanges": changes}),
    );
    let found = editor.diagnostics();
    assert!(found.len() == 1 && found[0].contains("secret"), "{found:?}");

    let at = |line: u32, character: u32| json!({"textDocument": {"uri": uri}, "position": {"line": line, "character": character}});
    let hover: Option<Hover> = editor.ask("textDocument/hover", at(1, 1));
    assert!(hover.is_some());
    let offered: Option<CompletionResponse> = editor.ask("textDocument/completion", at(3, 0));
    let Some(CompletionResponse::CompletionItemList(items)) = offered else { panic!("no list") };
    assert_eq!(items.len(), 18);
    let symbols: Option<DocumentSymbolResponse> =
        editor.ask("textDocument/documentSymbol", json!({"textDocument": {"uri": uri}}));
    let Some(DocumentSymbolResponse::DocumentSymbolList(symbols)) = symbols else { panic!("no list") };
    assert_eq!(symbols[0].name, "base");
    let options = json!({"tabSize": 4, "insertSpaces": true});
    let edits: Option<Vec<TextEdit>> =
        editor.ask("textDocument/formatting", json!({"textDocument": {"uri": uri}, "options": options}));
    assert_eq!(edits, Some(Vec::new()));

    let () = editor.ask("shutdown", json!(null));
    editor.tell("exit", json!(null));
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn a_server_ends_with_its_editor() {
    let folder = Folder::with_dockerfile("FROM a\n", &[]);
    assert_eq!(Editor::start(&folder).end(), Some(1));
    let mut editor = Editor::start(&folder);
    initialize(&mut editor);
    assert_eq!(editor.end(), Some(1));
    let mut editor = Editor::start(&folder);
    editor.tell("exit", json!(null));
    assert_eq!(editor.end(), Some(1));
}

/// What a user of neovim sees: diagnostics, then the file mended, formatted and with a stage renamed.
const NEOVIM: &str = r#"
local client = vim.lsp.start_client({ name = "kiln", cmd = { os.getenv("KILN"), "dockerfile", "lsp" } })
vim.lsp.buf_attach_client(0, client)
assert(vim.wait(60000, function() return #vim.diagnostic.get(0) > 0 end), "no diagnostics")
local function ask(method, params)
  local answers = vim.lsp.buf_request_sync(0, method, params, 60000)
  return assert(answers[client].result, method)
end
local uri = vim.uri_from_bufnr(0)
local out = { messages = vim.tbl_map(function(d) return d.message end, vim.diagnostic.get(0)) }
local at = vim.diagnostic.get(0)[1]
out.place = { at.lnum, at.col, at.end_col }
vim.api.nvim_buf_set_lines(0, 1, 2, true, { "  RUN echo 😀" })
assert(vim.wait(60000, function() return #vim.diagnostic.get(0) == 0 end), "still diagnostics")
local edit = ask("textDocument/rename", { textDocument = { uri = uri }, position = { line = 0, character = 17 }, newName = "first" })
vim.lsp.util.apply_workspace_edit(edit, "utf-16")
local edits = ask("textDocument/formatting", { textDocument = { uri = uri }, options = { tabSize = 4, insertSpaces = true } })
vim.lsp.util.apply_text_edits(edits, 0, "utf-16")
out.lines = vim.api.nvim_buf_get_lines(0, 0, -1, true)
io.stdout:write(vim.json.encode(out))
vim.cmd("qa!")
"#;

#[test]
fn neovim_is_served() {
    let nvim =
        ["/usr/bin/nvim", "/usr/local/bin/nvim"].into_iter().find(|path| std::path::Path::new(path).exists());
    let Some(nvim) = nvim else {
        return eprintln!(
            "left out: neovim is not installed, which is larger than all else that the tests need"
        );
    };
    let folder = Folder::with_dockerfile(
        "FROM alpine   AS base\nrnu echo 😀\nFROM base\nCOPY --from=base a b\n",
        &[("script.lua", NEOVIM)],
    );
    let mut command = Command::new(nvim);
    command.args(["--clean", "--headless", "Dockerfile", "-c", "luafile script.lua", "-c", "cquit"]);
    command.current_dir(folder.path()).env("KILN", env!("CARGO_BIN_EXE_kiln"));
    command
        .env("HOME", folder.path())
        .env("XDG_STATE_HOME", folder.path())
        .env("XDG_CACHE_HOME", folder.path());
    let output = output_of(&mut command, b"");
    let (code, out, err) = told(&output);
    assert_eq!(code, Some(0), "{out}\n{err}");
    let seen: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{err}"));
    assert_eq!(seen["place"], json!([1, 0, 3]), "{seen}");
    assert!(seen["messages"][0].as_str().is_some_and(|m| m.contains("did you mean run?")), "{seen}");
    let lines = ["FROM alpine   AS first", "RUN echo 😀", "", "FROM first", "COPY --from=first a b"];
    assert_eq!(seen["lines"], json!(lines));
}
