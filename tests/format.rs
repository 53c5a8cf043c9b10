//! The formatter: one style, and nothing lost on the way to it.

#![allow(clippy::disallowed_methods, reason = "tests read the repository's own files")]

#[path = "format/command.rs"]
mod command;
#[path = "format/compare.rs"]
mod compare;
#[path = "format/programs.rs"]
mod programs;
#[path = "format/writer.rs"]
mod writer;

use std::path::{Path, PathBuf};

use claw::lang::{FileId, SourceMap, format, render};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use compare::{Words, meaning, words};

/// The text in the one style, which is also what formatting it again gives.
#[track_caller]
pub fn formatted(text: &str) -> String {
    let once = format(text).unwrap_or_else(|found| panic!("{found:?}\n{text}"));
    let twice = format(&once).unwrap_or_else(|found| panic!("{found:?}\n{once}"));
    if let Some((a, b)) = once.lines().zip(twice.lines()).find(|(a, b)| a != b) {
        panic!("formatting again makes\n{b}\nof\n{a}\nin\n{once}");
    }
    assert_eq!(once, twice, "formatting again changes something");
    assert!(once.is_empty() || once.ends_with('\n'));
    once
}

/// Formats, and holds the result against the text: the same words and comments in the same order.
#[track_caller]
fn kept(text: &str) -> String {
    let formatted = formatted(text);
    assert_eq!(words(text), words(&formatted), "{text}\n--------\n{formatted}");
    formatted
}

/// The same, and the same meaning.
#[track_caller]
fn held(text: &str) -> String {
    let formatted = kept(text);
    assert_eq!(meaning(text), meaning(&formatted), "{text}\n--------\n{formatted}");
    formatted
}

macro_rules! style {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                let text = include_str!(concat!("format/", stringify!($name), ".txt"));
                insta::assert_snapshot!(held(text));
            }
        )*
    };
}

style!(declarations, expressions, long_lines, comments, blocks, strings);

fn claw_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(claw_files(&path));
        } else if path.extension().is_some_and(|end| end == "claw") {
            files.push(path);
        }
    }
    files
}

#[test]
fn what_is_in_the_repository_is_formatted() {
    let mut count = 0;
    for folder in ["stdlib", "pipelines", "examples"] {
        for path in claw_files(&crate::project::checkout().join(folder)) {
            let text = std::fs::read_to_string(&path).expect("text");
            assert_eq!(held(&text), text, "{} is not formatted: run `claw fmt`", path.display());
            count += 1;
        }
    }
    assert!(count >= 12, "{count} files");
}

/// The examples of the pages on errors, right and wrong ones.
#[test]
fn what_is_in_the_pages_is_formatted() {
    let mut count = 0;
    for code in claw::lang::codes() {
        let page = claw::lang::explain(code).expect("a page");
        for block in page.split("```").skip(1).step_by(2) {
            let Some((mark, text)) = block.split_once('\n') else { continue };
            if !matches!(mark, "claw" | "claw,error") {
                continue;
            }
            count += 1;
            match format(text) {
                Ok(_) => assert_eq!(held(text), text, "{code}"),
                Err(found) => assert!(
                    mark == "claw,error" && found.iter().all(|one| one.code == code),
                    "{code}: {found:?}"
                ),
            }
        }
    }
    assert!(count > 50, "{count} examples");
}

#[test]
fn what_does_not_parse_is_told_and_left() {
    let text = "stage a = [1,\nstage b = 2 2\n\nlet c = 512Mb\noutput b\n//! late\n";
    let found = format(text).expect_err("this does not parse");
    let mut sources = SourceMap::default();
    sources.add("a.claw", text.into());
    assert!(found.iter().flat_map(|one| &one.labels).all(|(span, _)| span.file == FileId(0)));
    let said: Vec<String> = found.iter().map(|one| render(one, &sources, 100, false)).collect();
    insta::assert_snapshot!(said.join("\n"));
}

/// Mistakes of meaning are no obstacle.
#[test]
fn what_is_wrong_in_meaning_is_formatted() {
    assert_eq!(held("let  a=512Mb+nothing"), "let a = 512Mb + nothing\n");
    assert_eq!(held("output   x as\"a\\qb\""), "output x as \"a\\qb\"\n");
}

