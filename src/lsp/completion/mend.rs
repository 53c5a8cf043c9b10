//! Mending the declaration that is being written, so that the checker can say what fits there.
//!
//! ```text
//! stage runs = for w in worlds { rollout.run(world: w, |
//! stage runs = for w in worlds { rollout.run(world: w, claw_here)}
//! ```
//!
//! A name nobody has is put at the cursor, then what may be missing behind it is tried, the likely
//! first, until the declaration parses: what stands there already, brackets, the rest of an `if` or
//! a `for`. The program with that text in place of the file is checked like any other, and its index
//! tells what the name stands for: an argument, a field of something, a policy, a value of a type.

use crate::lang::{FileId, Span, is_declaration};

use super::scan::{Open, Scan, item_around, scan, word_around};
use crate::lsp::program::Program;
use crate::lsp::workspace::{View, Workspace};

/// The name that is put in.
const PLACEHOLDER: &str = "claw_here";

/// What may be missing right behind the name.
const NEXT: [&str; 13] = [
    "",
    ": null",
    ",",
    ": null,",
    " { null }",
    " = null",
    " null",
    " else null",
    " then null else null",
    " accept null",
    " in [] { null }",
    " { accept null }",
    ": Json",
];

/// What may be missing further out, before a bracket closes or at the end.
const OUTER: [&str; 7] =
    [" null", " accept null", " else null", " { null }", " = null", " -> Json { null }", ": null"];

/// How many ways are tried, and how deep the cursor may stand for it.
const MAX_TRIES: usize = 1_000;
const MAX_OPEN: usize = 64;

/// What stands at the cursor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::lsp) enum At {
    /// A name, begun or not.
    Name,
    /// The inside of a string, which starts there.
    Text(u32),
    /// A number that a unit may follow.
    Number,
}

/// A program with the declaration under the cursor mended.
pub(in crate::lsp) struct Mended {
    pub(in crate::lsp) program: Program,
    pub(in crate::lsp) file: FileId,
    /// Inside of what was put in.
    pub(in crate::lsp) offset: u32,
    /// What was put in: a name, a number, or a whole string.
    pub(super) span: Span,
    pub(super) at: At,
}

impl Mended {
    /// Mends what stands at a place; `None` when nothing that is tried parses.
    pub(in crate::lsp) fn of(workspace: &Workspace, view: &View) -> Option<Mended> {
        let text = &workspace.document(&view.path)?.text.text;
        let offset = view.offset as usize;
        let (from, to) = item_around(text, offset);
        let scan = scan(&text[from..offset]);
        if scan.in_comment || scan.open.len() > MAX_OPEN {
            return None;
        }
        let gap = Gap::of(text, offset, from, &scan);
        let head = &text[from..gap.start];
        let rest = &text[gap.end..to];
        let tail = tail(head, &gap.inserted, rest, &scan)?;
        let whole = format!("{}{head}{}{tail}{}", &text[..from], gap.inserted, &text[to..]);
        let project = &view.program.project;
        let mut open = workspace.overlay(project);
        open.insert(view.program.entry.clone(), whole.into());
        let program = Program::check(project, &view.program.entry, open);
        let file = program.file(&program.entry)?;
        let end = (gap.start + gap.inserted.len()) as u32;
        let (start, offset) = match gap.at {
            At::Name | At::Number => (gap.start as u32, gap.start as u32 + 1),
            At::Text(start) => (start, gap.start as u32),
        };
        Some(Mended { program, file, offset, span: Span { file, start, end }, at: gap.at })
    }
}

/// The part of the text that is replaced.
struct Gap {
    start: usize,
    end: usize,
    inserted: String,
    at: At,
}

