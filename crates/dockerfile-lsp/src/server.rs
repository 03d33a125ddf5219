//! The protocol: which message asks for what.

use std::collections::BTreeMap;

use lsp_server::{ErrorCode, Message, Notification, Request, Response, ResponseError};
use lsp_types::{
    CodeActionKind, CodeActionOptions, CodeActionParams, CompletionOptions, CompletionParams,
    DefinitionParams, DidChangeTextDocumentParams, DidCloseTextDocumentParams, DidOpenTextDocumentParams,
    DocumentFormattingParams, DocumentHighlightParams, DocumentSymbolParams, HoverParams, InitializeResult,
    PrepareRenameParams, PrepareRenamePlaceholder, PublishDiagnosticsParams, ReferenceParams, RenameOptions,
    RenameParams, ServerCapabilities, ServerInfo, TextDocumentIdentifier, TextDocumentPositionParams,
    TextDocumentSyncKind, TextDocumentSyncOptions, Uri,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::document::Document;

/// Characters behind which there may be something to complete.
const TRIGGERS: [&str; 5] = ["-", "=", ",", "$", "{"];

/// Gives the text of the ignore file that belongs to a Dockerfile; nothing where there is none.
pub type Ignores = Box<dyn Fn(&str) -> Vec<u8>>;

/// A session with an editor.
pub struct Server {
    phase: Phase,
    files: BTreeMap<String, Document>,
    /// Files that changed since the editor heard of them, oldest first.
    changed: Vec<String>,
    ignores: Ignores,
    version: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Ready,
    ShutDown,
    /// Whether it was shut down before.
    Ended(bool),
}

type Answer = Result<Value, ResponseError>;

impl Server {
    /// `version` is what the editor is told.
    pub fn new(version: &'static str, ignores: Ignores) -> Server {
        Server { phase: Phase::New, files: BTreeMap::new(), changed: Vec::new(), ignores, version }
    }

    /// Takes a message and gives the answer, where it asks for one.
    pub fn handle(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::Request(Request { id, method, params }) => {
                let response_result = self.request(&method, params);
                Some(Message::Response(Response { id, response_result }))
            }
            Message::Notification(notification) => {
                self.notification(notification);
                None
            }
            // Nothing is asked of the editor.
            Message::Response(_) => None,
        }
    }

    /// What is wrong with a file that changed; nothing when the editor knows it all.
    pub fn news(&mut self) -> Option<Message> {
        let name = (!self.changed.is_empty()).then(|| self.changed.remove(0))?;
        // A file that was closed has nothing wrong with it any more.
        let document = self.files.get(&name);
        let diagnostics = document.map(|d| d.diagnostics(&(self.ignores)(&name))).unwrap_or_default();
        let version = document.map(|d| d.version);
        let params = PublishDiagnosticsParams { uri: name.into(), version, diagnostics };
        let params = serde_json::to_value(params).ok()?;
        Some(Message::Notification(Notification { method: "textDocument/publishDiagnostics".into(), params }))
    }

    /// Set when the session is over: whether it ended as it should.
    pub fn ended(&self) -> Option<bool> {
        match self.phase {
            Phase::Ended(well) => Some(well),
            _ => None,
        }
    }

    fn request(&mut self, method: &str, params: Value) -> Answer {
        match (self.phase, method) {
            (Phase::New, "initialize") => {
                self.phase = Phase::Ready;
                answer(InitializeResult {
                    capabilities: capabilities(),
                    server_info: Some(ServerInfo::new("kiln".into(), Some(self.version.into()))),
                })
            }
            (Phase::New, _) => Err(error(ErrorCode::ServerNotInitialized, "not initialized yet")),
            (Phase::Ready, "shutdown") => {
                self.phase = Phase::ShutDown;
                Ok(Value::Null)
            }
            (Phase::Ready, method) => self.question(method, params),
            _ => Err(error(ErrorCode::InvalidRequest, "shut down")),
        }
    }

    /// Requests about a file.
    fn question(&self, method: &str, params: Value) -> Answer {
        match method {
            "textDocument/completion" => {
                let p: CompletionParams = read(params)?;
                let (_, file, position) = self.at(p.text_document_position_params)?;
                answer(file.completion(position))
            }
            "textDocument/hover" => {
                let p: HoverParams = read(params)?;
                let (_, file, position) = self.at(p.text_document_position_params)?;
                answer(file.hover(position))
            }
            "textDocument/definition" => {
                let p: DefinitionParams = read(params)?;
                let (uri, file, position) = self.at(p.text_document_position_params)?;
                answer(file.definition(&uri, position))
            }
            "textDocument/references" => {
                let p: ReferenceParams = read(params)?;
                let (uri, file, position) = self.at(p.text_document_position_params)?;
                answer(file.references(&uri, position, p.context.include_declaration))
            }
            "textDocument/documentHighlight" => {
                let p: DocumentHighlightParams = read(params)?;
                let (_, file, position) = self.at(p.text_document_position_params)?;
                answer(file.highlights(position))
            }
            "textDocument/documentSymbol" => {
                let p: DocumentSymbolParams = read(params)?;
                answer(self.file(&p.text_document)?.symbols())
            }
            "textDocument/formatting" => {
                let p: DocumentFormattingParams = read(params)?;
                answer(self.file(&p.text_document)?.formatting())
            }
            "textDocument/prepareRename" => {
                let p: PrepareRenameParams = read(params)?;
                let (_, file, position) = self.at(p.text_document_position_params)?;
                let found = file.renamable(position);
                answer(found.map(|(range, placeholder)| PrepareRenamePlaceholder { range, placeholder }))
            }
            "textDocument/rename" => {
                let p: RenameParams = read(params)?;
                let (uri, file, position) = self.at(p.text_document_position_params)?;
                let renamed = file.rename(&uri, position, &p.new_name);
                answer(renamed.map_err(|why| error(ErrorCode::RequestFailed, why))?)
            }
            "textDocument/codeAction" => {
                let p: CodeActionParams = read(params)?;
                let file = self.file(&p.text_document)?;
                answer(file.fixes(&p.text_document.uri, p.context.diagnostics))
            }
            method => Err(error(ErrorCode::MethodNotFound, format!("`{method}` is not known"))),
        }
    }

    fn file(&self, document: &TextDocumentIdentifier) -> Result<&Document, ResponseError> {
        let name = document.uri.as_ref();
        let file = self.files.get(name);
        file.ok_or_else(|| error(ErrorCode::InvalidParams, format!("`{name}` is not open")))
    }

    fn at(
        &self,
        params: TextDocumentPositionParams,
    ) -> Result<(Uri, &Document, lsp_types::Position), ResponseError> {
        let file = self.file(&params.text_document)?;
        Ok((params.text_document.uri, file, params.position))
    }

    /// What cannot be read is passed over: nobody waits for an answer.
    fn notification(&mut self, Notification { method, params }: Notification) {
        match (self.phase, method.as_str()) {
            (phase, "exit") => self.phase = Phase::Ended(phase == Phase::ShutDown),
            (Phase::Ready, "textDocument/didOpen") => {
                let Ok(DidOpenTextDocumentParams { text_document: file }) = read(params) else { return };
                self.files.insert(file.uri.0.clone(), Document::new(file.text, file.version));
                self.changes(file.uri.0);
            }
            (Phase::Ready, "textDocument/didChange") => {
                let Ok(p) = read::<DidChangeTextDocumentParams>(params) else { return };
                let name = p.text_document.text_document_identifier.uri.0;
                if let Some(file) = self.files.get_mut(&name) {
                    file.change(p.content_changes, p.text_document.version);
                    self.changes(name);
                }
            }
            (Phase::Ready, "textDocument/didClose") => {
                let Ok(p) = read::<DidCloseTextDocumentParams>(params) else { return };
                self.files.remove(p.text_document.uri.as_ref());
                self.changes(p.text_document.uri.0);
            }
            _ => {}
        }
    }

    fn changes(&mut self, name: String) {
        if !self.changed.contains(&name) {
            self.changed.push(name);
        }
    }
}

