//! A bounded, repeatable run of what `fuzz/` does without end: programs of this repository and nasty
//! ones, changed at random by a seed. Nothing may panic, overrun the stack of a worker thread, or go
//! on for ever.
//!
//! `CLAW_FUZZ_ROUNDS=20000 CLAW_FUZZ_SEED=7 cargo test fuzz::` looks further.

use std::path::Path;

use crate::project::checkout;

#[path = "../fuzz/harness.rs"]
mod harness;

/// The stack of a worker of an async runtime, on which programs are checked too.
const STACK: usize = 2 << 20;

/// Texts are cut to this length, so that a round is short.
const LONGEST: usize = 32 << 10;

/// Does it on a stack as small as it may be. Gives back what panicked.
fn on_small_stack(work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work).expect("a thread");
    thread.join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
            .unwrap_or_else(|| "a panic without words".to_string())
    })
}

/// Runs a program and says which one it was when it fails.
#[track_caller]
fn survives(bytes: &[u8], what: &str) {
    let text = bytes.to_vec();
    if let Err(panic) = on_small_stack(move || drop(harness::program(&text))) {
        let shown: String = String::from_utf8_lossy(bytes).chars().take(4_000).collect();
        panic!("{what}: {panic}\n--------\n{shown}");
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// The programs of the library, the pipelines, the examples, the pages of errors, and nasty ones.
fn corpus() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for folder in ["stdlib", "pipelines", "examples", "tests/corpus"] {
        let mut paths: Vec<_> = std::fs::read_dir(checkout().join(folder))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|end| end == "claw"))
            .collect();
        paths.sort();
        all.extend(paths.iter().map(|path| std::fs::read(path).expect("a program")));
    }
    for code in claw::lang::codes() {
        let page = claw::lang::explain(code).expect("a page");
        let blocks = page.split("```claw").skip(1).filter_map(|block| block.split_once('\n'));
        all.extend(blocks.filter_map(|(_, rest)| Some(rest.split_once("```")?.0.into())));
    }
    assert!(all.len() > 60, "{}", all.len());
    all
}

/// Pieces that go wrong more often than others.
const NASTY: &[&str] = &[
    "\"",
    "\"\"\"",
    "r\"",
    "\"{",
    "}\"",
    "{{",
    "\\",
    "\\u{110000}",
    "\\u{d800}",
    "\\\u{e9}",
    "//",
    "///",
    "//!",
    "\0",
    "\u{feff}",
    "\u{202e}",
    "\u{1b}[31m",
    "\r",
    "\r\n",
    "\t",
    "é",
    "🦀",
    "a\u{301}",
    "\u{85}",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "((((((((",
    "[[[[[[[[",
    "9223372036854775808",
    "-9223372036854775808",
    "1e999",
    "1e-999",
    "0.1B",
    "99999999999TiB",
    "$0.0000001",
    "1_",
    "1__0",
    "0x10",
    "1.",
    ".5",
    "5%%",
    "200%",
    "=",
    "==",
    "=>",
    "->",
    "..",
    "..=",
    "...",
    "&&",
    "||",
    "!",
    ";",
    "'",
    "#",
    "@",
    "stage",
    "stage ",
    "\nstage ",
    "\noutput a",
    "use ",
    "with {",
    "where",
    "where .",
    "for x in",
    "in",
    "try 4",
    "accept",
    "test \"",
    "null",
    "self",
    "std/",
    "../",
    "\"../../..\"",
    "file(\"/\")",
    "dir(\"\")",
    "env(\"\")",
    "model()",
    "1 / 0",
    "1 % 0",
    "[][0]",
    "if true then",
    "0..9223372036854775807",
    "1..=0",
    "-",
    "--",
    "not not",
];

