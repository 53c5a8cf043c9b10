//! A sandbox in memory and a model that says what it was told to say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use claw::model::{Answer, Finish, Model, ModelError, Request, ToolCall, Usage};
use claw::sandbox::{
    Backend, Closed, Command, Exit, FileError, Limits, Outcome, Sandbox, SandboxError, WORKSPACE,
};
use claw::store::{Entry, Objects, Tree};
use futures::future::BoxFuture;
use serde_json::Value as Json;

/// Files by absolute path.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// What stands for the shell: gets the files and the command, gives the outcome.
pub(super) type Shell = fn(&mut Files, &Command) -> Result<Outcome, SandboxError>;

/// An outcome with this exit code and output.
pub(super) fn outcome(exit: Exit, output: impl Into<Vec<u8>>) -> Outcome {
    Outcome { exit, output: output.into(), dropped: 0, report: Vec::new() }
}

/// A shell that knows `cat FILE`, `rm FILE`, `cd FOLDER` and `exit CODE`.
pub(super) fn small_shell(files: &mut Files, command: &Command) -> Result<Outcome, SandboxError> {
    let line = command.argv[2].as_str();
    let file = |name: &str| format!("{WORKSPACE}/{name}");
    Ok(match line.split_once(' ') {
        Some(("cat", name)) => match files.get(&file(name)) {
            Some(bytes) => outcome(Exit::Code(0), bytes.clone()),
            None => outcome(Exit::Code(1), format!("cat: {name}: No such file or directory\n")),
        },
        Some(("rm", name)) => {
            let code = i32::from(files.remove(&file(name)).is_none());
            outcome(Exit::Code(code), "")
        }
        Some(("exit", code)) => outcome(Exit::Code(code.parse().unwrap()), ""),
        _ => outcome(Exit::Code(127), format!("sh: 1: {line}: not found\n")),
    })
}

/// A sandbox in memory.
pub(super) struct FakeSandbox {
    pub(super) files: Files,
    pub(super) shell: Shell,
    /// Every command that was run.
    pub(super) commands: Vec<Command>,
}

impl FakeSandbox {
    pub(super) fn new(files: &[(&str, &str)]) -> FakeSandbox {
        FakeSandbox::with_shell(files, small_shell)
    }

    pub(super) fn with_shell(files: &[(&str, &str)], shell: Shell) -> FakeSandbox {
        let files = files
            .iter()
            .map(|(path, text)| (format!("{WORKSPACE}/{path}"), text.as_bytes().to_vec()))
            .collect();
        FakeSandbox { files, shell, commands: Vec::new() }
    }

    pub(super) fn text(&self, path: &str) -> String {
        String::from_utf8(self.files[&format!("{WORKSPACE}/{path}")].clone()).unwrap()
    }
}

fn system(code: &str, message: &str) -> FileError {
    FileError::System { code: code.to_string(), message: message.to_string() }
}

impl Sandbox for FakeSandbox {
    fn exec_until<'a>(
        &'a mut self,
        command: &'a Command,
        _enough: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<Outcome, SandboxError>> {
        self.commands.push(command.clone());
        let outcome = (self.shell)(&mut self.files, command);
        Box::pin(async move { outcome })
    }

    fn read<'a>(
        &'a mut self,
        path: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, FileError>> {
        let folder = format!("{path}/");
        let found = match self.files.get(path) {
            Some(bytes) => Ok(bytes[..bytes.len().min(limit)].to_vec()),
            None if self.files.keys().any(|file| file.starts_with(&folder)) => {
                Err(system("EISDIR", "is a directory"))
            }
            None => Err(system("ENOENT", "no such file or directory")),
        };
        Box::pin(async move { found })
    }

    fn write<'a>(
        &'a mut self,
        path: &'a str,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<(), FileError>> {
        let below_a_file = self.files.keys().any(|file| path.starts_with(&format!("{file}/")));
        let done = if below_a_file {
            Err(system("ENOTDIR", "not a directory"))
        } else {
            self.files.insert(path.to_string(), bytes.to_vec());
            Ok(())
        };
        Box::pin(async move { done })
    }

    fn close<'a>(
        self: Box<Self>,
        objects: &'a dyn Objects,
    ) -> BoxFuture<'a, Result<Closed, SandboxError>> {
        let root = format!("{WORKSPACE}/");
        let files: Vec<(String, Vec<u8>)> = self
            .files
            .into_iter()
            .filter_map(|(path, bytes)| Some((path.strip_prefix(&root)?.to_string(), bytes)))
            .collect();
        let workspace = objects.tree(&objects.put_files(&files).unwrap()).unwrap();
        Box::pin(
            async move { Ok(Closed { workspace, refused: vec!["pipe (a FIFO)".to_string()] }) },
        )
    }
}

/// Opens sandboxes in memory, and remembers with which limits.
#[derive(Default)]
pub(super) struct FakeBackend {
    pub(super) shell: Option<Shell>,
    pub(super) lacks: Option<String>,
    pub(super) opened: Mutex<Vec<Limits>>,
}

impl Backend for FakeBackend {
    fn name(&self) -> &'static str {
        "process"
    }

    fn open<'a>(
        &'a self,
        workspace: &'a Tree,
        objects: &'a dyn Objects,
        limits: &'a Limits,
    ) -> BoxFuture<'a, Result<Box<dyn Sandbox>, SandboxError>> {
        self.opened.lock().unwrap().push(limits.clone());
        let mut files = Files::new();
        for (path, entry) in &workspace.entries {
            if let Entry::File { digest, .. } = entry {
                files.insert(format!("{WORKSPACE}/{path}"), objects.get(digest).unwrap().to_vec());
            }
        }
        let shell = self.shell.unwrap_or(small_shell);
        let lacks = self.lacks.clone();
        Box::pin(async move {
            if let Some(what) = lacks {
                return Err(SandboxError::Unavailable { what, help: "run as root".to_string() });
            }
            Ok(Box::new(FakeSandbox { files, shell, commands: Vec::new() }) as Box<dyn Sandbox>)
        })
    }
}

/// A model that gives its answers in order, and keeps what it was asked.
pub(super) struct Script {
    answers: Vec<Result<Answer, ModelError>>,
    pub(super) asked: Mutex<Vec<Request>>,
}

impl Script {
    pub(super) fn new(answers: Vec<Result<Answer, ModelError>>) -> Arc<Script> {
        Arc::new(Script { answers, asked: Mutex::new(Vec::new()) })
    }
}

impl Model for Script {
    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelError>> {
        let mut asked = self.asked.lock().unwrap();
        let answer = self.answers[asked.len()].clone();
        asked.push(request.clone());
        Box::pin(async move { answer })
    }
}

/// An answer that calls tools.
pub(super) fn calls(calls: &[(&str, &str, Json)]) -> Result<Answer, ModelError> {
    let tool_calls = calls
        .iter()
        .map(|(id, name, arguments)| ToolCall {
            id: (*id).to_string(),
            name: (*name).to_string(),
            arguments: arguments.clone(),
        })
        .collect();
    Ok(Answer {
        content: String::new(),
        reasoning: String::new(),
        tool_calls,
        finish: Finish::ToolCalls,
        usage: Usage { input: 100, output: 10 },
    })
}

/// An answer in words alone.
pub(super) fn says(text: &str) -> Result<Answer, ModelError> {
    Ok(Answer {
        content: text.to_string(),
        reasoning: String::new(),
        tool_calls: Vec::new(),
        finish: Finish::Stop,
        usage: Usage { input: 120, output: 5 },
    })
}
