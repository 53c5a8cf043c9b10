//! Places in a text: bytes here, lines and columns in the protocol.

use std::sync::Arc;

use gen_lsp_types::{Position, Range};

/// What a column counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Bytes.
    Utf8,
    /// Units of UTF-16: what the protocol falls back to.
    Utf16,
}

/// A text and where its lines start.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) text: Arc<str>,
    lines: Vec<u32>,
}

impl Text {
    pub(super) fn new(text: Arc<str>) -> Text {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at as u32 + 1)).collect();
        Text { text, lines }
    }

    /// The byte at a position; what lies behind a line's end is its end, what lies behind the text
    /// is the text's end.
    pub(super) fn offset(&self, position: Position, encoding: Encoding) -> u32 {
        let Some(start) = self.lines.get(position.line as usize) else {
            return self.text.len() as u32;
        };
        let line = self.text[*start as usize..].split('\n').next().unwrap_or("");
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut column = 0;
        for (at, c) in line.char_indices() {
            if column >= position.character {
                return start + at as u32;
            }
            column += width(c, encoding);
        }
        start + line.len() as u32
    }

    /// The position of a byte.
    pub(super) fn position(&self, offset: u32, encoding: Encoding) -> Position {
        let mut offset = (offset as usize).min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.lines.partition_point(|start| *start as usize <= offset) - 1;
        let before = &self.text[self.lines[line] as usize..offset];
        let character = before.chars().map(|c| width(c, encoding)).sum();
        Position { line: line as u32, character }
    }

    /// The range from one byte to another.
    pub(super) fn range(&self, start: u32, end: u32, encoding: Encoding) -> Range {
        Range { start: self.position(start, encoding), end: self.position(end, encoding) }
    }
}

fn width(c: char, encoding: Encoding) -> u32 {
    match encoding {
        Encoding::Utf8 => c.len_utf8() as u32,
        Encoding::Utf16 => c.len_utf16() as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_what_was_agreed() {
        let text = Text::new("a\r\nü😀x\n".into());
        let x = 3 + "ü😀".len() as u32;
        let at = |line, character| Position { line, character };
        assert_eq!(text.position(x, Encoding::Utf16), at(1, 3));
        assert_eq!(text.position(x, Encoding::Utf8), at(1, 6));
        assert_eq!(text.offset(at(1, 3), Encoding::Utf16), x);
        assert_eq!(text.offset(at(1, 6), Encoding::Utf8), x);
        // Nonsense is led back into the text.
        assert_eq!(text.offset(at(0, 99), Encoding::Utf16), 1);
        assert_eq!(text.offset(at(99, 0), Encoding::Utf16), text.text.len() as u32);
        assert_eq!(text.position(4, Encoding::Utf16), at(1, 0));
        assert_eq!(text.position(u32::MAX, Encoding::Utf8), at(2, 0));
    }
}
