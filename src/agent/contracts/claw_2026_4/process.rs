//! `process`: what the model does with commands that `exec` left running.

use serde_json::Value as Json;

use crate::sandbox::{Background, Sandbox, SandboxError, Unfed};

use super::keys::{self, Cursor};
use super::names;
use super::sessions::{Ended, Session, Sessions};
use super::{Arguments, Fault};

/// The longest that a `poll` waits.
const LONGEST_POLL_MS: f64 = 120_000.0;
/// Lines of a `log` that asks for none in particular.
const LOG_LINES: f64 = 200.0;

pub(super) async fn process(
    sandbox: &mut dyn Sandbox,
    sessions: &mut Sessions,
    arguments: &Arguments,
) -> Result<String, Fault> {
    let text = |name: &str| arguments.get(name).and_then(Json::as_str).unwrap_or_default();
    let number = |name: &str| arguments.get(name).and_then(Json::as_f64);
    // Without background commands there are no sessions, and every action says so.
    let mut background = sandbox.background();
    if let Some(background) = &mut background {
        for session in sessions.all.iter_mut().filter(|session| session.ended.is_none()) {
            session.take_in(background.listen(session.number, 0).await?);
        }
    }
    let (action, id) = (text("action"), text("sessionId"));
    if action == "list" {
        return Ok(list(sessions));
    }
    if id.is_empty() {
        return Ok("sessionId is required for this action.".to_string());
    }
    let (Some(session), Some(background)) = (sessions.get(id), background) else {
        return Ok(match action {
            "write" | "send-keys" | "submit" | "paste" | "kill" => {
                format!("No active session found for {id}")
            }
            "clear" => format!("No finished session found for {id}"),
            "poll" | "log" | "remove" => format!("No session found for {id}"),
            _ => format!("Unknown action {action}"),
        });
    };
    Ok(match action {
        "poll" => {
            if let Some(ended) = &session.ended {
                return Ok(format!("{}{}", session.last_words(), exited(ended)));
            }
            let wait = number("timeout").unwrap_or(0.0).floor().clamp(0.0, LONGEST_POLL_MS);
            if wait > 0.0 {
                session.take_in(background.listen(session.number, wait as u64).await?);
            }
            polled(session)
        }
        "log" => log(session, number("offset"), number("limit")),
        "write" => {
            let (data, close) = (text("data"), arguments.get("eof") == Some(&Json::Bool(true)));
            match feed(session, background, data, close).await? {
                Some(refusal) => refusal,
                None => {
                    let closed = if close { " (stdin closed)" } else { "" };
                    format!("Wrote {} bytes to session {id}{closed}.", units(data))
                }
            }
        }
        "send-keys" => send_keys(session, background, arguments).await?,
        "submit" => match feed(session, background, "\r", false).await? {
            Some(refusal) => refusal,
            None => format!("Submitted session {id} (sent CR)."),
        },
        "paste" => {
            let pasted = text("text");
            let bare = arguments.get("bracketed") == Some(&Json::Bool(false));
            let data = match bare {
                true => pasted.to_string(),
                false => format!("\u{1b}[200~{pasted}\u{1b}[201~"),
            };
            match refusal(session) {
                Some(refusal) => refusal,
                None if data.is_empty() => "No paste text provided.".to_string(),
                None => match feed(session, background, &data, false).await? {
                    Some(refusal) => refusal,
                    None => format!("Pasted {} chars to session {id}.", units(pasted)),
                },
            }
        }
        "kill" if session.ended.is_none() => {
            background.stop(session.number).await?;
            format!("Termination requested for session {id}.")
        }
        "kill" => format!("No active session found for {id}"),
        "clear" if session.ended.is_some() => {
            sessions.forget(id);
            format!("Cleared session {id}.")
        }
        "clear" => format!("No finished session found for {id}"),
        "remove" if session.ended.is_none() => {
            background.stop(session.number).await?;
            // Its end is fetched, so that the sandbox forgets it as well.
            background.listen(session.number, 0).await?;
            sessions.forget(id);
            format!("Removed session {id} (termination requested).")
        }
        "remove" => {
            sessions.forget(id);
            format!("Removed session {id}.")
        }
        _ => format!("Unknown action {action}"),
    })
}

/// One line a session, the youngest first.
fn list(sessions: &Sessions) -> String {
    let line = |session: &Session| {
        let status = match &session.ended {
            None => "running",
            Some(Ended { failed: false, .. }) => "completed",
            Some(Ended { failed: true, .. }) => "failed",
        };
        let (ran, label) = (names::duration(session.ran_ms), names::label(&session.command));
        format!("{} {status:9} {ran} :: {label}", session.id)
    };
    match sessions.all.is_empty() {
        true => "No running or recent sessions.".to_string(),
        false => sessions.all.iter().rev().map(line).collect::<Vec<_>>().join("\n"),
    }
}

