//! The main loop: messages in, answers out, one after the other.
//!
//! What has arrived is taken in whole before anything is answered, so that edits that came in one
//! rush are checked once and a request that was taken back is never worked on.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use gen_lsp_types::{
    CompletionOptions, DefinitionProvider, DidChangeTextDocumentParams, DidCloseTextDocumentParams,
    DidOpenTextDocumentParams, DocumentFormattingParams, DocumentFormattingProvider,
    DocumentSymbolParams, DocumentSymbolProvider, Full, HoverProvider, InitializeParams,
    InlayHintParams, InlayHintProvider, PositionEncodingKind, ReferenceParams, ReferencesProvider,
    RenameOptions, RenameParams, RenameProvider, Save, SemanticTokensOptions, SemanticTokensParams,
    SemanticTokensProvider, ServerCapabilities, SignatureHelpOptions,
    TextDocumentContentChangeEvent as Change, TextDocumentPositionParams, TextDocumentSync,
    TextDocumentSyncKind, TextDocumentSyncOptions,
};
use lsp_server::{Connection, ErrorCode, Message, Notification, Request, RequestId, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::diagnostics::Told;
use super::text::Encoding;
use super::workspace::Workspace;
use super::{
    ServeError, completion, formatting, hover, inlay, navigation, rename, signature, symbols, text,
    tokens, transport,
};

/// How many requests that were taken back are kept in mind.
const MAX_CANCELLED: usize = 1_000;

/// Serves a connection until `exit`.
pub(super) fn serve(connection: &Connection) -> Result<(), ServeError> {
    let (id, params) = connection.initialize_start()?;
    // What an editor says about itself that we cannot read is as if it had not said it.
    let params: InitializeParams = serde_json::from_value(params).unwrap_or_default();
    let encoding = encoding(&params);
    let info = json!({ "name": "claw", "version": env!("CARGO_PKG_VERSION") });
    let result = json!({ "capabilities": capabilities(encoding), "serverInfo": info });
    connection.sender.send(Response::new_ok(id, result).into()).map_err(|_| ServeError::Gone)?;
    let mut server = Server {
        connection,
        workspace: Workspace::new(encoding, snippets(&params)),
        told: Told::default(),
        waiting: VecDeque::new(),
        cancelled: BTreeSet::new(),
        watches: watches(&params),
        is_stale: false,
        is_over: false,
    };
    server.run()
}

fn encoding(params: &InitializeParams) -> Encoding {
    let offered =
        params.capabilities.general.as_ref().and_then(|of| of.position_encodings.as_ref());
    let utf8 = offered.is_some_and(|offered| offered.contains(&PositionEncodingKind::UTF8));
    if utf8 { Encoding::Utf8 } else { Encoding::Utf16 }
}

fn snippets(params: &InitializeParams) -> bool {
    let of = serde_json::to_value(&params.capabilities).unwrap_or_default();
    of.pointer("/textDocument/completion/completionItem/snippetSupport") == Some(&json!(true))
}

fn watches(params: &InitializeParams) -> bool {
    let of = serde_json::to_value(&params.capabilities).unwrap_or_default();
    of.pointer("/workspace/didChangeWatchedFiles/dynamicRegistration") == Some(&json!(true))
}

fn capabilities(encoding: Encoding) -> ServerCapabilities {
    let characters = |of: &[&str]| Some(of.iter().map(|c| (*c).to_string()).collect());
    ServerCapabilities {
        position_encoding: Some(match encoding {
            Encoding::Utf8 => PositionEncodingKind::UTF8,
            Encoding::Utf16 => PositionEncodingKind::UTF16,
        }),
        text_document_sync: Some(TextDocumentSync::Options(TextDocumentSyncOptions {
            open_close: Some(true),
            change: Some(TextDocumentSyncKind::Full),
            save: Some(Save::Bool(true)),
            ..TextDocumentSyncOptions::default()
        })),
        completion_provider: Some(CompletionOptions {
            trigger_characters: characters(&[".", "(", ",", "\"", "/", "{", ":", " "]),
            ..CompletionOptions::default()
        }),
        hover_provider: Some(HoverProvider::Bool(true)),
        signature_help_provider: Some(SignatureHelpOptions {
            trigger_characters: characters(&["(", ","]),
            ..SignatureHelpOptions::default()
        }),
        definition_provider: Some(DefinitionProvider::Bool(true)),
        references_provider: Some(ReferencesProvider::Bool(true)),
        document_symbol_provider: Some(DocumentSymbolProvider::Bool(true)),
        document_formatting_provider: Some(DocumentFormattingProvider::Bool(true)),
        rename_provider: Some(RenameProvider::RenameOptions(RenameOptions {
            prepare_provider: Some(true),
            ..RenameOptions::default()
        })),
        semantic_tokens_provider: Some(SemanticTokensProvider::SemanticTokensOptions(
            SemanticTokensOptions {
                legend: tokens::legend(),
                full: Some(Full::Bool(true)),
                ..SemanticTokensOptions::default()
            },
        )),
        inlay_hint_provider: Some(InlayHintProvider::Bool(true)),
        ..ServerCapabilities::default()
    }
}

/// Why a request has no answer: a code of the protocol, and words for the person.
struct Refusal(ErrorCode, String);

type Answer = Result<Value, Refusal>;

struct Server<'c> {
    connection: &'c Connection,
    workspace: Workspace,
    told: Told,
    /// What has arrived and is not worked on yet.
    waiting: VecDeque<Message>,
    /// Requests that were taken back.
    cancelled: BTreeSet<String>,
    /// Whether the editor can be asked to watch files.
    watches: bool,
    /// Whether something changed since diagnostics were told.
    is_stale: bool,
    /// Whether `shutdown` was asked.
    is_over: bool,
}

