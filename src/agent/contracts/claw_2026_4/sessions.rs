//! The sessions of one episode: commands that `exec` left running, as `process` knows them.
//!
//! The sandbox runs them and keeps what they print until it is fetched; here stands what has been
//! fetched: all of it for `log` (its last 200,000 characters), and what the model has not yet been
//! told for `poll` (the last 30,000). Both streams are one text, in the order in which they were
//! written; the original keeps them apart in `poll`.

use crate::sandbox::{Exit, Heard};

use super::exec::{signal_name, visible};
use super::keys::Cursor;
use super::names::{last_units, session_name};

/// UTF-16 units that are kept of all that a session printed.
const KEPT: usize = 200_000;
/// And of what has not been told.
const UNTOLD: usize = 30_000;
/// And shown of one that had ended before it was asked about.
const SHOWN_AT_END: usize = 2_000;

/// The sessions, oldest first.
#[derive(Default)]
pub(super) struct Sessions {
    count: u64,
    pub(super) all: Vec<Session>,
}

/// One of them.
pub(super) struct Session {
    /// What the model calls it.
    pub(super) id: String,
    /// What the sandbox calls it.
    pub(super) number: u32,
    pub(super) command: String,
    /// Whether its standard input was left open.
    pub(super) has_input: bool,
    pub(super) cursor: Cursor,
    /// Milliseconds that it has been running, or ran.
    pub(super) ran_ms: u64,
    pub(super) ended: Option<Ended>,
    kept: String,
    untold: String,
    truncated: bool,
    /// The beginning of a character whose end has not been printed yet.
    cut: Vec<u8>,
}

/// How it ended.
pub(super) struct Ended {
    pub(super) exit: Exit,
    /// What `list` says about it.
    pub(super) failed: bool,
}

impl Sessions {
    /// A command goes on as a session. Its name.
    pub(super) fn add(&mut self, command: &str, number: u32, terminal: bool) -> &str {
        self.count += 1;
        let taken = |name: &str| self.all.iter().any(|session| session.id == name);
        let id = session_name(self.count, command, &taken);
        self.all.push(Session {
            id,
            number,
            command: command.to_string(),
            has_input: terminal,
            cursor: if terminal { Cursor::Unknown } else { Cursor::Normal },
            ran_ms: 0,
            ended: None,
            kept: String::new(),
            untold: String::new(),
            truncated: false,
            cut: Vec::new(),
        });
        self.all.last().map_or("", |session| &session.id)
    }

    pub(super) fn get(&mut self, id: &str) -> Option<&mut Session> {
        self.all.iter_mut().find(|session| session.id == id)
    }

    pub(super) fn forget(&mut self, id: &str) {
        self.all.retain(|session| session.id != id);
    }
}

