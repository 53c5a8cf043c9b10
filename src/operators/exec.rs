//! `exec.run`, `exec.file` and `exec.rows`: any command, with what it reads and gives declared.
//!
//! A command runs in a sandbox of its own, in a workspace made of its declared inputs. It counts as
//! pure: where it ran and under which limits is not a part of its key, since a run that a limit
//! ended is a failure, and failures are not kept. The image that its programs came from is.
//!
//! Secrets come as variables of its environment. Of what it prints they are masked, and a file or a
//! row that holds one makes the call fail, since everything else that it leaves is kept.

use std::collections::BTreeMap;

use futures::future::BoxFuture;

use crate::engine::{About, Args, CallError, Context, Kind, Operator, Pool};
use crate::lang::{Value, large_integer};
use crate::sandbox::{Command, Exit};
use crate::store::{Digest, Entry, Objects, Tree};

use super::misread::in_words;
use super::place::{Backends, Place};

/// Wall time of a command where nothing else is said: ten minutes.
const TIME_MS: u64 = 600_000;

/// The file of the workspace that takes the rows: standard output must not mix with what is said
/// beside it.
const ROWS: &str = ".claw-rows.jsonl";

/// What a command is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// What it printed and the files that it left.
    Done,
    /// One file.
    File,
    /// Rows: one JSON object a line of standard output.
    Rows,
}

/// `exec.run`, `exec.file`, `exec.rows`.
pub struct Exec {
    gives: Gives,
    backends: Backends,
}

impl Exec {
    /// Runs commands in sandboxes of these backends.
    pub fn new(gives: Gives, backends: Backends) -> Exec {
        Exec { gives, backends }
    }

    async fn run(&self, args: &Args, context: &Context) -> Result<Value, CallError> {
        let objects = &*context.objects;
        let place = Place::of(args.get("sandbox")?, &self.backends)?;
        let before = workspace(args, objects)?;
        let outputs = match self.gives {
            Gives::Done => texts(args, "outputs")?,
            Gives::File => vec![args.str("output")?.to_string()],
            Gives::Rows => Vec::new(),
        };
        let outputs = outputs.iter().map(|path| left(path)).collect::<Result<Vec<_>, _>>()?;
        let script = args.str("command")?;
        if script.contains('\0') {
            return Err(CallError::row("`command` holds a NUL, which no program can be given"));
        }
        let (argv, stdin) = match self.gives {
            Gives::Rows => {
                let keep = format!("exec >{ROWS}; eval \"$1\"");
                let argv = vec!["sh".to_string(), "-c".to_string(), keep, "sh".to_string()];
                (argv, lines(args, objects)?)
            }
            _ => (vec!["sh".to_string(), "-c".to_string()], args.str("stdin")?.as_bytes().to_vec()),
        };
        let command = Command {
            argv: argv.into_iter().chain([script.to_string()]).collect(),
            workdir: None,
            env: secrets(args, context)?,
            stdin,
            timeout_ms: place.time_ms.unwrap_or(TIME_MS),
            report: false,
        };
        let broken = |err: crate::sandbox::SandboxError| CallError::Infrastructure(err.to_string());
        let opened = place.backend.open(&before, objects, &place.limits).await;
        let mut sandbox = opened.map_err(broken)?;
        let outcome = sandbox.exec(&command).await.map_err(broken)?;
        // What it left is read and kept while the next command computes.
        context.held.give_back();
        let printed = context.secrets.masked(&outcome.output, outcome.dropped > 0);
        let printed = String::from_utf8_lossy(&printed).into_owned();
        let ended = match outcome.exit {
            Exit::Code(0) => None,
            Exit::Code(127) => Some("ended with 127: a program in it was not found".to_string()),
            Exit::Code(code) => Some(format!("ended with {code}")),
            Exit::Signal(signal) => Some(format!("was ended by signal {signal}")),
            Exit::TimedOut => Some(format!("ran longer than {} ms", command.timeout_ms)),
            Exit::OutOfMemory => {
                Some(format!("used more than {} MiB of memory", place.limits.memory >> 20))
            }
        };
        if let Some(ended) = ended {
            let message = match printed.trim_end().lines().last() {
                Some(line) => format!("the command {ended}: {line}"),
                None => format!("the command {ended}"),
            };
            return Err(CallError::Row { message, output: printed });
        }
        // Of a command that is for one file, nothing else is kept.
        let wanted = match self.gives {
            Gives::File => outputs.first().map(String::as_str),
            Gives::Rows => Some(ROWS),
            Gives::Done => None,
        };
        let closed = match wanted {
            Some(path) => sandbox.close_for(path, objects).await,
            None => sandbox.close(objects).await,
        };
        let closed = closed.map_err(broken)?;
        let after = &closed.workspace;
        let file = wanted.and_then(|path| match after.entries.get(path) {
            Some(Entry::File { digest, .. }) => Some((path, digest)),
            _ => None,
        });
        if let (None, Some(refused)) = (file, closed.refused.first()) {
            return Err(CallError::row(format!("the command left {refused}, which is not kept")));
        }
        match (self.gives, file) {
            (Gives::Done, _) => {
                let files = if outputs.is_empty() {
                    changed(&before, after)
                } else {
                    declared(after, &outputs)?
                };
                let files = Value::Dir(objects.put_tree(&files)?);
                Ok(Value::record([("printed", Value::Str(printed)), ("files", files)]))
            }
            (Gives::File, Some((path, digest))) => {
                let name = path.rsplit('/').next().unwrap_or(path).to_string();
                Ok(Value::File { digest: *digest, name })
            }
            (Gives::File, None) => {
                let output = wanted.unwrap_or_default();
                if is_folder(after, output) {
                    return Err(CallError::row(format!(
                        "`{output}` is a folder, and `exec.file` gives one file\n  help: \
                         `exec.run(…, outputs: [\"{output}\"])` gives folders, as its `files`; or \
                         name the file in it: `output: \"{output}/…\"`"
                    )));
                }
                Err(absent(output, &changed(&before, after)))
            }
            (Gives::Rows, Some((_, digest))) => rows(&objects.get(digest)?),
            (Gives::Rows, None) => Ok(Value::List(Vec::new())),
        }
    }
}