fn read<T: DeserializeOwned>(params: Value) -> Result<T, ResponseError> {
    serde_json::from_value(params).map_err(|e| error(ErrorCode::InvalidParams, e.to_string()))
}

fn answer(value: impl Serialize) -> Answer {
    serde_json::to_value(value).map_err(|e| error(ErrorCode::InternalError, e.to_string()))
}

fn error(code: ErrorCode, message: impl Into<String>) -> ResponseError {
    ResponseError { code: code as i32, message: message.into(), data: None }
}

/// Positions are counted in UTF-16, as every editor can.
fn capabilities() -> ServerCapabilities {
    ServerCapabilities {
        text_document_sync: Some(
            TextDocumentSyncOptions {
                open_close: Some(true),
                change: Some(TextDocumentSyncKind::Incremental),
                ..TextDocumentSyncOptions::default()
            }
            .into(),
        ),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some(TRIGGERS.map(str::to_owned).into()),
            ..CompletionOptions::default()
        }),
        hover_provider: Some(true.into()),
        definition_provider: Some(true.into()),
        references_provider: Some(true.into()),
        document_highlight_provider: Some(true.into()),
        document_symbol_provider: Some(true.into()),
        document_formatting_provider: Some(true.into()),
        rename_provider: Some(
            RenameOptions { prepare_provider: Some(true), ..RenameOptions::default() }.into(),
        ),
        code_action_provider: Some(
            CodeActionOptions {
                code_action_kinds: Some(vec![CodeActionKind::QuickFix]),
                ..CodeActionOptions::default()
            }
            .into(),
        ),
        ..ServerCapabilities::default()
    }
}