impl Session {
    /// Takes in what the sandbox heard from it.
    pub(super) fn take_in(&mut self, heard: Heard) {
        let mut bytes = std::mem::take(&mut self.cut);
        if heard.dropped > 0 {
            self.truncated = true;
            bytes.clear();
            let broken = heard.output.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80);
            bytes.extend(&heard.output[broken.count()..]);
        } else {
            bytes.extend(&heard.output);
        }
        if heard.exit.is_none() {
            self.cut = bytes.split_off(bytes.len() - unfinished(&bytes));
        }
        self.cursor = Cursor::asked_for(&bytes).unwrap_or(self.cursor);
        let text = visible(&String::from_utf8_lossy(&bytes));
        self.truncated |= keep(&mut self.kept, &text, KEPT);
        self.truncated |= keep(&mut self.untold, &text, UNTOLD);
        self.ran_ms = heard.ran_ms;
        if let Some(exit) = heard.exit {
            let completed = matches!(exit, Exit::Code(code) if code != 126 && code != 127);
            self.ended = Some(Ended { exit, failed: !completed });
        }
    }

    /// What has not been told yet; it counts as told after this.
    pub(super) fn tell(&mut self) -> String {
        std::mem::take(&mut self.untold).trim().to_string()
    }

    /// The end of all that it printed, or that there is none.
    pub(super) fn last_words(&self) -> String {
        match last_units(&self.kept, SHOWN_AT_END) {
            "" if self.truncated => "(no output recorded — truncated to cap)".to_string(),
            "" => "(no output recorded)".to_string(),
            words => words.to_string(),
        }
    }

    /// Lines of what it printed, from `offset` on, at most `limit`; with a limit alone the last ones.
    /// And how many there are.
    pub(super) fn lines(&self, offset: Option<f64>, limit: Option<f64>) -> (String, usize) {
        if self.kept.is_empty() {
            return (String::new(), 0);
        }
        let text = self.kept.replace("\r\n", "\n");
        let mut lines: Vec<&str> = text.split('\n').collect();
        if lines.last() == Some(&"") {
            lines.pop();
        }
        let whole = |number: f64| number.floor().max(0.0) as usize;
        let start = match (offset, limit) {
            (Some(offset), _) => whole(offset),
            (None, Some(limit)) => lines.len().saturating_sub(whole(limit)),
            (None, None) => 0,
        };
        let start = start.min(lines.len());
        let end = limit.map_or(lines.len(), |limit| start.saturating_add(whole(limit)));
        (lines[start..end.min(lines.len())].join("\n"), lines.len())
    }
}

impl Ended {
    /// `code 0` or `signal SIGKILL`.
    pub(super) fn told(&self) -> String {
        match self.exit {
            Exit::Code(code) => format!("code {code}"),
            Exit::Signal(signal) => format!("signal {}", signal_name(signal)),
            Exit::TimedOut | Exit::OutOfMemory => "signal SIGKILL".to_string(),
        }
    }
}

/// Adds to a text of which the end is kept. Whether something was dropped.
fn keep(text: &mut String, more: &str, units: usize) -> bool {
    text.push_str(more);
    let end = last_units(text, units);
    let dropped = text.len() - end.len();
    text.drain(..dropped);
    dropped > 0
}

/// How many bytes at the end are the beginning of a longer character.
fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let length = match byte {
            0xf0..=0xf7 => 4,
            0xe0..=0xef => 3,
            0xc0..=0xdf => 2,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if back < length { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(output: &[u8], dropped: u64, exit: Option<Exit>) -> Heard {
        Heard { output: output.to_vec(), dropped, ran_ms: 7, exit }
    }

    #[test]
    fn characters_come_whole() {
        let mut sessions = Sessions::default();
        let id = sessions.add("cat", 1, false).to_string();
        let session = sessions.get(&id).expect("it was added");
        session.take_in(heard(b"a\xf0\x9f", 0, None));
        assert_eq!(session.tell(), "a");
        session.take_in(heard(b"\x99\x82 b\xc3", 0, None));
        assert_eq!(session.tell(), "🙂 b");
        session.take_in(heard(b"", 0, Some(Exit::Code(0))));
        assert_eq!(session.tell(), "\u{fffd}");
        assert_eq!(session.last_words(), "a🙂 b\u{fffd}");
    }

    #[test]
    fn much_is_cut_and_said_to_be() {
        let mut sessions = Sessions::default();
        let id = sessions.add("yes", 1, false).to_string();
        let session = sessions.get(&id).expect("it was added");
        session.take_in(heard(&[0xa9, b'x'], 5, None));
        assert_eq!((session.kept.as_str(), session.truncated), ("x", true));
        session.take_in(heard("y\n".repeat(120_000).as_bytes(), 0, None));
        assert_eq!(session.kept.len(), KEPT);
        assert_eq!(session.tell().len(), UNTOLD - 1);
        assert_eq!(session.lines(None, Some(2.0)), ("y\ny".to_string(), 100_000));
        assert_eq!(session.lines(Some(99_999.0), None).0, "y");
        assert_eq!(session.lines(Some(5.0), Some(1.0)).0, "y");
        assert_eq!(session.lines(Some(500_000.0), Some(1.0)).0, "");
    }
}
