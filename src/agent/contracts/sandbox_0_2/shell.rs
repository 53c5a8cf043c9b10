//! `execute_bash`: a command in a new shell, its two streams apart.
//!
//! A sandbox keeps the order of what a command prints and so has one stream for both; the error
//! stream goes to the report's descriptor here. Of each stream the model sees the first and the last
//! forty lines.

use serde_json::{Map, Value as Json};

use crate::agent::contract::CallLimits;
use crate::sandbox::{Command, Exit, Sandbox, SandboxError};

/// Lines shown from each end of a stream that is longer than both together.
const ENDS: usize = 40;

/// What the original answers for a command that ran out of time.
const TIMED_OUT_CODE: i32 = 124;

/// Runs the command of a call and says what came of it.
pub(super) async fn execute(
    sandbox: &mut dyn Sandbox,
    arguments: &Map<String, Json>,
    limits: &CallLimits,
    timeout_by_code: bool,
) -> Result<String, SandboxError> {
    let line = match arguments.get("command") {
        Some(Json::String(line)) if !line.is_empty() => line,
        Some(Json::Null | Json::String(_)) | None => {
            return Ok("Error: No command provided.".to_string());
        }
        Some(_) => return Ok("Error: command must be text.".to_string()),
    };
    let argv = ["bash", "-c", "exec 2>&3 3>&-; exec bash -c \"$0\"", line];
    let command = Command {
        argv: argv.map(str::to_string).to_vec(),
        workdir: None,
        env: Vec::new(),
        stdin: Vec::new(),
        timeout_ms: limits.exec_ms,
        report: true,
    };
    let done = sandbox.exec(&command).await?;
    let mut out = text(&done.output);
    if done.dropped > 0 {
        out = format!("<the first {} bytes of the output were not kept>\n{out}", done.dropped);
    }
    let mut err = text(&done.report);
    let late =
        format!("The command took too long to execute (>{}s)", limits.exec_ms as f64 / 1_000.0);
    let timed_out =
        done.exit == Exit::TimedOut || (timeout_by_code && done.exit == Exit::Code(TIMED_OUT_CODE));
    let exit = match done.exit {
        _ if timed_out && timeout_by_code => {
            out = late;
            err.clear();
            "-1".to_string()
        }
        Exit::TimedOut => {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            out.push_str(&late);
            "-1".to_string()
        }
        Exit::Code(0) => "0".to_string(),
        Exit::Code(code) => format!("Error: Exit code {code}"),
        // A shell tells a signal so, and the original sees nothing but a shell.
        Exit::Signal(signal) => format!("Error: Exit code {}", 128 + signal),
        Exit::OutOfMemory => {
            if !err.is_empty() && !err.ends_with('\n') {
                err.push('\n');
            }
            err.push_str("The command was killed because it used too much memory.\n");
            "Error: Exit code 137".to_string()
        }
    };
    Ok(told(&exit, &out, &err))
}

/// The observation: the exit code and what is shown of the two streams.
fn told(exit: &str, out: &str, err: &str) -> String {
    let (out, err) = (ends(out), ends(err));
    let mut text =
        format!("Exit code: {exit}\nExecution output of \\[execute_bash]:\n\\[STDOUT]\n");
    if !blank(&out) {
        text.push_str(&out);
    }
    if !blank(&err) {
        text.push_str("\n\\[STDERR]\n");
        text.push_str(&err);
    }
    text
}

/// Whether there is nothing to see.
fn blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// A stream's text, without colours and carriage returns.
pub(super) fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.find(['\u{1b}', '\r']) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match rest.strip_prefix("\u{1b}[") {
            Some(code) => {
                let digits = code.bytes().take_while(|b| b.is_ascii_digit() || *b == b';').count();
                if code[digits..].starts_with('m') { digits + 3 } else { 0 }
            }
            None => usize::from(rest.starts_with('\r')),
        };
        if length == 0 {
            plain.push('\u{1b}');
        }
        rest = &rest[length.max(1)..];
    }
    plain.push_str(rest);
    plain
}

/// The first and the last lines of a long text; a short one as it is.
fn ends(text: &str) -> String {
    let lines = lines(text);
    if lines.len() <= 2 * ENDS {
        return text.to_string();
    }
    let divider = "-".repeat(50);
    format!(
        "{}\n{divider}\n<Observation truncated in middle for saving context>\n{divider}\n{}",
        lines[..ENDS].join("\n"),
        lines[lines.len() - ENDS..].join("\n")
    )
}

/// The lines of a text as Python's `splitlines` finds them: more characters than one end a line.
fn lines(text: &str) -> Vec<&str> {
    let is_end = |c: char| {
        matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}')
            || matches!(c, '\u{2028}' | '\u{2029}')
    };
    let mut lines: Vec<&str> = text.split(is_end).collect();
    if lines.last() == Some(&"") {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_eighty_lines_is_whole_and_one_more_is_cut() {
        let count = |n: usize| (0..n).map(|i| format!("{i}\n")).collect::<String>();
        assert_eq!(ends(&count(80)), count(80));
        let cut = ends(&count(81));
        assert!(
            cut.contains("\n39\n-----") && cut.contains("-----\n41\n") && cut.ends_with("\n80")
        );
    }

    #[test]
    fn colours_and_carriage_returns_go_and_other_escapes_stay() {
        assert_eq!(
            text(b"\x1b[1;31mred\x1b[0m\r\n\x1b[2Kx\x1by\xff"),
            "red\n\x1b[2Kx\x1by\u{fffd}"
        );
    }
}
