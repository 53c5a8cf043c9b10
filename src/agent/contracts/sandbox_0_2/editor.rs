//! `str_replace_editor`: look at a file, make one, replace a text in it, put lines into it.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use crate::agent::contract::CallLimits;
use crate::sandbox::{Sandbox, SandboxError};

use super::Defect;
use super::files::{Files, Found, python_text};

/// Lines shown on each side of a change.
const AROUND: usize = 4;
/// Characters shown of a file.
const SHOWN: usize = 10_000;
const CLIPPED: &str = "<response clipped><NOTE>To save on context only part of this file has been \
                       shown to you. You should retry this tool after you have searched inside the \
                       file with `grep -n` in order to find the line numbers of what you are looking \
                       for.</NOTE>";

type Arguments = Map<String, Json>;

/// Does one call and says what came of it.
pub(super) async fn edit(
    sandbox: &mut dyn Sandbox,
    arguments: &Arguments,
    limits: &CallLimits,
    defects: &BTreeSet<Defect>,
) -> Result<String, SandboxError> {
    let text = |name: &str| match arguments.get(name) {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let (command, path) = (text("command"), text("path"));
    if command.is_empty() || path.is_empty() {
        return Ok("Error: command and path are required.".to_string());
    }
    let shell = defects.contains(&Defect::ShellFiles);
    let files = Files { sandbox, limits, shell };
    let mut editor = Editor { files, path: &path, arguments, defects };
    let done = match command.as_str() {
        "view" => editor.view().await?,
        "create" => editor.create().await?,
        "str_replace" => editor.replace().await?,
        "insert" => editor.insert().await?,
        _ => Err(format!("Unknown command: {command}")),
    };
    Ok(done.unwrap_or_else(|told| told))
}

/// What a model is told, be it of success or of its own mistake.
type Told = Result<Result<String, String>, SandboxError>;

struct Editor<'a> {
    files: Files<'a>,
    path: &'a str,
    arguments: &'a Arguments,
    defects: &'a BTreeSet<Defect>,
}

