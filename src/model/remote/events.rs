//! Server-sent events: the data of each, from bytes that may be cut anywhere.

/// Takes bytes and gives the data of the events that they complete.
#[derive(Default)]
pub(super) struct Events {
    /// A line that has no end yet.
    line: Vec<u8>,
    /// Whether the last byte was a carriage return, so that a line feed belongs to it.
    returned: bool,
    data: Vec<u8>,
    has_data: bool,
}

impl Events {
    /// Takes `bytes`; `took` gets the data of each event, in order.
    pub(super) fn take(&mut self, bytes: &[u8], took: &mut dyn FnMut(&[u8])) {
        for &byte in bytes {
            let feed_of_return = std::mem::replace(&mut self.returned, byte == b'\r');
            match byte {
                b'\n' if feed_of_return => {}
                b'\n' | b'\r' => self.end_line(took),
                byte => self.line.push(byte),
            }
        }
    }

    /// The stream is over: a last event may lack its empty line.
    pub(super) fn end(&mut self, took: &mut dyn FnMut(&[u8])) {
        if !self.line.is_empty() {
            self.end_line(took);
        }
        self.dispatch(took);
    }

    fn end_line(&mut self, took: &mut dyn FnMut(&[u8])) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            self.dispatch(took);
        } else if let Some(data) = line.strip_prefix(b"data:") {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            self.has_data = true;
        }
        // Comments and the fields `event`, `id` and `retry` say nothing here.
    }

    fn dispatch(&mut self, took: &mut dyn FnMut(&[u8])) {
        if std::mem::take(&mut self.has_data) {
            took(&std::mem::take(&mut self.data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_wherever_bytes_are_cut() {
        let text = ": hello\r\n\r\ndata: {\"a\":\"é\"}\n\ndata:x\ndata: y\rid: 3\r\revent: z\n\ndata: [DONE]";
        let whole: Vec<&str> = vec!["{\"a\":\"é\"}", "x\ny", "[DONE]"];
        for size in 1..text.len() {
            let (mut events, mut got) = (Events::default(), Vec::new());
            let mut took = |data: &[u8]| got.push(String::from_utf8_lossy(data).into_owned());
            for piece in text.as_bytes().chunks(size) {
                events.take(piece, &mut took);
            }
            events.end(&mut took);
            assert_eq!(got, whole, "in pieces of {size}");
        }
    }
}