#[test]
fn nothing_stays_nothing() {
    for text in ["", "\n\n", "  \t\r\n", "\u{feff}"] {
        assert_eq!(formatted(text), "");
    }
    assert_eq!(formatted("\n\n// a  \r\n\r\n\r\n\r\n//b"), "// a\n\n//b\n");
    assert_eq!(formatted("//!  a \n\n//! b\nlet x=1"), "//!  a\n\n//! b\n\nlet x = 1\n");
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    let code = |text: &str| format(text).expect_err("refused")[0].code;
    assert_eq!(code(&" ".repeat((8 << 20) + 1)), "E0003");
    let n = 10_000;
    for text in [
        format!("let a = {}1{}", "(".repeat(n), ")".repeat(n)),
        format!("let a = {}1", "-".repeat(n)),
        format!("let a = {}1", "if true then 1 else ".repeat(n)),
        format!("type T = int{}", " -> int".repeat(n)),
        format!("let a = {}", "\"{".repeat(n)),
    ] {
        assert!(matches!(code(&text), "E0004" | "E0005"), "{}", &text[..30]);
    }
    // What is just within the limits is formatted.
    let n = 100;
    for text in [
        format!("let a = {}1{}", "(".repeat(n), ")".repeat(n)),
        format!("let a = {}1{}", "[".repeat(n), "]".repeat(n)),
        format!("let a = {}1{}", "{ a: ".repeat(n), " }".repeat(n)),
        format!("let a = {}1{}", "f(a: ".repeat(n / 2), ")".repeat(n / 2)),
        format!("let a = 1{}", " + 1".repeat(n)),
        format!("let a = {}1", "if true then 1 else ".repeat(n)),
        format!("let a = {}\"x\"{}", "\"a{".repeat(n / 2), "}\"".repeat(n / 2)),
    ] {
        kept(&text);
    }
}

/// Only what cannot be broken goes past the hundredth column.
#[test]
fn lines_are_at_most_a_hundred_columns() {
    let name = "a_name_of_some_length";
    for count in (1..40).step_by(3) {
        let list = |between: &str| vec![name; count].join(between);
        for text in [
            format!("stage x = f({})", list(", ")),
            format!("stage x = [{}]", list(", ")),
            format!("stage x = {{ a: [{}], b: ({}) }}", list(", "), list(" + ")),
            format!("stage x = {}", list(" and ")),
            format!("stage x = {}", list(" == a or b + ")),
            format!("stage x = {}", list(" where ")),
            format!(
                "stage x = {} else z",
                list(" then y else if ").replacen("a_", "if a_", 1) + " then q"
            ),
            format!(
                "stage x = for a in {} where {} {{ {} }}",
                list(", b in "),
                list(" and "),
                list(" + ")
            ),
            format!("stage x = f({0}) with {{ a: f({0}), b: 1 }}", list(", ")),
            format!("type T = {{ a: {} }}", list(", b: ")),
            format!("def f(a: {}) -> T {{ {} }}", list(", b: "), list(" + ")),
        ] {
            let formatted = kept(&text);
            let widest = formatted.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(100), "{formatted}");
        }
    }
}

#[test]
fn what_a_bracket_was_opened_onto_stays_open() {
    assert_eq!(formatted("let a = [\n1, 2]"), "let a = [\n  1, 2,\n]\n");
    assert_eq!(formatted("let a = [1,\n2,]"), "let a = [1, 2]\n");
    assert_eq!(formatted("let a = f(\nx)"), "let a = f(\n  x,\n)\n");
    assert_eq!(formatted("let a = {\nx:1,\n\n\ny:2}"), "let a = {\n  x: 1,\n\n  y: 2,\n}\n");
    assert_eq!(formatted("let a = (\nx\n)"), "let a = (x)\n");
}

/// A bracket on the line after an `if` starts something new.
#[test]
fn nothing_touches_an_if() {
    for bracket in ["[x]", "(x)", ".x"] {
        let text = format!("def f() -> T {{ let x = if a then b else c\n{bracket} }}");
        let expected = format!("def f() -> T {{\n  let x = if a then b else c\n  {bracket}\n}}\n");
        assert_eq!(kept(&text), expected);
    }
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Most programs that are drawn are right, so that it is keys that are compared.
#[test]
fn most_programs_are_right() {
    let mut runner = TestRunner::deterministic();
    let mut right = 0;
    for _ in 0..30 {
        let text = programs::program().new_tree(&mut runner).expect("a program").current().text();
        let meaning = meaning(&text);
        right += usize::from(meaning.iter().any(|line| line.starts_with("key of errands")));
    }
    assert!(right > 20, "{right} of 30");
}

proptest! {
    #![proptest_config(config(100))]

    /// Whatever a program says and however it is laid out: every word and every comment stays in its
    /// place, and so does the meaning.
    #[test]
    fn programs_keep_words_comments_and_keys(program in programs::program()) {
        let text = program.text();
        let formatted = held(&text);
        let Words { comments, .. } = words(&formatted);
        prop_assert_eq!(comments, program.comments());
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = format(&text);
    }

    #[test]
    fn no_soup_of_words_panics(soup in proptest::collection::vec(proptest::sample::select(programs::SOUP), 0..40)) {
        let text = soup.join(" ");
        if format(&text).is_ok() {
            kept(&text);
        }
    }

    #[test]
    fn no_damage_panics(cuts in proptest::collection::vec((0usize..3000, 0usize..40, "[a-z0-9 .,:=(){}\"\\[\\]%$|&é\n/-]{0,12}"), 1..6)) {
        let mut text = include_str!("../pipelines/quickstart.claw").to_string();
        for (at, length, put) in cuts {
            let start = text.floor_char_boundary(at.min(text.len()));
            let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
            text.replace_range(start..end, &put);
        }
        if format(&text).is_ok() {
            kept(&text);
        }
    }
}