impl Editor<'_> {
    fn has(&self, defect: Defect) -> bool {
        self.defects.contains(&defect)
    }

    /// A text argument; empty when it is absent.
    fn text(&self, name: &str) -> Result<String, String> {
        match self.arguments.get(name) {
            None | Some(Json::Null) => Ok(String::new()),
            Some(Json::String(text)) => Ok(text.clone()),
            Some(_) => Err(format!("Error: {name} must be text.")),
        }
    }

    /// A text as the model sees it, and as the original keeps it.
    fn spaced(&self, text: String) -> String {
        if self.has(Defect::Tabs) { without_tabs(&text) } else { text }
    }

    /// A text without carriage returns, which a model does not see. The original takes them out
    /// as it reads.
    fn shown(&self, text: String) -> String {
        let read_so = self.has(Defect::ShellFiles) || !text.contains('\r');
        if read_so { text } else { text.replace('\r', "") }
    }

    async fn view(&mut self) -> Told {
        let path = self.path;
        let python_only = self.has(Defect::PythonOnly);
        let text = match self.files.find(path).await? {
            Found::Folder => {
                let listed = self.files.list(path, python_only).await?;
                return Ok(Ok(format!(
                    "Here's the files and directories up to 2 levels deep in {path}, excluding \
                     hidden:\n{listed}"
                )));
            }
            Found::Nothing => return Ok(Err(format!("Error: Path not found: {path}"))),
            _ if python_only && !path.ends_with(".py") && !path.ends_with(".rst") => {
                return Ok(Err(format!(
                    "ERROR: Viewing non-Python files is disallowed for saving context. File \
                     '{path}' is not a .py or .rst file."
                )));
            }
            Found::Closed(why) => {
                return Ok(Err(format!("Error: Could not read file {path}: {why}")));
            }
            Found::File(text) | Found::Foreign(text) => text,
        };
        if text.is_empty() {
            return Ok(Ok(format!("(empty file: {path})")));
        }
        let text = self.spaced(self.shown(text));
        let lines: Vec<&str> = text.split('\n').collect();
        Ok(self.range(lines.len()).map(|(first, last)| {
            let numbered = numbered(&lines[first - 1..last], first);
            clipped(&format!("Here's the result of running `cat -n` on {path}:\n{numbered}"))
        }))
    }

    /// The first and the last line that are asked for.
    fn range(&self, total: usize) -> Result<(usize, usize), String> {
        let asked = match self.arguments.get("view_range") {
            None | Some(Json::Null) => return Ok((1, total)),
            Some(Json::Array(asked)) if asked.len() != 2 => return Ok((1, total)),
            Some(Json::Array(asked)) => asked,
            Some(_) => return Err("Error: view_range must be two whole numbers.".to_string()),
        };
        let (Some(start), Some(end)) = (asked[0].as_i64(), asked[1].as_i64()) else {
            return Err("Error: view_range must be two whole numbers.".to_string());
        };
        let most = total as i64;
        if !(1..=most).contains(&start) {
            return Err(format!(
                "Error: Invalid view_range [{start}, {end}]: start line must be in [1, {total}]"
            ));
        }
        if end != -1 && !(start..=most).contains(&end) {
            return Err(format!(
                "Error: Invalid view_range [{start}, {end}]: end must be >= start and <= {total}, \
                 or -1 to view until end."
            ));
        }
        let end = if end == -1 { most } else { end };
        Ok((start as usize, end as usize))
    }

    async fn create(&mut self) -> Told {
        let path = self.path;
        let text = match self.arguments.get("file_text") {
            None => String::new(),
            Some(Json::String(text)) => text.clone(),
            Some(other) if self.has(Defect::PythonText) => python_text(other),
            Some(Json::Null) => String::new(),
            Some(other) => other.to_string(),
        };
        if !self.has(Defect::Overwrite)
            && !matches!(self.files.find(path).await?, Found::Nothing | Found::Folder)
        {
            return Ok(Err(format!(
                "Error creating file: {path} exists already. Use str_replace or insert to change it."
            )));
        }
        // As the original does, the last line is ended; a line that has an end gets no second.
        let ended = if self.has(Defect::ShellFiles) || text.ends_with('\n') { "" } else { "\n" };
        if let Some(fault) = self.files.write(path, &format!("{text}{ended}"), true).await? {
            return Ok(Err(format!("Error creating file: {fault}")));
        }
        let listing = self.listing(&text, path, 1);
        Ok(Ok(format!(
            "File created at {path}. {listing}Review the file and make sure that it is as expected. \
             Edit the file if necessary."
        )))
    }

    async fn replace(&mut self) -> Told {
        let path = self.path;
        let (old, new) = match (self.text("old_str"), self.text("new_str")) {
            (Ok(old), Ok(new)) => (old, new),
            (Err(told), _) | (_, Err(told)) => return Ok(Err(told)),
        };
        if old.is_empty() {
            return Ok(Err("Error: old_str is required for str_replace.".to_string()));
        }
        let text = match self.content().await? {
            Ok(text) => self.spaced(text),
            Err(told) => return Ok(Err(told)),
        };
        if text.is_empty() {
            return Ok(Err(format!("Error: Could not read file {path}")));
        }
        let (mut old, mut new) = (self.spaced(old), self.spaced(new));
        if !text.contains(&old) && text.contains("\r\n") && !old.contains('\r') {
            // The model has not seen the file's line ends, and means them.
            (old, new) = (old.replace('\n', "\r\n"), with_line_ends(&new));
        }
        let before = match text.matches(&old).count() {
            0 => {
                return Ok(Err(format!(
                    "Error: No occurrences of old_str found in {path} for replacement."
                )));
            }
            1 => text.split(&old).next().unwrap_or_default(),
            many => {
                return Ok(Err(format!(
                    "Error: Multiple occurrences ({many}) of old_str found in {path}. Please ensure \
                     it is unique before using str_replace."
                )));
            }
        };
        let at = before.matches('\n').count();
        let edited = text.replacen(&old, &new, 1);
        if let Err(told) = self.rewrite(&edited).await? {
            return Ok(Err(told));
        }
        let lines: Vec<&str> = edited.split('\n').collect();
        let start = at.saturating_sub(AROUND);
        let end = (at + AROUND + new.matches('\n').count() + 1).min(lines.len());
        let snippet = lines[start..end].join("\n");
        let listing = self.listing(&snippet, &format!("a snippet of {path}"), start + 1);
        Ok(Ok(format!(
            "The file {path} has been edited. {listing}Review the changes and make sure they are as \
             expected. Edit the file again if necessary."
        )))
    }

    async fn insert(&mut self) -> Told {
        let path = self.path;
        let new = match self.text("new_str") {
            Ok(new) if new.is_empty() => {
                return Ok(Err("Error: new_str is required for insert.".to_string()));
            }
            Ok(new) => self.spaced(new),
            Err(told) => return Ok(Err(told)),
        };
        let at = match self.arguments.get("insert_line") {
            None => 0,
            Some(line) => match line.as_i64() {
                Some(line) => line,
                None => return Ok(Err("Error: insert_line must be a whole number.".to_string())),
            },
        };
        let text = match self.content().await? {
            Ok(text) => self.spaced(text),
            Err(told) => return Ok(Err(told)),
        };
        let new = if text.contains("\r\n") { with_line_ends(&new) } else { new };
        let lines: Vec<&str> =
            if text.is_empty() { Vec::new() } else { text.split('\n').collect() };
        let Some(at) = usize::try_from(at).ok().filter(|at| *at <= lines.len()) else {
            return Ok(Err(format!(
                "Error: Invalid insert_line {at}. Must be in [0, {}].",
                lines.len()
            )));
        };
        let (above, below) = lines.split_at(at);
        let mut added: Vec<&str> = new.split('\n').collect();
        let carriage = format!("{}\r", added.last().copied().unwrap_or_default());
        if text.contains("\r\n") && !below.is_empty() && !new.ends_with('\r') {
            // The line that follows ended with what the file's lines end with, and so must the new.
            added.pop();
            added.push(&carriage);
        }
        let mut edited = [above, &added, below].concat().join("\n");
        if below.is_empty() && !self.has(Defect::ShellFiles) && !edited.ends_with('\n') {
            edited.push('\n');
        }
        if let Err(told) = self.rewrite(&edited).await? {
            return Ok(Err(told));
        }
        let around = [
            &above[above.len().saturating_sub(AROUND)..],
            &added,
            &below[..below.len().min(AROUND)],
        ];
        let first = at.saturating_sub(AROUND) + 1;
        let listing =
            self.listing(&around.concat().join("\n"), "a snippet of the edited file", first);
        Ok(Ok(format!(
            "The file {path} has been edited. {listing}Review the changes and make sure they are as \
             expected (correct indentation, no duplicate lines, etc). Edit the file again if \
             necessary."
        )))
    }

    /// The text of the file that is to be changed.
    async fn content(&mut self) -> Told {
        let path = self.path;
        if self.has(Defect::ShellFiles) {
            return Ok(Ok(self.files.cat(path).await?));
        }
        Ok(match self.files.find(path).await? {
            Found::File(text) => Ok(text),
            Found::Nothing => Err(format!("Error: Path not found: {path}")),
            Found::Folder => Err(format!("Error: Could not read file {path}: it is a directory")),
            Found::Foreign(_) => {
                Err(format!("Error: Could not read file {path}: it is not UTF-8 text"))
            }
            Found::Closed(why) => Err(format!("Error: Could not read file {path}: {why}")),
        })
    }

    async fn rewrite(&mut self, text: &str) -> Result<Result<(), String>, SandboxError> {
        Ok(match self.files.write(self.path, text, false).await? {
            None => Ok(()),
            Some(_) if self.has(Defect::ShellFiles) => {
                Err(format!("Error writing file: {}", self.path))
            }
            Some(fault) => Err(format!("Error writing file: {fault}")),
        })
    }

    /// A part of a file under its headline, with the numbers of its lines.
    fn listing(&self, text: &str, of: &str, first: usize) -> String {
        let text = self.spaced(self.shown(clipped(text)));
        let lines: Vec<&str> = text.split('\n').collect();
        format!("Here's the result of running `cat -n` on {of}:\n{}\n", numbered(&lines, first))
    }
}

/// A text with the line ends that Windows has.
fn with_line_ends(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

fn numbered(lines: &[&str], first: usize) -> String {
    let lines: Vec<String> =
        lines.iter().zip(first..).map(|(line, number)| format!("{number:6}\t{line}")).collect();
    lines.join("\n")
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}{CLIPPED}", &text[..end]),
        None => text.to_string(),
    }
}

/// Tabs as the spaces up to the next column that eight divides.
fn without_tabs(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' => {
                let width = 8 - column % 8;
                spaced.extend(std::iter::repeat_n(' ', width));
                column += width;
            }
            '\n' | '\r' => {
                spaced.push(c);
                column = 0;
            }
            c => {
                spaced.push(c);
                column += 1;
            }
        }
    }
    spaced
}
