//! Colours for `.claw` code: text becomes HTML with a class for each kind of word.
//!
//! It goes through the text once and never fails: what is no token stands as it is. Strings are
//! followed into their holes. Names that `find` knows become links.

use super::markdown::escape;

/// The words of declarations and expressions; `tests/doc.rs` holds them against the grammar.
pub const KEYWORDS: &[&str] = &[
    "accept", "and", "as", "assert", "def", "else", "extern", "for", "given", "if", "in", "let",
    "not", "or", "output", "param", "secret", "stage", "test", "then", "try", "type", "use",
    "when", "where", "with",
];

/// Words that are values.
pub const CONSTANTS: &[&str] = &["false", "null", "true"];

/// The types that the language itself knows.
pub const TYPES: &[&str] = &[
    "Agent",
    "Checkpoint",
    "Digest",
    "Dir",
    "File",
    "Json",
    "Model",
    "Sandbox",
    "Secret",
    "Secrets",
    "bool",
    "bytes",
    "duration",
    "float",
    "int",
    "money",
    "percent",
    "str",
];

/// Code as HTML. `find` gives the address of a name such as `persona.imagine`, if it has a page.
pub(super) fn claw(code: &str, find: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(code.len() * 2);
    code_until(code, 0, find, &mut out);
    out
}

/// How deep holes of strings in holes of strings are followed; deeper ones are text.
const MAX_HOLES: usize = 32;

/// Writes code: all of it, or, in a hole, up to the `}` that ends the hole. Gives what is left.
fn code_until<'c>(
    mut rest: &'c str,
    holes: usize,
    find: &dyn Fn(&str) -> Option<String>,
    out: &mut String,
) -> &'c str {
    let mut depth = 0usize;
    // Whether the word before was a dot, so that this one names a field.
    let mut after_dot = false;
    while let Some(c) = rest.chars().next() {
        if holes > 0 && c == '}' && depth == 0 {
            return rest;
        }
        let mut taken = c.len_utf8();
        let dot = std::mem::replace(&mut after_dot, c == '.');
        if rest.starts_with("//") {
            taken = rest.find('\n').unwrap_or(rest.len());
            let is_doc = rest.starts_with("///") || rest.starts_with("//!");
            span(if is_doc { "doc" } else { "com" }, &rest[..taken], out);
        } else if rest.starts_with("r\"") {
            taken = raw(rest);
            span("str", &rest[..taken], out);
        } else if c == '"' {
            rest = string(rest, holes, find, out);
            continue;
        } else if c.is_ascii_digit()
            || (c == '$' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            taken = number(rest);
            span("num", &rest[..taken], out);
        } else if is_word(c) {
            taken = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            taken = word(rest, taken, dot, find, out);
        } else {
            match c {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            out.push_str(&escape(&rest[..taken]));
        }
        rest = &rest[taken..];
    }
    rest
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Writes a word, or `module.name` where that has a page. Gives how many bytes it took.
fn word(
    rest: &str,
    taken: usize,
    after_dot: bool,
    find: &dyn Fn(&str) -> Option<String>,
    out: &mut String,
) -> usize {
    let text = &rest[..taken];
    let behind = &rest[taken..];
    let is_label = behind.starts_with(':');
    if after_dot {
        span("fld", text, out);
        return taken;
    }
    if !is_label {
        // `use std/persona`
        if text == "std" && behind.starts_with('/') {
            let length = behind[1..].find(|c| !is_word(c)).unwrap_or(behind.len() - 1);
            let whole = &rest[..taken + 1 + length];
            if let Some(address) = find(whole) {
                link(&address, whole, out);
                return whole.len();
            }
        }
        if let Some(inner) = behind.strip_prefix('.') {
            let length = inner.find(|c| !is_word(c)).unwrap_or(inner.len());
            let whole = &rest[..taken + 1 + length];
            if length > 0
                && let Some(address) = find(whole)
            {
                link(&address, whole, out);
                return whole.len();
            }
        }
        if KEYWORDS.contains(&text) {
            span("key", text, out);
            return taken;
        }
        if CONSTANTS.contains(&text) {
            span("num", text, out);
            return taken;
        }
        if let Some(address) = find(text) {
            link(&address, text, out);
            return taken;
        }
    }
    let class = if is_label {
        "arg"
    } else if TYPES.contains(&text) || text.starts_with(|c: char| c.is_ascii_uppercase()) {
        "typ"
    } else if behind.starts_with('(') {
        "fun"
    } else {
        ""
    };
    span(class, text, out);
    taken
}

/// Writes a string with its holes. Gives what is left behind it.
fn string<'c>(
    text: &'c str,
    holes: usize,
    find: &dyn Fn(&str) -> Option<String>,
    out: &mut String,
) -> &'c str {
    let quotes = if text.starts_with("\"\"\"") { "\"\"\"" } else { "\"" };
    let mut start = 0;
    let mut at = quotes.len();
    let mut text = text;
    loop {
        let rest = &text[at..];
        let Some(c) = rest.chars().next() else {
            span("str", &text[start..], out);
            return "";
        };
        if rest.starts_with(quotes) {
            at += quotes.len();
            break;
        }
        if quotes.len() == 1 && c == '\n' {
            break;
        }
        if rest.starts_with("{{") || rest.starts_with("}}") {
            at += 2;
        } else if c == '\\' {
            at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
        } else if c == '{' && holes < MAX_HOLES {
            span("str", &text[start..at + 1], out);
            text = code_until(&text[at + 1..], holes + 1, find, out);
            (start, at) = (0, usize::from(!text.is_empty()));
        } else {
            at += c.len_utf8();
        }
    }
    span("str", &text[start..at], out);
    &text[at..]
}

