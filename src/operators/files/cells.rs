//! The cells of a CSV file: RFC 4180, read strictly.
//!
//! A cell may stand in quotes, and then hold separators, line breaks and doubled quotes. Lines end
//! with `\n` or `\r\n`. A quote that opens a cell and is never closed would swallow the rest of the
//! file, so it is a mistake, and so is what follows a closing quote; each has its place. Lines with
//! nothing on them are passed over.

use std::borrow::Cow;

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell<'t> {
    pub(super) text: Cow<'t, str>,
    /// Whether it stood in quotes.
    pub(super) quoted: bool,
}

/// What is wrong and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
    pub(super) why: &'static str,
}

/// Goes through a text record by record.
#[derive(Clone)]
pub(super) struct Cells<'t> {
    text: &'t str,
    separator: u8,
    /// Bytes that were read.
    at: usize,
    line: usize,
    /// Where the line starts.
    start: usize,
}

impl<'t> Cells<'t> {
    /// `separator` is an ASCII character.
    pub(super) fn new(text: &'t str, separator: u8) -> Cells<'t> {
        Cells { text, separator, at: 0, line: 1, start: 0 }
    }

    /// Reads the next record into `cells`; gives the line that it starts on, or `None` at the end.
    pub(super) fn next(&mut self, cells: &mut Vec<Cell<'t>>) -> Result<Option<usize>, Mistake> {
        cells.clear();
        while self.ends_line() {
            self.next_line();
        }
        if self.at == self.text.len() {
            return Ok(None);
        }
        let line = self.line;
        loop {
            let cell = if self.peek() == Some(b'"') { self.quoted()? } else { self.bare() };
            cells.push(cell);
            match self.peek() {
                Some(byte) if byte == self.separator => self.at += 1,
                _ => {
                    if self.at < self.text.len() {
                        self.next_line();
                    }
                    return Ok(Some(line));
                }
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Whether a line ends here, and another may follow.
    fn ends_line(&self) -> bool {
        let rest = &self.text.as_bytes()[self.at..];
        rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
    }

    fn next_line(&mut self) {
        self.at += if self.peek() == Some(b'\r') { 2 } else { 1 };
        self.line += 1;
        self.start = self.at;
    }

    /// A cell without quotes; a quote inside of it is a character like others.
    fn bare(&mut self) -> Cell<'t> {
        let from = self.at;
        while let Some(byte) = self.peek() {
            if byte == self.separator || (matches!(byte, b'\n' | b'\r') && self.ends_line()) {
                break;
            }
            self.at += 1;
        }
        Cell { text: Cow::Borrowed(&self.text[from..self.at]), quoted: false }
    }

    fn quoted(&mut self) -> Result<Cell<'t>, Mistake> {
        let opened = self.here("this quote is never closed");
        self.at += 1;
        let mut from = self.at;
        let mut text = Cow::Borrowed("");
        loop {
            match self.peek() {
                None => return Err(opened),
                Some(b'"') => {
                    let part = &self.text[from..self.at];
                    if text.is_empty() {
                        text = Cow::Borrowed(part);
                    } else {
                        text.to_mut().push_str(part);
                    }
                    self.at += 1;
                    if self.peek() != Some(b'"') {
                        break;
                    }
                    text.to_mut().push('"');
                    self.at += 1;
                    from = self.at;
                }
                Some(byte) => {
                    self.at += 1;
                    if byte == b'\n' {
                        self.line += 1;
                        self.start = self.at;
                    }
                }
            }
        }
        let ends = self.peek().is_none_or(|byte| byte == self.separator) || self.ends_line();
        if !ends {
            return Err(self.here("a closing quote ends the cell; a quote in it is written twice"));
        }
        Ok(Cell { text, quoted: true })
    }

    fn here(&self, why: &'static str) -> Mistake {
        let column = self.text[self.start..self.at].chars().count() + 1;
        Mistake { line: self.line, column, why }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<(usize, Vec<String>)>, Mistake> {
        let mut cells = Cells::new(text, b',');
        let (mut record, mut records) = (Vec::new(), Vec::new());
        while let Some(line) = cells.next(&mut record)? {
            records.push((line, record.iter().map(|cell| cell.text.to_string()).collect()));
        }
        Ok(records)
    }

    #[test]
    fn cells_of_all_kinds() {
        let rows = |text: &str| {
            let records = read(text).expect("records");
            let rows =
                records.into_iter().map(|(line, cells)| format!("{line}:{}", cells.join("|")));
            rows.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(rows("a,b\n1,2\n"), "1:a|b 2:1|2");
        assert_eq!(rows("a,b\r\n1,2"), "1:a|b 2:1|2");
        assert_eq!(rows("\n\r\na\n\n\nb\n\n"), "3:a 6:b");
        assert_eq!(rows(",\n,,"), "1:| 2:||");
        assert_eq!(rows("\"a,\"\"b\"\"\r\nc\",d\ne"), "1:a,\"b\"\r\nc|d 3:e");
        assert_eq!(rows("\"\",\"\"\"\""), "1:|\"");
        assert_eq!(rows("say \"hi\", you"), "1:say \"hi\"| you");
        assert_eq!(rows("a\rb"), "1:a\rb");
        assert_eq!(rows(""), "");
    }

    #[test]
    fn mistakes_have_a_place() {
        let wrong = |text: &str| {
            let mistake = read(text).expect_err("a mistake");
            (mistake.line, mistake.column)
        };
        assert_eq!(wrong("a,b\né,\"open\n\nx"), (2, 3));
        assert_eq!(wrong("a\n\"x\ny\"z,1"), (3, 3));
        assert_eq!(wrong("\"x\" ,1"), (1, 4));
        assert_eq!(wrong("\"x\"\r"), (1, 4));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// What is quoted reads back as it was, and no text makes the reader stumble.
        #[test]
        fn quoted_text_reads_back(
            rows in prop::collection::vec(
                prop::collection::vec("[a\",;\r\n \u{e9}]{0,4}", 2..4), 1..4),
            noise in "[a\",\r\n]{0,12}",
        ) {
            let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
            let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(",");
            let text = rows.iter().map(line).collect::<Vec<_>>().join("\r\n");
            let read_back: Vec<Vec<String>> =
                read(&text).expect("records").into_iter().map(|(_, cells)| cells).collect();
            prop_assert_eq!(read_back, rows);
            let _ = read(&noise);
        }
    }
}
