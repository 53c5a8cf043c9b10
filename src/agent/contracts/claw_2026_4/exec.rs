//! `exec`: a shell command runs, and the model sees what it printed.
//!
//! Where there is `process` to go on with, a command that takes long becomes a session: at once when
//! the model asks for it, else after ten seconds. Where there is not, it runs to its end. There is no
//! terminal in a sandbox; a command that asks for one (`pty`) is told what the original tells when it
//! cannot make one, and gets what it gets then: a pipe that stays open as its standard input.

use serde_json::Value as Json;

use crate::agent::contract::{CallLimits, workspace_path};
use crate::sandbox::{
    Command, Exit, Launched, Outcome, Patience, Sandbox, SandboxError, WORKSPACE,
};

use super::names::last_units;
use super::sessions::Sessions;
use super::{Arguments, Fault};

/// UTF-16 units of output that the model sees; of a longer one the end.
const SHOWN: usize = 200_000;

/// How long looking for a working directory may take.
const LOOK_MS: u64 = 5_000;

/// How long the model waits for a command before it becomes a session, where it does not say; and
/// the bounds of what it may say.
const YIELD_MS: f64 = 10_000.0;
const YIELDS_MS: (f64, f64) = (10.0, 120_000.0);

pub(super) async fn exec(
    sandbox: &mut dyn Sandbox,
    sessions: Option<&mut Sessions>,
    arguments: &Arguments,
    limits: &CallLimits,
) -> Result<String, Fault> {
    let command = arguments.get("command").and_then(Json::as_str).unwrap_or_default();
    if command.is_empty() {
        return Err(Fault::Told("Provide a command to start.".to_string()));
    }
    let mut warnings = Vec::new();
    let sessions = sessions.filter(|_| sandbox.background().is_some());
    let at_once = arguments.get("background") == Some(&Json::Bool(true));
    let terminal = sessions.is_some() && arguments.get("pty") == Some(&Json::Bool(true));
    if sessions.is_none() && (at_once || arguments.contains_key("yieldMs")) {
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
    if terminal {
        warnings.push(format!(
            "Warning: PTY spawn failed (Error: no terminals in this sandbox); retrying without PTY \
             for `{command}`."
        ));
    }
    let seconds = arguments.get("timeout").and_then(Json::as_f64);
    let timeout_ms = timeout(seconds, limits.exec_ms);
    let line = command;
    let command = Command {
        argv: vec!["sh".to_string(), "-c".to_string(), line.to_string()],
        workdir,
        env,
        stdin: Vec::new(),
        timeout_ms,
        report: false,
    };
    let warnings: String = match warnings.is_empty() {
        true => String::new(),
        false => warnings.join("\n") + "\n\n",
    };
    let (Some(sessions), Some(background)) = (sessions, sandbox.background()) else {
        let outcome = sandbox.exec(&command).await?;
        return Ok(warnings + &told(&outcome, timeout_ms));
    };
    let patience = patience(arguments, terminal, timeout_ms);
    Ok(match background.start(&command, &patience).await? {
        Launched::Ended(outcome) => warnings + &told(&outcome, timeout_ms),
        Launched::Runs { number, pid } => {
            let id = sessions.add(line, number, terminal);
            format!(
                "{warnings}Command still running (session {id}, pid {pid}). Use process \
                 (list/poll/log/write/kill/clear/remove) for follow-up."
            )
        }
    })
}

/// How long the model waits, and how long the command may run. One that the model means to leave
/// running has no limit but the model's own.
fn patience(arguments: &Arguments, terminal: bool, timeout_ms: u64) -> Patience {
    let at_once = arguments.get("background") == Some(&Json::Bool(true));
    let asked = arguments.get("yieldMs").and_then(Json::as_f64);
    let wait = asked.unwrap_or(YIELD_MS).clamp(YIELDS_MS.0, YIELDS_MS.1);
    let seconds = arguments.get("timeout").and_then(Json::as_f64);
    let own = seconds.filter(|seconds| *seconds > 0.0).map(|seconds| (seconds * 1000.0) as u64);
    Patience {
        wait_ms: if at_once { 0 } else { wait as u64 },
        timeout_ms: if at_once || asked.is_some() { own } else { Some(timeout_ms) },
        open_input: terminal,
    }
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
pub(in crate::agent) fn printed(outcome: &Outcome) -> String {
    let mut bytes = outcome.output.as_slice();
    if outcome.dropped > 0 {
        // The cut may have gone through a character.
        let broken = bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
        bytes = &bytes[broken..];
    }
    last_units(&visible(&String::from_utf8_lossy(bytes)), SHOWN).trim().to_string()
}

/// A text without control and invisible characters.
pub(super) fn visible(text: &str) -> String {
    let seen = |c: &char| match c {
        '\t' | '\n' | '\r' => true,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => false,
        '\u{2060}'..='\u{2064}' | '\u{feff}' => false,
        c => *c >= ' ',
    };
    text.chars().filter(seen).collect()
}

pub(in crate::agent) fn signal_name(signal: i32) -> String {
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
