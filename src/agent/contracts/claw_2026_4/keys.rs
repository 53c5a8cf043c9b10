//! `process send-keys`: names of keys to the bytes that a terminal sends for them.
//!
//! A token is a key (`Enter`, `F5`, `Up`), a character, or either with `C-`, `M-` and `S-` before it,
//! as in tmux; `^c` is `C-c`. A terminal in application mode sends other bytes for the arrows.

/// How the program at the other end wants its arrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    /// It has not said so yet.
    Unknown,
    Normal,
    Application,
}

impl Cursor {
    /// The last wish in what a program printed, if there is any.
    pub(super) fn asked_for(printed: &[u8]) -> Option<Cursor> {
        let last = |mark: &[u8]| printed.windows(mark.len()).rposition(|found| found == mark);
        match (last(b"\x1b[?1h"), last(b"\x1b[?1l")) {
            (None, None) => None,
            (application, normal) if application > normal => Some(Cursor::Application),
            _ => Some(Cursor::Normal),
        }
    }
}

const ESC: &str = "\u{1b}";

/// The named keys, in lower case.
const NAMED: &[(&str, &str)] = &[
    ("enter", "\r"),
    ("return", "\r"),
    ("tab", "\t"),
    ("escape", "\u{1b}"),
    ("esc", "\u{1b}"),
    ("space", " "),
    ("bspace", "\u{7f}"),
    ("backspace", "\u{7f}"),
    ("up", "\u{1b}[A"),
    ("down", "\u{1b}[B"),
    ("right", "\u{1b}[C"),
    ("left", "\u{1b}[D"),
    ("home", "\u{1b}[1~"),
    ("end", "\u{1b}[4~"),
    ("pageup", "\u{1b}[5~"),
    ("pgup", "\u{1b}[5~"),
    ("ppage", "\u{1b}[5~"),
    ("pagedown", "\u{1b}[6~"),
    ("pgdn", "\u{1b}[6~"),
    ("npage", "\u{1b}[6~"),
    ("insert", "\u{1b}[2~"),
    ("ic", "\u{1b}[2~"),
    ("delete", "\u{1b}[3~"),
    ("del", "\u{1b}[3~"),
    ("dc", "\u{1b}[3~"),
    ("btab", "\u{1b}[Z"),
    ("f1", "\u{1b}OP"),
    ("f2", "\u{1b}OQ"),
    ("f3", "\u{1b}OR"),
    ("f4", "\u{1b}OS"),
    ("f5", "\u{1b}[15~"),
    ("f6", "\u{1b}[17~"),
    ("f7", "\u{1b}[18~"),
    ("f8", "\u{1b}[19~"),
    ("f9", "\u{1b}[20~"),
    ("f10", "\u{1b}[21~"),
    ("f11", "\u{1b}[23~"),
    ("f12", "\u{1b}[24~"),
    ("kp/", "\u{1b}Oo"),
    ("kp*", "\u{1b}Oj"),
    ("kp-", "\u{1b}Om"),
    ("kp+", "\u{1b}Ok"),
    ("kp7", "\u{1b}Ow"),
    ("kp8", "\u{1b}Ox"),
    ("kp9", "\u{1b}Oy"),
    ("kp4", "\u{1b}Ot"),
    ("kp5", "\u{1b}Ou"),
    ("kp6", "\u{1b}Ov"),
    ("kp1", "\u{1b}Oq"),
    ("kp2", "\u{1b}Or"),
    ("kp3", "\u{1b}Os"),
    ("kp0", "\u{1b}Op"),
    ("kp.", "\u{1b}On"),
    ("kpenter", "\u{1b}OM"),
];

/// What the arrows send in application mode.
const APPLICATION: &[(&str, &str)] = &[
    ("up", "\u{1b}OA"),
    ("down", "\u{1b}OB"),
    ("right", "\u{1b}OC"),
    ("left", "\u{1b}OD"),
    ("home", "\u{1b}OH"),
    ("end", "\u{1b}OF"),
];

/// The modifiers of a token.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    control: bool,
    alt: bool,
    shift: bool,
}

/// The bytes of key tokens as text, and what was wrong with some of them.
pub(super) fn encode(tokens: &[String], cursor: Cursor) -> (String, Vec<String>) {
    let mut warnings = Vec::new();
    let data = tokens.iter().map(|token| key(token, cursor, &mut warnings)).collect();
    (data, warnings)
}

/// Whether any of the tokens sends other bytes in application mode.
pub(super) fn depend_on_cursor(tokens: &[String]) -> bool {
    tokens.iter().any(|token| {
        let (held, base) = parse(token.trim());
        held == Held::default() && found(APPLICATION, &base.to_lowercase()).is_some()
    })
}

/// The character of a hexadecimal byte such as `1b` or `0x1B`.
pub(super) fn hex_byte(text: &str) -> Option<char> {
    let text = text.trim().to_lowercase();
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    let fine = matches!(digits.len(), 1 | 2) && digits.bytes().all(|c| c.is_ascii_hexdigit());
    fine.then(|| u8::from_str_radix(digits, 16).ok().map(char::from)).flatten()
}

