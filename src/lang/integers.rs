//! Integers in JSON that no value can hold.
//!
//! A reader of JSON gives an integer beyond 64 bits as the nearest float: an id that ends in 15
//! comes out as one that ends in 00, and nobody is told. So whoever reads JSON from outside asks
//! here first. What is written as a float (`1e20`, `2.0`) is one and is taken as it is.

use std::fmt;

/// The fewest digits of an integer that does not fit: `9223372036854775808` has 19.
const DIGITS: usize = 19;

/// An integer that does not fit in 64 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeInteger {
    /// The integer as it is written.
    pub digits: String,
    /// Where it stands: names of fields and numbers of items (from 0), joined by dots; empty when it
    /// is all there is.
    pub path: String,
    /// Where it stands in the text, in bytes.
    pub offset: usize,
}

impl fmt::Display for LargeInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "field `{}`: ", self.path)?;
        }
        write!(
            f,
            "the integer {} does not fit in 64 bits and would lose digits; write it as text, in \
             quotes, to keep it",
            self.digits
        )
    }
}

/// What the text is in at a place.
enum Inside {
    /// An object, at the field of this name.
    Object(Option<String>),
    /// A list, at the item of this number.
    List(usize),
}

/// The first integer of a JSON text that does not fit in an `int`. Of a text that is not JSON it says
/// nothing that can be relied upon.
pub fn large_integer(json: &str) -> Option<LargeInteger> {
    if !has_many_digits(json.as_bytes()) {
        return None;
    }
    let bytes = json.as_bytes();
    let mut inside: Vec<Inside> = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => inside.push(Inside::Object(None)),
            b'[' => inside.push(Inside::List(0)),
            b'}' | b']' => drop(inside.pop()),
            b',' => match inside.last_mut() {
                Some(Inside::Object(field)) => *field = None,
                Some(Inside::List(item)) => *item += 1,
                None => {}
            },
            b'"' => {
                let end = end_of_text(bytes, at);
                if let Some(Inside::Object(field @ None)) = inside.last_mut() {
                    *field = serde_json::from_str(&json[at..end]).ok();
                }
                at = end;
                continue;
            }
            b'-' | b'0'..=b'9' => {
                let part =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let length = bytes[at..].iter().take_while(|byte| part(byte)).count();
                let number = &json[at..at + length];
                let whole = number.strip_prefix('-').unwrap_or(number);
                let is_whole = whole.bytes().all(|byte| byte.is_ascii_digit());
                if is_whole && number.parse::<i64>().is_err() {
                    let (digits, path) = (number.to_string(), path(&inside));
                    return Some(LargeInteger { digits, path, offset: at });
                }
                at += length;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Whether there may be such an integer at all.
fn has_many_digits(bytes: &[u8]) -> bool {
    // Of so many digits in a row, one stands at a multiple of their number.
    let mut at = DIGITS - 1;
    while let Some(byte) = bytes.get(at) {
        if byte.is_ascii_digit() {
            let before = bytes[..at].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            let after = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if before + after >= DIGITS {
                return true;
            }
            at += after;
        }
        at += DIGITS;
    }
    false
}

/// The end of the text that begins at a quote.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' => return at + 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

fn path(inside: &[Inside]) -> String {
    let step = |one: &Inside| match one {
        Inside::Object(field) => field.clone().unwrap_or_default(),
        Inside::List(item) => item.to_string(),
    };
    inside.iter().map(step).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that meets no value has failed")]
mod tests {
    use super::*;

    #[test]
    fn integers_that_do_not_fit_are_found_with_their_place() {
        let found = |json: &str| large_integer(json).map(|found| (found.path, found.digits));
        let is = |path: &str, digits: &str| Some((path.to_string(), digits.to_string()));
        assert_eq!(found("9223372036854775808"), is("", "9223372036854775808"));
        assert_eq!(found("-9223372036854775809"), is("", "-9223372036854775809"));
        assert_eq!(
            found(r#"{"a":"\"{","b":[1,{"c d":2,"e":[0,18446744073709551615]}]}"#),
            is("b.1.e.1", "18446744073709551615")
        );
        assert_eq!(
            found(r#"[[],{},{"x\n":99999999999999999999999}]"#),
            is("2.x\n", "99999999999999999999999")
        );
        for fits in [
            "9223372036854775807",
            "-9223372036854775808",
            "[1e30, 99999999999999999999.0, 0.12345678901234567890123, 1234567890123456789E2]",
            r#"{"18446744073709551615": "18446744073709551615"}"#,
            r#"{"a":"18446744073709551615\\","b":1}"#,
            "",
            "\"\\",
        ] {
            assert_eq!(found(fits), None, "{fits}");
        }
    }

    /// However the digits lie in the text, they are seen.
    #[test]
    fn the_quick_look_misses_nothing() {
        for before in 0..60 {
            for digits in [DIGITS - 1, DIGITS, DIGITS + 1] {
                let text = format!("{}{}x", "x1".repeat(before), "9".repeat(digits));
                let text = &text[before..];
                let longest = text.split('x').map(str::len).max().unwrap();
                assert_eq!(has_many_digits(text.as_bytes()), longest >= DIGITS, "{text}");
            }
        }
    }
}
