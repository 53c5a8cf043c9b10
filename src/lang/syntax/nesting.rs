//! Counts how deep brackets nest, before the parser sees the text.
//!
//! The parser and the builder recurse; ten thousand open parentheses must be a message that points
//! at the place, on every machine and every thread's stack, and not a matter of luck.

use super::MAX_DEPTH;

/// What encloses the place where the scan stands.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    /// A bracket of code. Holes of strings are such brackets too.
    Bracket,
    /// `"…"`
    Text,
    /// `"""…"""`
    LongText,
}

/// The first byte at which brackets nest deeper than [`MAX_DEPTH`].
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut stack: Vec<Inside> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let inside = stack.last().copied().unwrap_or(Inside::Bracket);
        at += match inside {
            Inside::Bracket => code(bytes, at, &mut stack),
            Inside::Text | Inside::LongText => string(rest, inside, &mut stack),
        };
        if stack.len() > MAX_DEPTH {
            return Some(at - 1);
        }
    }
    None
}

/// Where the lines begin that no bracket and no string reaches into; the first is left out.
pub(super) fn outer_lines(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut lines = Vec::new();
    let mut stack: Vec<Inside> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let inside = stack.last().copied();
        if inside.is_none() && bytes[at] == b'\n' {
            lines.push(at + 1);
        }
        at += match inside.unwrap_or(Inside::Bracket) {
            Inside::Bracket => code(bytes, at, &mut stack),
            inside => string(&bytes[at..], inside, &mut stack),
        };
    }
    lines
}

/// How many bytes there are in front of the first that may mean something.
fn plain(rest: &[u8], means: impl Fn(u8) -> bool) -> usize {
    rest.iter().position(|byte| means(*byte)).unwrap_or(rest.len())
}

/// Takes one step through code; gives how many bytes it took.
fn code(bytes: &[u8], at: usize, stack: &mut Vec<Inside>) -> usize {
    let rest = &bytes[at..];
    let means =
        |byte| matches!(byte, b'/' | b'r' | b'"' | b'(' | b'[' | b'{' | b')' | b']' | b'}' | b'\n');
    let plain = plain(rest, means);
    if plain > 0 {
        return plain;
    }
    if rest.starts_with(b"//") {
        return rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    }
    // The end of a word is no prefix of a string: `or"…"`.
    let begins =
        at == 0 || !matches!(bytes[at - 1], b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z');
    if begins && rest.starts_with(b"r\"\"\"") {
        return find(&rest[4..], b"\"\"\"").map_or(rest.len(), |end| 4 + end + 3);
    }
    if begins && rest.starts_with(b"r\"") {
        let end = rest[2..].iter().position(|b| matches!(b, b'"' | b'\n'));
        return end.map_or(rest.len(), |end| 2 + end + 1);
    }
    if rest.starts_with(b"\"\"\"") {
        stack.push(Inside::LongText);
        return 3;
    }
    match rest[0] {
        b'"' => stack.push(Inside::Text),
        b'(' | b'[' | b'{' => stack.push(Inside::Bracket),
        b')' | b']' | b'}' => {
            stack.pop();
        }
        _ => {}
    }
    1
}

/// Takes one step through a string.
fn string(rest: &[u8], inside: Inside, stack: &mut Vec<Inside>) -> usize {
    let plain = plain(rest, |byte| matches!(byte, b'"' | b'{' | b'\\' | b'\n'));
    if plain > 0 {
        return plain;
    }
    let ends: &[u8] = if inside == Inside::LongText { b"\"\"\"" } else { b"\"" };
    if rest.starts_with(ends) {
        stack.pop();
        return ends.len();
    }
    if rest.starts_with(b"{{") || (rest[0] == b'\\' && rest.len() > 1) {
        return 2;
    }
    match rest[0] {
        b'{' => stack.push(Inside::Bracket),
        // A string that was not closed ends with its line, and so does the harm.
        b'\n' if inside == Inside::Text => {
            stack.pop();
        }
        _ => {}
    }
    1
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_brackets_and_nothing_else() {
        assert_eq!(too_deep(&"(".repeat(MAX_DEPTH)), None);
        assert_eq!(too_deep(&"(".repeat(MAX_DEPTH + 1)), Some(MAX_DEPTH));
        assert_eq!(too_deep(&"()".repeat(10_000)), None);
        assert_eq!(too_deep(&format!("\"{}\"", "(".repeat(1000))), None);
        assert_eq!(too_deep(&format!("// {}", "(".repeat(1000))), None);
        assert_eq!(too_deep(&format!("r\"\"\"{}\"\"\"", "(".repeat(1000))), None);
        let after_a_word = "x or\"a \\\" (\"\n".repeat(MAX_DEPTH + 1);
        assert_eq!(too_deep(&after_a_word), None);
        let holes = "\"{".repeat(MAX_DEPTH);
        assert!(too_deep(&holes).is_some());
    }
}