/// One change at random.
fn change(text: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(text.len() + 1);
    let end = (at + random.below(40)).min(text.len());
    match random.below(14) {
        0 if at < text.len() => text[at] ^= 1 << random.below(8),
        1 if at < text.len() => text[at] = random.below(256) as u8,
        2 => drop(text.drain(at..end)),
        3 => {
            let piece = text[at..end].to_vec();
            text.splice(at..at, piece);
        }
        4 => {
            let piece = text[at..end].repeat(1 + random.below(200));
            text.splice(at..at, piece);
        }
        // Much of one thing: nesting, long lines, many mistakes.
        5 => {
            let piece = random.of(NASTY).repeat(1 + random.below(300));
            text.splice(at..at, piece.bytes());
        }
        6 => {
            let other = random.of(corpus);
            let from = random.below(other.len() + 1);
            let until = (from + random.below(400)).min(other.len());
            text.splice(at..end, other[from..until].to_vec());
        }
        7 => text.truncate(at),
        8 => {
            // Two words change places.
            let words: Vec<(usize, usize)> = words(text);
            if words.len() > 1 {
                let (a, b) = (*random.of(&words), *random.of(&words));
                let (a, b) = if a.0 <= b.0 { (a, b) } else { (b, a) };
                if a.1 <= b.0 {
                    let (first, second) = (text[a.0..a.1].to_vec(), text[b.0..b.1].to_vec());
                    text.splice(b.0..b.1, first);
                    text.splice(a.0..a.1, second);
                }
            }
        }
        9 => {
            let words: Vec<(usize, usize)> = words(text);
            if !words.is_empty() {
                let (from, to) = *random.of(&words);
                let token = random.of(harness::TOKENS);
                text.splice(from..to, token.bytes());
            }
        }
        10 => {
            let token = random.of(harness::TOKENS);
            text.splice(at..at, token.bytes());
        }
        _ => {
            let piece = random.of(NASTY);
            text.splice(at..end, piece.bytes());
        }
    }
    text.truncate(LONGEST);
}