/// How long a raw string is.
fn raw(text: &str) -> usize {
    if let Some(inner) = text.strip_prefix("r\"\"\"") {
        return inner.find("\"\"\"").map_or(text.len(), |end| 4 + end + 3);
    }
    let inner = &text[2..];
    match inner.find(['"', '\n']) {
        Some(end) if inner[end..].starts_with('"') => 2 + end + 1,
        Some(end) => 2 + end,
        None => text.len(),
    }
}

/// How long a number with its unit is.
fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = usize::from(bytes[0] == b'$');
    while at < bytes.len() {
        let next = |ahead: usize| bytes.get(at + ahead).copied().unwrap_or(0);
        match bytes[at] {
            b'.' if next(1).is_ascii_digit() => at += 1,
            b'-' | b'+' if matches!(bytes[at - 1], b'e' | b'E') && next(1).is_ascii_digit() => {
                at += 1;
            }
            b'%' => return at + 1,
            c if is_word(c as char) => at += 1,
            _ => break,
        }
    }
    at
}

fn span(class: &str, text: &str, out: &mut String) {
    if class.is_empty() || text.is_empty() {
        out.push_str(&escape(text));
    } else {
        out.push_str(&format!("<span class=\"{class}\">{}</span>", escape(text)));
    }
}

fn link(address: &str, text: &str, out: &mut String) {
    out.push_str(&format!("<a href=\"{}\">{}</a>", escape(address), escape(text)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text without its tags, which must be what went in.
    fn plain(html: &str) -> String {
        let mut out = String::new();
        let mut inside = false;
        for c in html.chars() {
            match c {
                '<' => inside = true,
                '>' => inside = false,
                c if !inside => out.push(c),
                _ => {}
            }
        }
        let entities =
            [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
        entities.iter().fold(out, |out, (from, to)| out.replace(from, to))
    }

    #[test]
    fn every_character_stays() {
        for code in [
            "stage a = for x in 1..=3 where x > 1 { \"n {x + 1} {{}} <b>\" } // end",
            "let a = \"open {",
            "let a = \"open",
            "let a = r\"\\d{2}\" + r\"\"\"x\"y\"\"\" + \"\"\"a\n {b.c}\n\"\"\"",
            "let a = 1e-3 + 20% + 512MiB + $2.50 - 1 ..= 2",
            "\"{\"{\"{x}\"}\"}\"",
            "r\"",
            "\"\\",
            "é \"é{é}\" $",
            "1.",
            "}}}{{{",
        ] {
            assert_eq!(plain(&claw(code, &|_| None)), code);
        }
        let deep = "\"{".repeat(100_000);
        assert_eq!(plain(&claw(&deep, &|_| None)), deep);
    }

    #[test]
    fn words_have_their_kinds() {
        let find = |name: &str| (name == "persona.imagine").then(|| "p.html#imagine".to_string());
        let html = claw("stage p = persona.imagine(count: 3) where .count > 5%", &find);
        assert_eq!(
            html,
            "<span class=\"key\">stage</span> p = <a href=\"p.html#imagine\">persona.imagine</a>\
             (<span class=\"arg\">count</span>: <span class=\"num\">3</span>) \
             <span class=\"key\">where</span> .<span class=\"fld\">count</span> &gt; \
             <span class=\"num\">5%</span>"
        );
    }
}