fn found(table: &[(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

fn key(token: &str, cursor: Cursor, warnings: &mut Vec<String>) -> String {
    let token = token.trim();
    let mut characters = token.chars();
    if let (Some('^'), Some(c), None) = (characters.next(), characters.next(), characters.next())
        && let Some(control) = control(c)
    {
        return control.to_string();
    }
    let (held, base) = parse(token);
    let name = base.to_lowercase();
    if name == "tab" && held.shift {
        return format!("{ESC}[Z");
    }
    if cursor == Cursor::Application
        && held == Held::default()
        && let Some(bytes) = found(APPLICATION, &name)
    {
        return bytes.to_string();
    }
    if let Some(bytes) = found(NAMED, &name) {
        if held != Held::default()
            && let Some(bytes) = modified(&name, bytes, held)
        {
            return bytes;
        }
        return if held.alt { format!("{ESC}{bytes}") } else { bytes.to_string() };
    }
    let mut characters = base.chars();
    if let (Some(c), None) = (characters.next(), characters.next()) {
        return character(c, held);
    }
    if held != Held::default() {
        warnings.push(format!("Unknown key \"{base}\" for modifiers; sending literal."));
    }
    base.to_string()
}

/// Takes `C-`, `M-` and `S-` off the front.
fn parse(token: &str) -> (Held, &str) {
    let mut held = Held::default();
    let mut rest = token;
    while rest.len() > 2 && rest.as_bytes()[1] == b'-' {
        match rest.as_bytes()[0].to_ascii_lowercase() {
            b'c' => held.control = true,
            b'm' => held.alt = true,
            b's' => held.shift = true,
            _ => break,
        }
        rest = &rest[2..];
    }
    (held, rest)
}

fn character(c: char, held: Held) -> String {
    let mut c = if held.shift { c.to_ascii_uppercase() } else { c };
    if held.control {
        c = control(c).unwrap_or(c);
    }
    if held.alt { format!("{ESC}{c}") } else { c.to_string() }
}

fn control(c: char) -> Option<char> {
    match c.to_ascii_uppercase() {
        '?' => Some('\u{7f}'),
        c @ '@'..='_' => Some(char::from(c as u8 & 31)),
        _ => None,
    }
}

/// The bytes of a cursor or editing key with modifiers, in xterm's way. `None` for other keys.
fn modified(name: &str, bytes: &str, held: Held) -> Option<String> {
    if !CURSOR_AND_EDITING.contains(&name) {
        return None;
    }
    let modifier = 1 + u8::from(held.shift) + 2 * u8::from(held.alt) + 4 * u8::from(held.control);
    let code = bytes.strip_prefix("\u{1b}[")?;
    Some(match code.strip_suffix('~') {
        Some(number) => format!("{ESC}[{number};{modifier}~"),
        None => format!("{ESC}[1;{modifier}{code}"),
    })
}

const CURSOR_AND_EDITING: &[&str] = &[
    "up", "down", "left", "right", "home", "end", "pageup", "pgup", "ppage", "pagedown", "pgdn",
    "npage", "insert", "ic", "delete", "del", "dc",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_what_a_terminal_sends() {
        for (token, expected) in [
            ("Enter", "\r"),
            (" tab ", "\t"),
            ("S-Tab", "\u{1b}[Z"),
            ("^c", "\u{3}"),
            ("C-c", "\u{3}"),
            ("C-?", "\u{7f}"),
            ("M-x", "\u{1b}x"),
            ("C-M-a", "\u{1b}\u{1}"),
            ("S-a", "A"),
            ("Up", "\u{1b}[A"),
            ("C-Up", "\u{1b}[1;5A"),
            ("S-PageUp", "\u{1b}[5;2~"),
            ("M-F1", "\u{1b}\u{1b}OP"),
            ("hello", "hello"),
            ("é", "é"),
            ("", ""),
        ] {
            let (data, warnings) = encode(&[token.to_string()], Cursor::Normal);
            assert_eq!((data.as_str(), warnings.len()), (expected, 0), "{token}");
        }
        let arrows = ["Up".to_string(), "C-Up".to_string()];
        assert_eq!(encode(&arrows, Cursor::Application).0, "\u{1b}OA\u{1b}[1;5A");
        assert!(depend_on_cursor(&arrows) && !depend_on_cursor(&arrows[1..]));
        let (data, warnings) = encode(&["C-nokey".to_string()], Cursor::Normal);
        assert_eq!(data, "nokey");
        assert_eq!(warnings, ["Unknown key \"nokey\" for modifiers; sending literal."]);
    }

    #[test]
    fn bytes_and_wishes_are_read() {
        assert_eq!(hex_byte("0x1B"), Some('\u{1b}'));
        assert_eq!(hex_byte(" ff "), Some('ÿ'));
        assert_eq!((hex_byte("100"), hex_byte("g"), hex_byte("")), (None, None, None));
        assert_eq!(Cursor::asked_for(b"a\x1b[?1hb\x1b[?1l"), Some(Cursor::Normal));
        assert_eq!(Cursor::asked_for(b"\x1b[?1h"), Some(Cursor::Application));
        assert_eq!(Cursor::asked_for(b"plain"), None);
    }
}