/// Where the words of a text stand.
fn words(text: &[u8]) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, byte) in text.iter().chain(b" ").enumerate() {
        match (byte.is_ascii_alphanumeric() || *byte == b'_', start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    words
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn the_corpus_survives() {
    for text in corpus() {
        survives(&text, "as it stands");
    }
}

#[test]
fn changed_programs_survive() {
    let corpus = corpus();
    let seed = number("CLAW_FUZZ_SEED", 1);
    for round in 0..number("CLAW_FUZZ_ROUNDS", 250) {
        let mut random = Random(seed.wrapping_mul(1_000_003).wrapping_add(round));
        let mut text = random.of(&corpus).clone();
        for _ in 0..=random.below(8) {
            change(&mut text, &corpus, &mut random);
        }
        survives(&text, &format!("seed {seed}, round {round}"));
    }
}

#[test]
fn soups_of_tokens_survive() {
    let seed = number("CLAW_FUZZ_SEED", 1);
    for round in 0..number("CLAW_FUZZ_ROUNDS", 250) {
        let mut random = Random(seed.wrapping_mul(7_000_003).wrapping_add(round));
        let bytes: Vec<u8> = (0..random.below(120)).map(|_| random.below(256) as u8).collect();
        survives(harness::soup(&bytes).as_bytes(), &format!("seed {seed}, round {round}"));
    }
}

#[test]
fn given_texts_survive() {
    let seed = number("CLAW_FUZZ_SEED", 1);
    for round in 0..number("CLAW_FUZZ_ROUNDS", 250) / 10 {
        let mut random = Random(seed.wrapping_mul(11_000_003).wrapping_add(round));
        let mut text = String::new();
        for _ in 0..=random.below(6) {
            match random.below(3) {
                0 => text.push_str(random.of::<&str>(NASTY)),
                1 => text.push_str(&random.of(NASTY).repeat(random.below(300))),
                _ => text.push_str(random.of::<&str>(harness::TOKENS)),
            }
        }
        let shown = text.clone();
        if let Err(panic) = on_small_stack(move || harness::given(&text)) {
            panic!("seed {seed}, round {round}: {panic}\n--------\n{shown}");
        }
    }
}

/// Much of one thing. What takes time with the square of it does not come back here.
#[test]
fn large_programs_end() {
    let size = number("CLAW_FUZZ_SIZE", 16 << 10) as usize;
    let many = |start: &str, piece: &dyn Fn(usize) -> String, end: &str| {
        let mut text = start.to_string();
        let mut i = 0;
        while text.len() < size {
            text.push_str(&piece(i));
            i += 1;
        }
        text + end
    };
    let shapes: Vec<(&str, String)> = vec![
        ("blanks", many("", &|_| " \n".into(), "")),
        ("comments", many("", &|_| "// c\n".into(), "")),
        ("docs", many("", &|_| "/// d\n".into(), "")),
        ("broken items", many("", &|_| "stage \n".into(), "")),
        ("one broken item", many("stage a = ", &|_| "x = ( ".into(), "")),
        ("half items", many("", &|i| format!("stage s{i} = for x in"), "")),
        ("open strings", many("", &|i| format!("stage s{i} = \"a\n"), "")),
        ("unknown names", many("", &|i| format!("stage s{i} = nope{i}\n"), "")),
        ("unknown modules", many("", &|i| format!("use std/nope{i}\n"), "")),
        ("unknown types", many("", &|i| format!("param p{i}: Nope{i}\n"), "")),
        ("one name", many("", &|_| "stage a = 1\n".into(), "")),
        ("outputs", many("stage a = 1\n", &|i| format!("output a as \"{i}\"\n"), "")),
        ("a long name", many("stage ", &|_| "a".into(), " = 1\noutput a")),
        ("two long names", {
            let half = "b".repeat(size / 2);
            format!("stage {half} = 1\noutput {half}b")
        }),
        ("a long text", many("stage a = \"", &|_| "x".into(), "\"\noutput a")),
        ("a text of holes", many("stage a = \"", &|_| "{1}".into(), "\"\noutput a")),
        ("a text of braces", many("stage a = \"", &|_| "}".into(), "\"\noutput a")),
        ("escapes", many("stage a = \"", &|_| "\\q".into(), "\"\noutput a")),
        ("a list", many("stage a = [", &|_| "1, ".into(), "]\noutput a")),
        ("a mixed list", many("stage a = [", &|_| "1, \"a\", ".into(), "]\noutput a")),
        ("a record", many("stage a = { ", &|i| format!("f{i}: 1, "), "}\noutput a")),
        ("a record of one field", many("stage a = { ", &|_| "f: 1, ".into(), "}\noutput a")),
        ("records", many("stage a = [", &|i| format!("{{ f{}: 1 }}, ", i % 7), "]\noutput a")),
        ("a record type", many("type T = { ", &|i| format!("f{i}: int, "), "}")),
        ("an enumeration", many("type T = \"a\"", &|i| format!(" | \"{i}\""), "")),
        ("generators", many("stage a = for x in [1]", &|i| format!(", x{i} in [1]"), " { x }")),
        ("arguments", many("stage a = take(", &|i| format!("a{i}: 1, "), ")")),
        ("nameless arguments", many("stage a = take(", &|_| "1, ".into(), ")")),
        ("arguments of a def", many("def f(", &|i| format!("a{i}: int, "), ") -> int { 1 }")),
        ("bindings", many("def f(x: int) -> int {\n", &|i| format!("let a{i} = x\n"), "x }")),
        ("policies", many("stage a = 1 with { ", &|i| format!("p{i}: 1, "), "}")),
        ("signs", many("stage a = ", &|_| "+".into(), "")),
        ("quotes", many("stage a = ", &|_| "\"".into(), "")),
        ("minuses", many("stage a = ", &|_| "-".into(), "1")),
        ("bytes that are no text", many("stage a = 1\n", &|_| "\u{fffd}".into(), "")),
        ("a circle", {
            let count = size / 20;
            let lines: Vec<String> =
                (0..count).map(|i| format!("stage s{i} = s{}", (i + 1) % count)).collect();
            lines.join("\n")
        }),
        ("constants in a circle", {
            let count = size / 20;
            let lines: Vec<String> =
                (0..count).map(|i| format!("let s{i} = s{}", (i + 1) % count)).collect();
            lines.join("\n")
        }),
    ];
    for (what, text) in &shapes {
        survives(text.as_bytes(), what);
    }
}

/// Seeds of the fuzz targets are programs that stand here anyway; see `fuzz/seed.sh`.
#[test]
fn the_fuzz_package_names_every_target() {
    let folder = checkout().join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
    for entry in std::fs::read_dir(folder.join("fuzz_targets")).expect("targets") {
        let path = entry.expect("an entry").path();
        let name = Path::new(&path).file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
