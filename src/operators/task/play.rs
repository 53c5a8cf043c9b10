//! Plays a reference solution in a sandbox: the four tools, without a model and without the texts
//! that a model would be shown. Only proofs use it; episodes have the real tools.

use serde_json::Value as Json;

use crate::sandbox::{Command, Exit, FileError, Sandbox, SandboxError};

use super::family::Call;

/// How long one command of a solution may take.
const COMMAND_MS: u64 = 20_000;
/// How much of a file an edit looks at.
const LARGEST: usize = 4 << 20;

/// Why a solution could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The solution is wrong: what the tool would have said.
    #[error("{0}")]
    Call(String),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl From<FileError> for PlayError {
    fn from(err: FileError) -> PlayError {
        match err {
            FileError::Sandbox(err) => PlayError::Sandbox(err),
            err => PlayError::Call(err.to_string()),
        }
    }
}

/// Plays the calls in order.
///
/// # Errors
/// At the first call that fails: a command that ends with anything but 0, an edit whose old text
/// does not stand in the file exactly once.
pub async fn play(sandbox: &mut dyn Sandbox, calls: &[Call]) -> Result<(), PlayError> {
    for call in calls {
        let text = |key: &str| {
            call.arguments
                .get(key)
                .and_then(Json::as_str)
                .ok_or_else(|| PlayError::Call(format!("`{}` wants the text `{key}`", call.name)))
        };
        match call.name.as_str() {
            "exec" => exec(sandbox, text("command")?).await?,
            "read" => {
                sandbox.read(text("path")?, LARGEST).await?;
            }
            "write" => sandbox.write(text("path")?, text("content")?.as_bytes()).await?,
            "edit" => {
                let edits = call.arguments.get("edits").and_then(Json::as_array);
                let edits = edits
                    .ok_or_else(|| PlayError::Call("`edit` wants a list `edits`".to_string()))?;
                edit(sandbox, text("path")?, edits).await?;
            }
            other => return Err(PlayError::Call(format!("there is no tool `{other}`"))),
        }
    }
    Ok(())
}

async fn exec(sandbox: &mut dyn Sandbox, line: &str) -> Result<(), PlayError> {
    let command = Command {
        argv: vec!["sh".to_string(), "-c".to_string(), line.to_string()],
        workdir: None,
        env: Vec::new(),
        stdin: Vec::new(),
        timeout_ms: COMMAND_MS,
        report: false,
    };
    let outcome = sandbox.exec(&command).await?;
    if outcome.exit == Exit::Code(0) {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&outcome.output);
    Err(PlayError::Call(format!("`{line}` ended with {:?}: {}", outcome.exit, output.trim())))
}

async fn edit(sandbox: &mut dyn Sandbox, path: &str, edits: &[Json]) -> Result<(), PlayError> {
    let bytes = sandbox.read(path, LARGEST).await?;
    let mut text =
        String::from_utf8(bytes).map_err(|_| PlayError::Call(format!("{path} is not UTF-8")))?;
    for edit in edits {
        let part = |key: &str| edit.get(key).and_then(Json::as_str);
        let (Some(old), Some(new)) = (part("oldText"), part("newText")) else {
            return Err(PlayError::Call("an edit wants `oldText` and `newText`".to_string()));
        };
        let times = text.matches(old).count();
        if times != 1 {
            return Err(PlayError::Call(format!(
                "`{old}` stands in {path} {times} times, not once"
            )));
        }
        text = text.replacen(old, new, 1);
    }
    Ok(sandbox.write(path, text.as_bytes()).await?)
}
