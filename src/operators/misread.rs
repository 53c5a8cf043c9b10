//! What is wrong with a text that should be JSON, in words for who wrote the text and not for who
//! wrote the reader.

use serde_json::Error;
use serde_json::error::Category;

/// The beginnings of the reader's messages, and what they mean.
const WORDS: &[(&str, &str)] = &[
    ("EOF while parsing a list", "it ends inside of a list: a `]` is missing"),
    ("EOF while parsing an object", "it ends inside of an object: a `}` is missing"),
    ("EOF while parsing a string", "it ends inside of a text: a `\"` is missing"),
    ("EOF while parsing a value", "it ends where a value should stand"),
    ("expected `:`", "a `:` should stand here, between a field's name and its value"),
    ("expected `,` or `]`", "a `,` or the `]` of the list should stand here"),
    ("expected `,` or `}`", "a `,` or the `}` of the object should stand here"),
    ("expected ident", "this is no value: only true, false and null stand without quotes"),
    (
        "expected value",
        "a value should stand here: a number, a \"text\", true, false, null, [ or {",
    ),
    ("expected some value", "a value should stand here"),
    ("key must be a string", "the name of a field stands in double quotes"),
    ("trailing comma", "no `,` stands in front of the end of a list or object"),
    ("trailing characters", "something more stands behind the value"),
    ("invalid number", "this is no number"),
    ("number out of range", "this number is too large"),
    ("invalid escape", "`\\` stands only before one of \" \\ / b f n r t u"),
    (
        "control character",
        "a line break or another control character in a text is written \\n or \\u…",
    ),
    ("lone leading surrogate", "this half of a \\u… pair stands alone"),
    ("unexpected end of hex escape", "\\u takes four hexadecimal digits, and a pair of them both"),
    ("recursion limit exceeded", "it nests too deep"),
];

/// What is wrong, without where.
pub(super) fn in_words(err: &Error) -> String {
    let text = err.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    if err.classify() == Category::Data {
        return of_another_kind(text).unwrap_or_else(|| text.to_string());
    }
    let known = WORDS.iter().find(|(start, _)| text.starts_with(start));
    known.map_or_else(|| text.to_string(), |(_, words)| (*words).to_string())
}

/// A value of another kind than the one that is asked for.
fn of_another_kind(text: &str) -> Option<String> {
    let (given, asked) = text.strip_prefix("invalid type: ")?.split_once(", expected ")?;
    let given = match given.split([' ', '`']).next()? {
        "map" => "an object",
        "sequence" => "a list",
        "string" => "a text",
        "integer" | "floating" => "a number",
        "boolean" => "true or false",
        "null" | "unit" => "null",
        _ => return None,
    };
    Some(format!("this is {given}, and {asked} is asked for"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_has_words_of_our_own() {
        let deep = "[".repeat(1000);
        let texts = [
            "[1",
            "{\"a\": 1",
            "\"a",
            "",
            "{\"a\" 1}",
            "[1 2]",
            "{\"a\": 1 \"b\": 2}",
            "nul",
            "x",
            "{a: 1}",
            "[1,]",
            "{\"a\": 1,}",
            "1 2",
            "01",
            "-",
            "1e999",
            "\"\\x\"",
            "\"a\nb\"",
            "\"\\ud800\"",
            "\"\\ud800\\u12\"",
            "'a'",
            &deep,
        ];
        for text in texts {
            let err = serde_json::from_str::<serde_json::Value>(text).expect_err(text);
            let theirs = err.to_string();
            let ours = in_words(&err);
            assert!(!theirs.starts_with(&ours), "{text}: {ours}");
        }
    }
}