impl Gap {
    fn of(text: &str, offset: usize, from: usize, scan: &Scan) -> Gap {
        if let Some((open, start)) = scan.text() {
            // What stands behind the cursor in the same string goes.
            let line = text[offset..].split('\n').next().unwrap_or("");
            let closed = line.find(open.closer()).map_or(0, |at| at + open.closer().len());
            return Gap {
                start: offset,
                end: offset + closed,
                inserted: open.closer().to_string(),
                at: At::Text((from + start) as u32),
            };
        }
        let (start, end) = word_around(text, offset);
        let is_number = text[start..].starts_with(|c: char| c.is_ascii_digit());
        if is_number {
            // `0.5m`: the digits before the dot belong to it.
            let number = |c: char| c.is_ascii_digit() || c == '.' || c == '_';
            let start = text[..start].trim_end_matches(number).len();
            return Gap { start, end, inserted: "0".to_string(), at: At::Number };
        }
        Gap { start, end, inserted: PLACEHOLDER.to_string(), at: At::Name }
    }
}

/// What makes `head` and `inserted` a declaration that parses.
fn tail(head: &str, inserted: &str, rest: &str, scan: &Scan) -> Option<String> {
    let start = format!("{head}{inserted}");
    let parses = |tail: &String| is_declaration(format!("{start}{tail}").trim_end());
    let below = rest.split_once('\n').map_or("", |(_, below)| below);
    // A string was closed by what was put in.
    let open: Vec<Open> = scan.open.iter().map(|(open, _)| *open).collect();
    let open = if scan.text().is_some() { &open[..open.len() - 1] } else { &open[..] };
    let kept = NEXT.iter().map(|next| format!("{next}{rest}"));
    let line = NEXT.iter().map(|next| format!("{next}\n{below}"));
    let closed = (0..=OUTER.len() * (open.len() + 1)).flat_map(|way| {
        NEXT.iter().map(move |next| {
            let mut tail = (*next).to_string();
            for (level, open) in open.iter().rev().enumerate() {
                tail.push_str(outer(way, level));
                tail.push_str(open.closer());
            }
            tail.push_str(outer(way, open.len()));
            tail
        })
    });
    kept.chain(line).chain(closed).take(MAX_TRIES).find(parses)
}

/// What is put in at a level on the `way`-th try: nothing on the first, then one thing at one level.
fn outer(way: usize, level: usize) -> &'static str {
    match way.checked_sub(1) {
        Some(way) if way / OUTER.len() == level => OUTER[way % OUTER.len()],
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mended declaration, with the cursor at `|`.
    fn mended(text: &str) -> Option<String> {
        let offset = text.find('|').expect("a cursor");
        let text = text.replacen('|', "", 1);
        let scan = scan(&text[..offset]);
        let gap = Gap::of(&text, offset, 0, &scan);
        let (head, rest) = (&text[..gap.start], &text[gap.end..]);
        let tail = tail(head, &gap.inserted, rest, &scan)?;
        Some(format!("{head}{}{tail}", gap.inserted))
    }

    #[test]
    fn mends_what_is_being_written() {
        let cases = [
            "stage a = for w in xs { rollout.run(|",
            "stage a = for w in xs { rollout.run(world: w, |)\n}",
            "stage a = for w in xs { rollout.run(world: w, mo|",
            "stage a = for w in xs where w.| { f(w) }",
            "stage a = for w in |",
            "stage a = xs where .|",
            "stage a = xs where .b == \"|",
            "stage a = f(x) with { | }",
            "stage a = f(x) with { retries: 2, on|",
            "stage a = f({ x: 1, |",
            "def f(a: |",
            "def f(a: int) -> |",
            "def f(a: int) -> int { let b = g(|",
            "def f() -> T? { try 4 with feedback { let d = g(|",
            "def f() -> T? { try 4 { let d = g(x: \"{|",
            "stage a = if x then |",
            "stage a = if |",
            "param a: |",
            "param box: Sandbox = sandbox(\"process\", memory: 512M|",
            "type T = { a: |",
            "output |",
        ];
        let mended: Vec<String> = cases
            .iter()
            .map(|case| format!("{case}\n    {}", mended(case).unwrap_or("-".to_string())))
            .collect();
        insta::assert_snapshot!(mended.join("\n"));
    }
}