impl Operator for Exec {
    fn about(&self) -> About {
        About {
            name: match self.gives {
                Gives::Done => "exec.run",
                Gives::File => "exec.file",
                Gives::Rows => "exec.rows",
            },
            version: 1,
            kind: Kind::Pure,
            // A command computes; it does not wait for a model, as a rollout does.
            pool: Pool::Cpu,
        }
    }

    fn reads(&self, args: &Args, _: &dyn Objects) -> Result<Args, CallError> {
        let mut narrow = args.clone();
        // Who passes none has the keys of before there were any.
        if let Some(Value::Record(secrets)) = narrow.0.get("secrets")
            && secrets.is_empty()
        {
            narrow.0.remove("secrets");
        }
        if let Some(sandbox) = narrow.0.remove("sandbox")
            && let Some(image) = Place::image(&sandbox)
        {
            narrow.0.insert("image".to_string(), image.clone());
        }
        Ok(narrow)
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(self.run(args, context))
    }
}

/// The variables that hold the secrets of a command.
fn secrets(args: &Args, context: &Context) -> Result<Vec<(String, String)>, CallError> {
    let Value::Record(secrets) = args.get("secrets")? else {
        return Err(CallError::row("argument `secrets` is not a record"));
    };
    let variable = |(name, handle): (&String, &Value)| {
        Ok((name.clone(), context.secrets.value(handle)?.to_string()))
    };
    secrets.iter().map(variable).collect()
}

/// The workspace that `inputs` and `folders` make.
fn workspace(args: &Args, objects: &dyn Objects) -> Result<Tree, CallError> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    let mut add = |path: String, entry: Entry| match entries.insert(path.clone(), entry) {
        None => Ok(()),
        Some(_) => Err(CallError::row(format!("two inputs are to be at `{path}`"))),
    };
    for folder in args.rows("folders", objects)? {
        let path = inside(&folder)?;
        let Some(Value::Dir(digest)) = folder.get("from") else {
            return Err(CallError::row(format!("the folder for `{path}` is not a directory")));
        };
        for (name, entry) in objects.tree(digest)?.entries {
            let below = if path.is_empty() { name } else { format!("{path}/{name}") };
            add(below, entry)?;
        }
    }
    for input in args.rows("inputs", objects)? {
        let path = inside(&input)?;
        let Some(Value::File { digest, .. }) = input.get("from") else {
            return Err(CallError::row(format!("the input for `{path}` is not a file")));
        };
        let size = objects.size(digest)?;
        add(path, Entry::File { digest: *digest, size, executable: false })?;
    }
    Ok(Tree { entries })
}