/// What is new of a session that was running when it was asked about.
fn polled(session: &mut Session) -> String {
    let said = session.tell();
    let said = if said.is_empty() { "(no new output)".to_string() } else { said };
    match &mut session.ended {
        None => format!("{said}\n\nProcess still running."),
        Some(ended) => {
            // Seen from here, other than from `exec`, every code but 0 is a failure.
            ended.failed = ended.exit != crate::sandbox::Exit::Code(0);
            format!("{said}{}", exited(ended))
        }
    }
}

fn exited(ended: &Ended) -> String {
    format!("\n\nProcess exited with {}.", ended.told())
}

fn log(session: &Session, offset: Option<f64>, limit: Option<f64>) -> String {
    let usual = offset.is_none() && limit.is_none();
    let (lines, total) = session.lines(offset, if usual { Some(LOG_LINES) } else { limit });
    let note = match usual && total as f64 > LOG_LINES {
        true => {
            format!("\n\n[showing last {LOG_LINES} of {total} lines; pass offset/limit to page]")
        }
        false => String::new(),
    };
    match (lines.is_empty(), &session.ended) {
        (false, _) => lines + &note,
        (true, None) => format!("(no output yet){note}"),
        (true, Some(_)) => format!("(no output recorded){note}"),
    }
}

async fn send_keys(
    session: &mut Session,
    background: &mut dyn Background,
    arguments: &Arguments,
) -> Result<String, Fault> {
    if let Some(refusal) = refusal(session) {
        return Ok(refusal);
    }
    let list = |name: &str| -> Vec<String> {
        let items = arguments.get(name).and_then(Json::as_array).into_iter().flatten();
        items.filter_map(Json::as_str).map(str::to_string).collect()
    };
    let tokens = list("keys");
    if session.cursor == Cursor::Unknown && keys::depend_on_cursor(&tokens) {
        return Ok(format!(
            "Session {} cursor key mode is not known yet. Poll or log until startup output appears, \
             then retry send-keys.",
            session.id
        ));
    }
    let mut data = arguments.get("literal").and_then(Json::as_str).unwrap_or_default().to_string();
    let mut warnings = Vec::new();
    for raw in list("hex") {
        match keys::hex_byte(&raw) {
            Some(byte) => data.push(byte),
            None => warnings.push(format!("Invalid hex byte: {raw}")),
        }
    }
    let (typed, wrong) = keys::encode(&tokens, session.cursor);
    data.push_str(&typed);
    warnings.extend(wrong);
    if data.is_empty() {
        return Ok("No key data provided.".to_string());
    }
    if let Some(refusal) = feed(session, background, &data, false).await? {
        return Ok(refusal);
    }
    let warnings = match warnings.is_empty() {
        true => String::new(),
        false => format!("\nWarnings:\n- {}", warnings.join("\n- ")),
    };
    Ok(format!("Sent {} bytes to session {}.{warnings}", units(&data), session.id))
}

/// Why nothing can be written to a session, if so.
fn refusal(session: &Session) -> Option<String> {
    if session.ended.is_some() {
        return Some(format!("No active session found for {}", session.id));
    }
    (!session.has_input).then(|| unwritable(session))
}

fn unwritable(session: &Session) -> String {
    format!("Session {} stdin is not writable.", session.id)
}

/// Writes to a session; says why not.
async fn feed(
    session: &mut Session,
    background: &mut dyn Background,
    data: &str,
    close: bool,
) -> Result<Option<String>, Fault> {
    if let Some(refusal) = refusal(session) {
        return Ok(Some(refusal));
    }
    let fed: Result<Result<(), Unfed>, SandboxError> =
        background.feed(session.number, data.as_bytes(), close).await;
    match fed? {
        Ok(()) => {
            session.has_input = !close;
            Ok(None)
        }
        Err(Unfed::Closed) => {
            session.has_input = false;
            Ok(Some(unwritable(session)))
        }
        Err(Unfed::Broken) => {
            session.has_input = false;
            Err(Fault::Told("write EPIPE".to_string()))
        }
        Err(Unfed::Full) => Err(Fault::Told("write EAGAIN".to_string())),
    }
}

/// The length of a text as the original counts it.
fn units(text: &str) -> usize {
    text.encode_utf16().count()
}
