//! How the editor reaches files: as what they are, or through shell text as the original does.

use serde_json::Value as Json;

use crate::agent::contract::{CallLimits, workspace_path};
use crate::sandbox::{Command, Exit, FileError, Sandbox, SandboxError};

use super::shell;

/// Bytes that one argument of a program may have on Linux; the original's shell text is one.
const LONGEST_ARGUMENT: usize = 128 << 10;

/// What stands at a path.
pub(super) enum Found {
    /// A file with this text.
    File(String),
    /// A folder.
    Folder,
    /// Nothing.
    Nothing,
    /// A file that is not UTF-8 text, as well as it can be shown; changing it would damage it.
    Foreign(String),
    /// Something that cannot be shown, and why.
    Closed(String),
}

/// The files of a sandbox.
pub(super) struct Files<'a> {
    pub(super) sandbox: &'a mut dyn Sandbox,
    pub(super) limits: &'a CallLimits,
    /// Whether they are reached through shell text.
    pub(super) shell: bool,
}

impl Files<'_> {
    /// Looks at a path.
    pub(super) async fn find(&mut self, path: &str) -> Result<Found, SandboxError> {
        if self.shell {
            let look = format!(
                "test -d {path} && echo 'dir' || (test -f {path} && echo 'file' || echo 'notfound')"
            );
            return Ok(match self.line(&look).await?.0.trim() {
                "dir" => Found::Folder,
                "file" => Found::File(self.line(&format!("cat {path}")).await?.0),
                _ => Found::Nothing,
            });
        }
        let most = self.limits.file_bytes;
        Ok(match self.sandbox.read(&workspace_path(path), most + 1).await {
            Ok(bytes) if bytes.len() > most => {
                Found::Closed(format!("it has more than {most} bytes"))
            }
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Found::File(text),
                Err(err) => Found::Foreign(String::from_utf8_lossy(err.as_bytes()).into_owned()),
            },
            Err(FileError::Sandbox(err)) => return Err(err),
            Err(FileError::System { code, message }) => match code.as_str() {
                "EISDIR" => Found::Folder,
                "ENOENT" | "ENOTDIR" => Found::Nothing,
                _ => Found::Closed(message),
            },
        })
    }

    /// The text of a file, in the original's way: what `cat` prints, be it a complaint.
    pub(super) async fn cat(&mut self, path: &str) -> Result<String, SandboxError> {
        Ok(self.line(&format!("cat {path}")).await?.0)
    }

    /// Writes a file. What went wrong, if something did.
    pub(super) async fn write(
        &mut self,
        path: &str,
        text: &str,
        with_folders: bool,
    ) -> Result<Option<String>, SandboxError> {
        if self.shell {
            let folders = if with_folders {
                format!("mkdir -p $(dirname {path}) && ")
            } else {
                String::new()
            };
            let text = text.replace('\'', "'\"'\"'");
            let (said, failed) = self.line(&format!("{folders}echo '{text}' > {path}")).await?;
            return Ok(failed.then_some(said));
        }
        match self.sandbox.write(&workspace_path(path), text.as_bytes()).await {
            Ok(()) => Ok(None),
            Err(FileError::Sandbox(err)) => Err(err),
            Err(FileError::System { message, .. }) => Ok(Some(format!("{path}: {message}"))),
        }
    }

    /// What stands in a folder and in the folders in it, one path a line, without what is hidden.
    pub(super) async fn list(
        &mut self,
        path: &str,
        python_only: bool,
    ) -> Result<String, SandboxError> {
        let kinds =
            if python_only { "\\( -type d -o -name '*.py' -o -name '*.rst' \\)" } else { "" };
        if self.shell {
            let find = format!("find {path} -maxdepth 2 -not -path '*/.*' {kinds} | head -100");
            return Ok(self.line(&find).await?.0);
        }
        let find = format!(
            "{{ printf '%s\\n' \"$0\"; find \"$0\" -mindepth 1 -maxdepth 2 -name '.*' -prune -o \
             {kinds} -print | LC_ALL=C sort; }} | head -100"
        );
        Ok(self.run(vec!["bash".to_string(), "-c".to_string(), find, path.to_string()]).await?.0)
    }

    /// What a shell line prints, and whether the original takes it for a failure.
    async fn line(&mut self, line: &str) -> Result<(String, bool), SandboxError> {
        if line.len() >= LONGEST_ARGUMENT {
            // The original's program does not even start, and takes that for success.
            return Ok((String::new(), false));
        }
        self.run(vec!["bash".to_string(), "-c".to_string(), line.to_string()]).await
    }

    async fn run(&mut self, argv: Vec<String>) -> Result<(String, bool), SandboxError> {
        let timeout_ms = self.limits.exec_ms;
        let (workdir, env, stdin) = (None, Vec::new(), Vec::new());
        let command = Command { argv, workdir, env, stdin, timeout_ms, report: false };
        let done = self.sandbox.exec(&command).await?;
        if done.exit == Exit::TimedOut {
            let seconds = timeout_ms as f64 / 1_000.0;
            return Ok((format!("The command took too long to execute (>{seconds}s)"), false));
        }
        Ok((shell::text(&done.output), done.exit != Exit::Code(0)))
    }
}

/// A JSON value as Python prints it.
pub(super) fn python_text(value: &Json) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Json::Null => "None".to_string(),
        Json::Bool(true) => "True".to_string(),
        Json::Bool(false) => "False".to_string(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => python_quoted(text),
        Json::Array(items) => format!("[{}]", list(items.iter().map(python_text).collect())),
        Json::Object(fields) => {
            let field = |(name, value): (&String, &Json)| {
                format!("{}: {}", python_quoted(name), python_text(value))
            };
            format!("{{{}}}", list(fields.iter().map(field).collect()))
        }
    }
}

fn python_quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut quoted = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c == quote => quoted.extend(['\\', c]),
            c if c < ' ' || c == '\u{7f}' => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push(quote);
    quoted
}