impl Server<'_> {
    fn run(&mut self) -> Result<(), ServeError> {
        loop {
            if self.waiting.is_empty() && !self.is_stale {
                let message = self.connection.receiver.recv().map_err(|_| ServeError::Gone)?;
                self.waiting.push_back(message);
            }
            while let Ok(message) = self.connection.receiver.try_recv() {
                self.waiting.push_back(message);
            }
            self.note_cancelled();
            match self.waiting.pop_front() {
                Some(Message::Notification(of)) if of.method == "exit" => {
                    return if self.is_over { Ok(()) } else { Err(ServeError::Gone) };
                }
                Some(Message::Notification(of)) => self.notified(of),
                Some(Message::Request(request)) => {
                    let response = self.answer(request);
                    self.send(response.into())?;
                }
                // Answers to what we asked need nothing done.
                Some(Message::Response(_)) => {}
                None => {
                    self.is_stale = false;
                    self.tell()?;
                }
            }
        }
    }

    fn send(&self, message: Message) -> Result<(), ServeError> {
        self.connection.sender.send(message).map_err(|_| ServeError::Gone)
    }

    /// Tells what is wrong now. Whatever happens in it, the session goes on.
    fn tell(&mut self) -> Result<(), ServeError> {
        let news = catch_unwind(AssertUnwindSafe(|| self.told.news(&mut self.workspace)));
        for news in news.unwrap_or_default() {
            let method = "textDocument/publishDiagnostics".to_string();
            self.send(Notification::new(method, news).into())?;
        }
        Ok(())
    }

    fn note_cancelled(&mut self) {
        // Those that were answered before they were taken back stay here; nobody asks for them.
        if self.cancelled.len() > MAX_CANCELLED {
            self.cancelled.clear();
        }
        for message in &self.waiting {
            if let Message::Notification(of) = message
                && of.method == "$/cancelRequest"
            {
                let id = &of.params["id"];
                self.cancelled.insert(id.as_str().map_or(id.to_string(), str::to_string));
            }
        }
    }

    fn answer(&mut self, request: Request) -> Response {
        let Request { id, method, params } = request;
        if self.cancelled.remove(&shown(&id)) {
            let why = "the request was taken back".to_string();
            return Response::new_err(id, ErrorCode::RequestCanceled as i32, why);
        }
        if self.is_over {
            let why = "the server was shut down".to_string();
            return Response::new_err(id, ErrorCode::InvalidRequest as i32, why);
        }
        let answer = catch_unwind(AssertUnwindSafe(|| self.answered(&method, params)));
        let answer = answer.unwrap_or_else(|_| {
            let why = format!("{method} failed inside of claw; please tell us how you got there");
            Err(Refusal(ErrorCode::InternalError, why))
        });
        match answer {
            Ok(result) => Response::new_ok(id, result),
            Err(Refusal(code, why)) => Response::new_err(id, code as i32, why),
        }
    }

    fn answered(&mut self, method: &str, params: Value) -> Answer {
        let workspace = &mut self.workspace;
        let refused = |why: String| Refusal(ErrorCode::RequestFailed, why);
        let path_of = |uri: &gen_lsp_types::Uri| Workspace::path(&uri.0).unwrap_or_default();
        match method {
            "shutdown" => {
                self.is_over = true;
                Ok(Value::Null)
            }
            "textDocument/completion" => json_of(completion::complete(workspace, &read(params)?)),
            "textDocument/hover" => json_of(hover::hover(workspace, &read(params)?)),
            "textDocument/signatureHelp" => json_of(signature::help(workspace, &read(params)?)),
            "textDocument/definition" => json_of(navigation::definition(workspace, &read(params)?)),
            "textDocument/references" => {
                let asked: ReferenceParams = read(params)?;
                json_of(navigation::references(workspace, &asked))
            }
            "textDocument/prepareRename" => {
                let asked: TextDocumentPositionParams = read(params)?;
                json_of(rename::prepare(workspace, &asked).map_err(refused)?)
            }
            "textDocument/rename" => {
                let asked: RenameParams = read(params)?;
                json_of(rename::rename(workspace, &asked).map_err(refused)?)
            }
            "textDocument/documentSymbol" => {
                let asked: DocumentSymbolParams = read(params)?;
                json_of(symbols::symbols(workspace, &path_of(&asked.text_document.uri)))
            }
            "textDocument/inlayHint" => {
                let asked: InlayHintParams = read(params)?;
                let path = path_of(&asked.text_document.uri);
                json_of(inlay::hints(workspace, &path, &asked))
            }
            "textDocument/semanticTokens/full" => {
                let asked: SemanticTokensParams = read(params)?;
                json_of(tokens::tokens(workspace, &path_of(&asked.text_document.uri)))
            }
            "textDocument/formatting" => {
                let asked: DocumentFormattingParams = read(params)?;
                json_of(formatting::format(workspace, &path_of(&asked.text_document.uri)))
            }
            other => {
                let why = format!("claw does not answer {other}");
                Err(Refusal(ErrorCode::MethodNotFound, why))
            }
        }
    }

    /// What the editor tells. A notification that cannot be read is logged and left.
    fn notified(&mut self, of: Notification) {
        let Notification { method, params } = of;
        let done = catch_unwind(AssertUnwindSafe(|| self.taken_in(&method, params)));
        let why = match done {
            Ok(Ok(())) => return,
            Ok(Err(Refusal(_, why))) => why,
            Err(_) => "it failed inside of claw".to_string(),
        };
        // 2: a warning.
        let message = json!({ "type": 2, "message": format!("{method}: {why}") });
        let told = Notification::new("window/logMessage".to_string(), message);
        // A connection that is gone is noticed by the main loop.
        let _ = self.send(told.into());
    }

    fn taken_in(&mut self, method: &str, params: Value) -> Result<(), Refusal> {
        match method {
            "initialized" => {
                if self.watches {
                    self.watch();
                }
                return Ok(());
            }
            "textDocument/didOpen" => {
                let opened: DidOpenTextDocumentParams = read(params)?;
                let of = opened.text_document;
                self.workspace.open(&of.uri.0, of.version, of.text);
            }
            "textDocument/didChange" => {
                let changed: DidChangeTextDocumentParams = read(params)?;
                self.edit(&changed);
            }
            "textDocument/didClose" => {
                let closed: DidCloseTextDocumentParams = read(params)?;
                self.workspace.close(&closed.text_document.uri.0);
            }
            "textDocument/didSave" | "workspace/didChangeWatchedFiles" => self.workspace.forget(),
            transport::MALFORMED => {
                return Err(Refusal(ErrorCode::ParseError, params.to_string()));
            }
            // Requests that were taken back were noted before; others may be left (`$/…`).
            _ => return Ok(()),
        }
        self.is_stale = true;
        Ok(())
    }

    fn edit(&mut self, changed: &DidChangeTextDocumentParams) {
        let uri = &changed.text_document.text_document_identifier.uri.0;
        let Some(path) = Workspace::path(uri) else { return };
        let Some(document) = self.workspace.document(&path) else { return };
        let mut text = document.text.clone();
        for change in &changed.content_changes {
            text = match change {
                Change::TextDocumentContentChangeWholeDocument(whole) => {
                    text::Text::new(whole.text.as_str().into())
                }
                // Not asked for, but what an editor says holds.
                Change::TextDocumentContentChangePartial(part) => {
                    let encoding = self.workspace.encoding;
                    let start = text.offset(part.range.start, encoding) as usize;
                    let end = (text.offset(part.range.end, encoding) as usize).max(start);
                    let (before, after) = (&text.text[..start], &text.text[end..]);
                    text::Text::new(format!("{before}{}{after}", part.text).into())
                }
            };
        }
        self.workspace.edit(uri, changed.text_document.version, text.text.to_string());
    }

    /// Asks the editor to say when files change that are not open.
    fn watch(&self) {
        let watchers = json!([
            { "globPattern": "**/*.claw" }, { "globPattern": "**/claw.toml" },
        ]);
        let params = json!({ "registrations": [{
            "id": "files",
            "method": "workspace/didChangeWatchedFiles",
            "registerOptions": { "watchers": watchers },
        }] });
        let id = RequestId::from("claw/watch".to_string());
        let method = "client/registerCapability".to_string();
        let _ = self.send(Request::new(id, method, params).into());
    }
}

/// An id as it is told by `$/cancelRequest`.
fn shown(id: &RequestId) -> String {
    let id = serde_json::to_value(id).unwrap_or_default();
    id.as_str().map_or(id.to_string(), str::to_string)
}

fn read<P: DeserializeOwned>(params: Value) -> Result<P, Refusal> {
    serde_json::from_value(params)
        .map_err(|err| Refusal(ErrorCode::InvalidParams, format!("wrong parameters: {err}")))
}

fn json_of(result: impl Serialize) -> Answer {
    serde_json::to_value(result).map_err(|err| Refusal(ErrorCode::InternalError, err.to_string()))
}
