//! An editor: speaks the protocol with the real program and writes down what was said.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value as Json, json};

use crate::project::Project;

/// A session with `claw lsp` in a project.
pub struct Session {
    pub project: Project,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    next_id: i64,
    texts: BTreeMap<String, (i64, String)>,
    /// Notifications that came while something else was waited for.
    pub notifications: Vec<Json>,
    /// What was said, to be read by people.
    pub transcript: String,
}

impl Session {
    /// Starts the server and shakes hands.
    pub fn start(project: Project, capabilities: Json) -> Session {
        let mut command = project.command(&["lsp"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("claw lsp starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut session = Session {
            project,
            child,
            input,
            output,
            next_id: 0,
            texts: BTreeMap::new(),
            notifications: Vec::new(),
            transcript: String::new(),
        };
        let params = json!({ "processId": null, "rootUri": null, "capabilities": capabilities });
        session.ask("initialize", params).expect("capabilities");
        session.tell("initialized", json!({}));
        session
    }

    pub fn raw(&mut self, text: &str) {
        let input = self.input.as_mut().expect("an open session");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("claw reads");
    }

    pub fn send(&mut self, message: &Json) {
        let text = message.to_string();
        self.raw(&format!("Content-Length: {}\r\n\r\n{text}", text.len()));
    }

    pub fn receive(&mut self) -> Json {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).expect("a header") > 0, "claw lsp ended");
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().expect("a length"),
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).expect("a body");
        serde_json::from_slice(&body).expect("JSON")
    }

    pub fn tell(&mut self, method: &str, params: Json) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a request and gives its id.
    pub fn begin(&mut self, method: &str, params: Json) -> i64 {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// Waits for the answer to a request; what else comes is kept.
    pub fn answer(&mut self, id: i64) -> Result<Json, Json> {
        loop {
            let message = self.receive();
            if message["id"] == json!(id) {
                return match message.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(message["result"].clone()),
                };
            }
            self.notifications.push(message);
        }
    }

    pub fn ask(&mut self, method: &str, params: Json) -> Result<Json, Json> {
        let id = self.begin(method, params);
        self.answer(id)
    }

    pub fn uri(&self, file: &str) -> String {
        let folder = self.project.path("").canonicalize().expect("the project");
        format!("file://{}", folder.join(file).display())
    }

    /// Opens a file and waits for what is wrong with it.
    pub fn open(&mut self, file: &str) {
        let text = std::fs::read_to_string(self.project.path(file)).expect("a file");
        self.texts.insert(file.to_string(), (1, text.clone()));
        let document =
            json!({ "uri": self.uri(file), "languageId": "claw", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
        self.say(&format!("open {file}"));
        self.diagnostics(file);
    }

    /// Replaces a part of an open file and waits for what is wrong with it then.
    pub fn edit(&mut self, file: &str, from: &str, to: &str) {
        let (version, text) = self.texts.get_mut(file).expect("an open file");
        assert!(text.contains(from), "{from:?} is not in {file}");
        *text = text.replacen(from, to, 1);
        *version += 1;
        let (version, text) = (*version, text.clone());
        let params = json!({
            "textDocument": { "uri": self.uri(file), "version": version },
            "contentChanges": [{ "text": text }],
        });
        self.tell("textDocument/didChange", params);
        self.say(&format!("edit {file}: {from:?} becomes {to:?}"));
        self.diagnostics(file);
    }

    /// Waits for the diagnostics of the file's last version and of all others: what is asked after
    /// them is answered after them.
    fn diagnostics(&mut self, file: &str) {
        let (uri, version) = (self.uri(file), self.texts[file].0);
        let mut after = None;
        loop {
            let message = self.receive();
            let params = &message["params"];
            if after.is_some() && message["id"] == json!(after) {
                return;
            }
            if message["method"] != "textDocument/publishDiagnostics" {
                self.notifications.push(message);
                continue;
            }
            let name = self.shortened(params["uri"].as_str().expect("a URI"));
            for one in params["diagnostics"].as_array().expect("diagnostics") {
                let severity = if one["severity"] == 1 { "error" } else { "warning" };
                let (code, place) = (one["code"].as_str().unwrap_or("-"), range(&one["range"]));
                let message = one["message"].as_str().expect("a message").replace('\n', "\n      ");
                self.line(&format!("  {name}:{place} {severity} {code}: {message}"));
                for related in one["relatedInformation"].as_array().into_iter().flatten() {
                    let at = self.location(&related["location"]);
                    let said = related["message"].as_str().unwrap_or_default().to_string();
                    self.line(&format!("      {at} {said}"));
                }
            }
            if params["diagnostics"].as_array().is_some_and(Vec::is_empty) {
                self.line(&format!("  {name}: nothing is wrong"));
            }
            if params["uri"] == json!(uri) && params["version"] == json!(version) {
                after = Some(self.begin("textDocument/hover", json!({})));
            }
        }
    }

    /// The position of the `|` in `around`, a piece of an open file.
    pub fn position(&self, file: &str, around: &str) -> Json {
        let (before, after) = around.split_once('|').expect("a cursor");
        let text = &self.texts[file].1;
        let start = text.find(&format!("{before}{after}"));
        let at = start.unwrap_or_else(|| panic!("{around:?} is not in {file}")) + before.len();
        let line = text[..at].matches('\n').count();
        let column = text[..at].rsplit('\n').next().unwrap_or("").encode_utf16().count();
        json!({ "line": line, "character": column })
    }

    pub fn place(&self, file: &str, around: &str) -> Json {
        json!({
            "textDocument": { "uri": self.uri(file) },
            "position": self.position(file, around),
        })
    }

    /// Asks about a place and writes down the question.
    pub fn about(&mut self, what: &str, file: &str, around: &str) -> Json {
        let params = self.place(file, around);
        self.say(&format!("{what} at `{around}`"));
        self.ask(&format!("textDocument/{what}"), params).expect("an answer")
    }

    /// Completes and writes down the first `limit` offers in the order that an editor shows them.
    pub fn complete(&mut self, file: &str, around: &str, limit: usize) {
        let answer = self.about("completion", file, around);
        let mut items = answer.as_array().cloned().unwrap_or_default();
        items.sort_by_key(|item| item["sortText"].as_str().unwrap_or_default().to_string());
        for item in items.iter().take(limit) {
            let label = item["label"].as_str().unwrap_or_default();
            let detail = item["detail"].as_str().unwrap_or_default();
            let doc = item.pointer("/documentation/value").and_then(Json::as_str).unwrap_or("");
            let doc = doc.lines().next().unwrap_or("");
            let new = item.pointer("/textEdit/newText").and_then(Json::as_str).unwrap_or("");
            let new = if new == label { String::new() } else { format!(" → {new:?}") };
            self.line(format!("  {label}{new}  {detail}  {doc}").trim_end());
        }
        if items.len() > limit {
            self.line(&format!("  … {} more", items.len() - limit));
        }
        if items.is_empty() {
            self.line("  nothing");
        }
    }

    pub fn hover(&mut self, file: &str, around: &str) {
        let answer = self.about("hover", file, around);
        let text = answer.pointer("/contents/value").and_then(Json::as_str).unwrap_or("nothing");
        for line in text.to_string().lines() {
            self.line(&format!("  {line}"));
        }
    }

    pub fn go(&mut self, file: &str, around: &str) -> Json {
        let answer = self.about("definition", file, around);
        let at = self.location(&answer);
        self.line(&format!("  {at}"));
        answer
    }

    pub fn references(&mut self, file: &str, around: &str) {
        let mut params = self.place(file, around);
        params["context"] = json!({ "includeDeclaration": true });
        self.say(&format!("references at `{around}`"));
        let answer = self.ask("textDocument/references", params).expect("places");
        for location in answer.as_array().into_iter().flatten() {
            let at = self.location(location);
            self.line(&format!("  {at}"));
        }
    }

    /// Renames and writes down the edits, or why not.
    pub fn rename(&mut self, file: &str, around: &str, new: &str) {
        let mut params = self.place(file, around);
        params["newName"] = json!(new);
        self.say(&format!("rename `{around}` to `{new}`"));
        match self.ask("textDocument/rename", params) {
            Ok(edit) => {
                for (uri, edits) in edit["changes"].as_object().into_iter().flatten() {
                    let name = self.shortened(uri);
                    for edit in edits.as_array().into_iter().flatten() {
                        let at = range(&edit["range"]);
                        self.line(&format!("  {name}:{at} {}", edit["newText"]));
                    }
                }
            }
            Err(error) => self.line(&format!("  refused: {}", error["message"].as_str().unwrap())),
        }
    }

    pub fn location(&self, location: &Json) -> String {
        match location["uri"].as_str() {
            Some(uri) => format!("{}:{}", self.shortened(uri), range(&location["range"])),
            None => "nowhere".to_string(),
        }
    }

    fn shortened(&self, uri: &str) -> String {
        let root = self.uri("");
        uri.strip_prefix(&root).unwrap_or(uri).trim_start_matches('/').to_string()
    }

    pub fn say(&mut self, text: &str) {
        self.line(&format!("> {text}"));
    }

    pub fn line(&mut self, text: &str) {
        self.transcript.push_str(text);
        self.transcript.push('\n');
    }

    /// Ends the session as the protocol wants it, and gives the transcript.
    pub fn end(mut self) -> String {
        self.ask("shutdown", Json::Null).expect("an answer");
        self.tell("exit", Json::Null);
        assert_eq!(self.exit_code(), Some(0));
        std::mem::take(&mut self.transcript)
    }

    /// Closes the input and waits for the program to end.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.input = None;
        self.child.wait().expect("claw lsp ends").code()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A test that failed leaves no server behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `line:column-column`, from 1 as editors show it.
pub fn range(range: &Json) -> String {
    let at = |end: &str, what: &str| range[end][what].as_u64().unwrap_or(0) + 1;
    let (line, last) = (at("start", "line"), at("end", "line"));
    let (from, to) = (at("start", "character"), at("end", "character"));
    if line == last { format!("{line}:{from}-{to}") } else { format!("{line}:{from}-{last}:{to}") }
}