/// The `path` of an input, without `.`; it stays inside the workspace.
fn inside(input: &Value) -> Result<String, CallError> {
    let path = input.get("path").and_then(Value::as_str).unwrap_or_default();
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if path.starts_with('/') || parts.contains(&"..") {
        return Err(CallError::row(format!("`{path}` is not a path inside the workspace")));
    }
    Ok(parts.join("/"))
}

/// The rows that a command is given, one a line.
fn lines(args: &Args, objects: &dyn Objects) -> Result<Vec<u8>, CallError> {
    let mut lines = Vec::new();
    for row in args.rows("rows", objects)? {
        lines.extend_from_slice(row.to_json().to_string().as_bytes());
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The rows that a command gave, one a line.
fn rows(bytes: &[u8]) -> Result<Value, CallError> {
    let mut rows = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let refuse = |why: String| {
            let message = format!("line {} of its output is not a row{why}", number + 1);
            CallError::Row { message, output: String::from_utf8_lossy(line).into_owned() }
        };
        let json: serde_json::Value = serde_json::from_slice(line).map_err(|err| {
            let line = String::from_utf8_lossy(line);
            // Theirs counts bytes.
            let before = line.char_indices().take_while(|(at, _)| at + 1 < err.column());
            refuse(format!(", column {}: {}", before.count() + 1, in_words(&err)))
        })?;
        let large = std::str::from_utf8(line).ok().and_then(large_integer);
        if let Some(large) = large {
            let message = format!("line {} of its output, {large}", number + 1);
            return Err(CallError::Row {
                message,
                output: String::from_utf8_lossy(line).into_owned(),
            });
        }
        rows.push(Value::from_json(&json));
    }
    Ok(Value::List(rows))
}

/// The path of a declared output, without `.`; it lies in the workspace and is not the whole of it.
fn left(output: &str) -> Result<String, CallError> {
    let parts: Vec<&str> = output.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if output.starts_with('/') || parts.contains(&"..") || parts.is_empty() {
        return Err(CallError::row(format!(
            "`{output}` is nothing that a command can leave: name files and folders in the workspace"
        )));
    }
    Ok(parts.join("/"))
}

/// Whether there is a folder of that name.
fn is_folder(tree: &Tree, path: &str) -> bool {
    let below = format!("{path}/");
    matches!(tree.entries.get(path), Some(Entry::EmptyDir))
        || tree.entries.keys().any(|name| name.starts_with(&below))
}

fn texts(args: &Args, name: &str) -> Result<Vec<String>, CallError> {
    match args.get(name)? {
        Value::List(items) => {
            Ok(items.iter().filter_map(Value::as_str).map(str::to_string).collect())
        }
        _ => Err(CallError::row(format!("argument `{name}` is not a list"))),
    }
}

/// What is new in a workspace, or other than it was.
fn changed(before: &Tree, after: &Tree) -> Tree {
    let digest = |entry: Option<&Entry>| -> Option<Digest> {
        match entry? {
            Entry::File { digest, .. } => Some(*digest),
            _ => None,
        }
    };
    let is_new = |(path, entry): &(&String, &Entry)| match entry {
        Entry::File { digest: now, .. } => digest(before.entries.get(*path)) != Some(*now),
        other => before.entries.get(*path) != Some(other),
    };
    let entries = after.entries.iter().filter(is_new);
    Tree { entries: entries.map(|(path, entry)| (path.clone(), entry.clone())).collect() }
}

/// The declared outputs: files, and folders with all that is in them.
fn declared(after: &Tree, outputs: &[String]) -> Result<Tree, CallError> {
    let mut entries = BTreeMap::new();
    for output in outputs {
        let path = output.as_str();
        let below = format!("{path}/");
        let found: Vec<(String, Entry)> = after
            .entries
            .iter()
            .filter(|(name, _)| *name == path || name.starts_with(&below))
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect();
        if found.is_empty() {
            return Err(absent(output, after));
        }
        entries.extend(found);
    }
    Ok(Tree { entries })
}

fn absent(output: &str, left: &Tree) -> CallError {
    let names: Vec<&str> = left.entries.keys().take(5).map(String::as_str).collect();
    let left = if names.is_empty() { "nothing".to_string() } else { names.join(", ") };
    CallError::row(format!("the command did not leave `{output}`; it left {left}"))
}
