//! `exec`: a shell command runs to its end, and the model sees what it printed.

use serde_json::Value as Json;

use crate::agent::contract::{CallLimits, workspace_path};
use crate::sandbox::{Command, Exit, Outcome, Sandbox, SandboxError, WORKSPACE};

use super::{Arguments, Fault};

/// UTF-16 units of output that the model sees; of a longer one the end.
const SHOWN: usize = 200_000;

/// How long looking for a working directory may take.
const LOOK_MS: u64 = 5_000;

pub(super) async fn exec(
    sandbox: &mut dyn Sandbox,
    arguments: &Arguments,
    limits: &CallLimits,
) -> Result<String, Fault> {
    let command = arguments.get("command").and_then(Json::as_str).unwrap_or_default();
    if command.is_empty() {
        return Err(Fault::Told("Provide a command to start.".to_string()));
    }
    let mut warnings = Vec::new();
    if arguments.get("background") == Some(&Json::Bool(true)) || arguments.contains_key("yieldMs") {
        warnings
            .push("Warning: background execution is disabled; running synchronously.".to_string());
    }
    let workdir = match arguments.get("workdir").and_then(Json::as_str).map(str::trim) {
        None | Some("") => None,
        Some(asked) => {
            let full = workspace_path(asked);
            if full == WORKSPACE || is_folder(sandbox, &full).await? {
                Some(full)
            } else {
                warnings.push(format!(
                    "Warning: workdir \"{asked}\" is unavailable; using \"{WORKSPACE}\"."
                ));
                None
            }
        }
    };
    let env = arguments
        .get("env")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_string()))
        .collect();
    let timeout_ms = timeout(arguments.get("timeout").and_then(Json::as_f64), limits.exec_ms);
    let command = Command {
        argv: vec!["sh".to_string(), "-c".to_string(), command.to_string()],
        workdir,
        env,
        stdin: Vec::new(),
        timeout_ms,
        report: false,
    };
    let outcome = sandbox.exec(&command).await?;
    let warnings: String = match warnings.is_empty() {
        true => String::new(),
        false => warnings.join("\n") + "\n\n",
    };
    Ok(warnings + &told(&outcome, timeout_ms))
}

/// The milliseconds that a command may run: what the model asked for, at most what the agent allows.
fn timeout(asked_seconds: Option<f64>, allowed_ms: u64) -> u64 {
    match asked_seconds {
        Some(seconds) if seconds > 0.0 => ((seconds * 1000.0) as u64).clamp(1, allowed_ms.max(1)),
        _ => allowed_ms,
    }
}

async fn is_folder(sandbox: &mut dyn Sandbox, path: &str) -> Result<bool, SandboxError> {
    let argv = ["sh", "-c", "cd -- \"$0\"", path].map(str::to_string).to_vec();
    let look = Command {
        argv,
        workdir: None,
        env: Vec::new(),
        stdin: Vec::new(),
        timeout_ms: LOOK_MS,
        report: false,
    };
    Ok(sandbox.exec(&look).await?.exit == Exit::Code(0))
}

/// What the model is told of an outcome.
fn told(outcome: &Outcome, timeout_ms: u64) -> String {
    let printed = printed(outcome);
    let reason = match outcome.exit {
        Exit::Code(0) => {
            return if printed.is_empty() { "(no output)".to_string() } else { printed };
        }
        Exit::Code(code) if code != 126 && code != 127 => {
            let printed = if printed.is_empty() { "(no output)" } else { &printed };
            return format!("{printed}\n\n(Command exited with code {code})");
        }
        Exit::Code(127) => "Command not found".to_string(),
        Exit::Code(_) => "Command not executable (permission denied)".to_string(),
        Exit::TimedOut => format!(
            "Command timed out after {} seconds. If this command is expected to take longer, re-run \
             with a higher timeout (e.g., exec timeout=300).",
            timeout_ms as f64 / 1000.0
        ),
        Exit::Signal(signal) => format!("Command aborted by signal {}", signal_name(signal)),
        // The kernel kills it with SIGKILL, and the original tells no more.
        Exit::OutOfMemory => "Command aborted by signal SIGKILL".to_string(),
    };
    if printed.is_empty() { reason } else { format!("{printed}\n\n{reason}") }
}

/// The output as text: its end when it is long, without control and invisible characters, trimmed.
fn printed(outcome: &Outcome) -> String {
    let mut bytes = outcome.output.as_slice();
    if outcome.dropped > 0 {
        // The cut may have gone through a character.
        let broken = bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
        bytes = &bytes[broken..];
    }
    let text: String = String::from_utf8_lossy(bytes)
        .chars()
        .filter(|c| match c {
            '\t' | '\n' | '\r' => true,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => false,
            '\u{2060}'..='\u{2064}' | '\u{feff}' => false,
            c => *c >= ' ',
        })
        .collect();
    let mut units = 0;
    let start = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| {
            units += c.len_utf16();
            units <= SHOWN
        })
        .last()
        .map_or(text.len(), |(at, _)| at);
    text[start..].trim().to_string()
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        other => return other.to_string(),
    };
    name.to_string()
}
