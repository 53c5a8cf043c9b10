//! What is open where the cursor stands: read from the text alone, which may be broken.

/// Something that is not closed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    Round,
    Square,
    Curly,
    /// The braces of an expression in a string.
    Hole,
    Text,
    LongText,
    Raw,
    LongRaw,
}

impl Open {
    /// What closes it.
    pub(super) fn closer(self) -> &'static str {
        match self {
            Open::Round => ")",
            Open::Square => "]",
            Open::Curly | Open::Hole => "}",
            Open::Text | Open::Raw => "\"",
            Open::LongText | Open::LongRaw => "\"\"\"",
        }
    }

    /// Whether it is a string.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Open::Text | Open::LongText | Open::Raw | Open::LongRaw)
    }
}

/// What is open at the end of a text.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scan {
    /// What is open and where it was opened, innermost last.
    pub(super) open: Vec<(Open, usize)>,
    /// Whether the text ends in a comment.
    pub(super) in_comment: bool,
}

impl Scan {
    /// The string that the text ends in, and where it starts.
    pub(super) fn text(&self) -> Option<(Open, usize)> {
        self.open.last().copied().filter(|(open, _)| open.is_text())
    }
}

/// Reads a text that begins outside of everything.
pub(super) fn scan(text: &str) -> Scan {
    let mut scan = Scan::default();
    let mut at = 0;
    let bytes = text.as_bytes();
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        let starts = |start: &str| rest.starts_with(start.as_bytes());
        let top = scan.open.last().map(|(open, _)| *open);
        let step = match top {
            Some(Open::Text | Open::LongText) if starts("\\") => 2,
            Some(Open::Text | Open::LongText) if starts("{{") => 2,
            Some(Open::Text | Open::LongText) if starts("{") => {
                scan.open.push((Open::Hole, at));
                1
            }
            // A string in one line ends there, closed or not.
            Some(Open::Text | Open::Raw) if starts("\"") || starts("\n") => {
                scan.open.pop();
                1
            }
            Some(Open::LongText | Open::LongRaw) if starts("\"\"\"") => {
                scan.open.pop();
                3
            }
            Some(open) if open.is_text() => 1,
            _ if starts("//") => {
                let end = rest.iter().position(|byte| *byte == b'\n');
                scan.in_comment = end.is_none();
                end.unwrap_or(rest.len())
            }
            _ if starts("\"") => {
                let raw = at > 0
                    && bytes[at - 1] == b'r'
                    && !is_word(at.checked_sub(2).and_then(|before| bytes.get(before)));
                let (open, width) = match (starts("\"\"\""), raw) {
                    (true, true) => (Open::LongRaw, 3),
                    (true, false) => (Open::LongText, 3),
                    (false, true) => (Open::Raw, 1),
                    (false, false) => (Open::Text, 1),
                };
                scan.open.push((open, at));
                width
            }
            _ => {
                match rest[0] {
                    b'(' => scan.open.push((Open::Round, at)),
                    b'[' => scan.open.push((Open::Square, at)),
                    b'{' => scan.open.push((Open::Curly, at)),
                    b')' | b']' | b'}' => {
                        scan.open.pop();
                    }
                    _ => {}
                }
                1
            }
        };
        at += step;
    }
    scan
}

fn is_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Where the word that ends at an offset starts, and where the one that starts there ends.
pub(super) fn word_around(text: &str, offset: usize) -> (usize, usize) {
    let bytes = text.as_bytes();
    let before = bytes[..offset].iter().rev().take_while(|byte| is_word(Some(byte))).count();
    let after = bytes[offset..].iter().take_while(|byte| is_word(Some(byte))).count();
    (offset - before, offset + after)
}

/// The words that a declaration starts with.
pub(super) const ITEM_WORDS: [&str; 10] =
    ["use", "param", "secret", "let", "type", "def", "extern", "stage", "output", "test"];

/// The declaration around an offset: from the last line above that starts one to the next.
pub(super) fn item_around(text: &str, offset: usize) -> (usize, usize) {
    let starts = |line: &str| {
        line.starts_with("///")
            || line.starts_with("//!")
            || ITEM_WORDS.iter().any(|word| {
                line.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '\t']))
            })
    };
    let (mut from, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if starts(line) {
            if at > offset {
                return (from, at);
            }
            from = at;
        }
        at += line.len();
    }
    (from, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> Vec<Open> {
        scan(text).open.into_iter().map(|(open, _)| open).collect()
    }

    #[test]
    fn sees_what_is_open() {
        use Open as O;
        assert_eq!(open("for w in xs { f(a: [1, "), [O::Curly, O::Round, O::Square]);
        assert_eq!(open("f(\"a{b(\"c\", "), [O::Round, O::Text, O::Hole, O::Round]);
        assert_eq!(open("f(\"a{{b\", r\"{\", \"\"\"x\n\" y"), [O::Round, O::LongText]);
        assert_eq!(open("f(\"open\ng["), [O::Round, O::Square]);
        assert_eq!(open("a } b { \\"), [O::Curly]);
        assert!(scan("a // b (").in_comment);
        assert_eq!(open("a // b (\n{"), [O::Curly]);
        assert_eq!(open("f(r\"ü"), [O::Round, O::Raw]);
    }

    #[test]
    fn finds_the_declaration_around() {
        let text = "stage a = 1\n/// doc\nstage b = [\n  2,\n]\noutput b\n";
        let around = |at: usize| {
            let (from, to) = item_around(text, at);
            &text[from..to]
        };
        assert_eq!(around(3), "stage a = 1\n");
        assert_eq!(around(text.find("2,").unwrap_or_default()), "stage b = [\n  2,\n]\n");
        assert_eq!(around(text.len()), "output b\n");
    }
}
