//! What formatting must keep: words, comments and meaning.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use claw::lang::{MemorySources, bind, load};
use claw::plan::stage_key;
use claw::store::Digest;

/// What a text says, without layout: its words joined, but for commas, and its comments.
#[derive(Debug, PartialEq)]
pub struct Words {
    pub code: String,
    pub comments: Vec<String>,
}

/// Takes a text apart by itself: it shares nothing with the grammar that is tested.
pub fn words(text: &str) -> Words {
    let mut words = Words { code: String::new(), comments: Vec::new() };
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            let line = rest.find('\n').unwrap_or(rest.len());
            words.comments.push(rest[..line].trim_end().to_string());
            line
        } else if let Some(length) = string(rest, words.code.chars().last()) {
            words.code.push_str(&rest[..length]);
            length
        } else {
            if !first.is_whitespace() && !matches!(first, ',' | '\u{feff}') {
                words.code.push(first);
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    words
}

/// How long the string is that a text starts with.
fn string(text: &str, before: Option<char>) -> Option<usize> {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    for (open, close) in [("r\"\"\"", "\"\"\""), ("r\"", "\"")] {
        if let (Some(inner), false) = (text.strip_prefix(open), in_word) {
            return inner.find(close).map(|at| open.len() + at + close.len());
        }
    }
    let quote = ["\"\"\"", "\""].into_iter().find(|quote| text.starts_with(quote))?;
    let mut at = quote.len();
    loop {
        let rest = &text[at..];
        if rest.starts_with(quote) {
            return Some(at + quote.len());
        }
        at += match rest.chars().next()? {
            '\\' => 1 + rest[1..].chars().next()?.len_utf8(),
            '{' if rest.starts_with("{{") => 2,
            '{' => hole(rest)?,
            other => other.len_utf8(),
        };
    }
}

/// How long the hole is that a text starts with.
fn hole(text: &str) -> Option<usize> {
    let mut at = 0;
    let mut depth = 0;
    loop {
        let rest = &text[at..];
        let first = rest.chars().next()?;
        depth += usize::from(matches!(first, '(' | '[' | '{'));
        if matches!(first, ')' | ']' | '}') {
            depth -= 1;
            if depth == 0 {
                return Some(at + 1);
            }
        }
        at += match string(rest, text[..at].chars().last()) {
            Some(length) => length,
            None if rest.starts_with("//") => rest.find('\n')?,
            None => first.len_utf8(),
        };
    }
}

/// The library as it stands, and stand-ins for what programs read.
static LIBRARY: LazyLock<MemorySources> = LazyLock::new(|| {
    let root = crate::project::checkout().join("stdlib");
    let mut sources = MemorySources::new();
    for path in super::claw_files(&root) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        sources = sources.file(&format!("std/{name}"), std::fs::read(&path).expect("a module"));
    }
    for dir in ["personas", "skills", "taxonomy", "tasks"] {
        sources = sources.file(&format!("std/{dir}/README.md"), "stand-in");
    }
    sources
});

/// What a text means to the rest of the program: the keys of its stages, its parameters and outputs,
/// what its parts are documented as, and what is said about it.
pub fn meaning(text: &str) -> Vec<String> {
    let sources = LIBRARY.clone().file("main.claw", text);
    let checked = load("main.claw", &sources);
    let mut meaning: Vec<String> = checked
        .diagnostics
        .iter()
        .map(|one| format!("{} {} {:?}", one.code, one.message, one.help))
        .collect();
    let Some(program) = checked.program else {
        return meaning;
    };
    meaning.push(program.doc.clone());
    meaning
        .extend(program.params.iter().map(|one| format!("{}: {} {}", one.name, one.ty, one.doc)));
    meaning
        .extend(program.stages.iter().map(|one| format!("{}: {} {}", one.name, one.ty, one.doc)));
    match bind(&program, &BTreeMap::new(), &sources) {
        Ok(pipeline) => {
            meaning.extend(pipeline.params.iter().map(|(name, value)| format!("{name} {value:?}")));
            meaning
                .extend(pipeline.outputs.iter().map(|out| format!("{} {:?}", out.stage, out.path)));
            for stage in &pipeline.stages {
                let upstream = |name: &str| Digest::of(name.as_bytes());
                let key = stage_key(&stage.expr, &|_| 1, &upstream);
                meaning.push(format!("key of {}: {key:?}", stage.name));
            }
        }
        Err(found) => meaning.extend(found.iter().map(|one| one.message.clone())),
    }
    meaning
}
