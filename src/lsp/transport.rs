//! Messages on standard input and output: a header with a length, then JSON.
//!
//! Our own reader, so that one message that is no JSON costs that message and not the session, and
//! so that nobody can make us hold more than [`MAX_MESSAGE`] bytes.

use std::io::{self, BufRead, Read, Write};
use std::thread::JoinHandle;

use lsp_server::{Connection, Message, Notification};

/// The largest message that is read.
const MAX_MESSAGE: u64 = 256 << 20;

/// The method under which the server hears of a message that could not be read.
pub(super) const MALFORMED: &str = "claw/malformed";

/// A connection on standard input and output. The handle is that of the thread that writes; it ends
/// when the connection is dropped.
pub(super) fn stdio() -> (Connection, JoinHandle<io::Result<()>>) {
    let (ours, theirs) = Connection::memory();
    let Connection { sender, receiver } = theirs;
    let writer = std::thread::spawn(move || {
        let mut out = io::stdout().lock();
        for message in receiver {
            message.write(&mut out)?;
        }
        out.flush()
    });
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let message = match read(&mut input) {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(why))) => {
                    Message::Notification(Notification::new(MALFORMED.to_string(), why))
                }
                Ok(None) | Err(_) => return,
            };
            let is_last = matches!(&message, Message::Notification(of) if of.method == "exit");
            if sender.send(message).is_err() || is_last {
                return;
            }
        }
    });
    (ours, writer)
}

/// Reads a message; `None` at the end, `Err` inside for one that is malformed.
fn read(input: &mut impl BufRead) -> io::Result<Option<Result<Message, String>>> {
    let mut length: Option<u64> = None;
    loop {
        let mut line = Vec::new();
        if input.by_ref().take(64 << 10).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        match (line.split_once(':'), length) {
            _ if line.is_empty() && length.is_some() => break,
            (Some((name, value)), _) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().ok();
            }
            // `Content-Type`, and whatever else stands between messages.
            _ => {}
        }
    }
    let length = length.unwrap_or_default();
    if length > MAX_MESSAGE {
        io::copy(&mut input.by_ref().take(length), &mut io::sink())?;
        return Ok(Some(Err(format!("a message of {length} bytes is too large"))));
    }
    let mut body = Vec::new();
    if input.by_ref().take(length).read_to_end(&mut body)? < length as usize {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&body).map_err(|err| err.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_message_costs_only_itself() {
        let good = r#"{"jsonrpc":"2.0","method":"initialized","params":{}}"#;
        let text = format!(
            "noise\r\nContent-Length: 7\r\n\r\n{{broken\
             Content-Type: x\r\ncontent-length:{}\r\n\r\n{good}",
            good.len()
        );
        let mut input = text.as_bytes();
        assert!(matches!(read(&mut input), Ok(Some(Err(_)))));
        assert!(matches!(
            read(&mut input),
            Ok(Some(Ok(Message::Notification(of)))) if of.method == "initialized"
        ));
        assert!(matches!(read(&mut input), Ok(None)));
    }
}
