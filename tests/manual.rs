//! The manual tells the truth: every block of code in `docs/language.md` is run, and so is every
//! example in the documentation of the standard library.
//!
//! What stands behind the opening marks of a block says what is expected of it:
//!
//! - `claw`: a whole file, which checks without an error;
//! - `claw,error E0304`: a whole file, which gives that code and no other error;
//! - `claw,expression`: an expression a line; behind `// =>` stands its value as JSON;
//! - `claw,file NAME`: a file that blocks below it may use, which checks by itself;
//! - `claw,soon`: a form that this checkout does not have yet;
//! - `text`: no code.

use std::collections::BTreeSet;

use claw::lang::{
    Checked, DeclaredKind, ExprKind, MemorySources, Outline, Severity, bind, load, outline, render,
};

use crate::project::checkout;

/// A block of code: what stands behind its opening marks, the code, and the line that it starts on.
struct Block {
    info: String,
    code: String,
    line: usize,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                open = Some(Block { info: info.to_string(), code: String::new(), line: at + 2 });
            }
            (Some(_), Some("")) => found.extend(open.take()),
            (Some(block), _) => {
                block.code.push_str(line);
                block.code.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

/// The library's modules as they stand in this checkout.
fn library() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(checkout().join("stdlib")).unwrap();
    let mut modules: Vec<(String, String)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "claw"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (format!("std/{name}"), std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    modules.sort();
    assert!(modules.len() >= 9);
    modules
}

/// The library, and stand-ins for the files that examples name.
fn sources() -> MemorySources {
    let mut sources = MemorySources::new();
    for (path, text) in library() {
        sources = sources.file(&path, text);
    }
    for folder in ["personas", "skills", "taxonomy", "tasks"] {
        sources = sources.file(&format!("std/{folder}/README.md"), "stand-in");
    }
    let errand = "{{ persona.name }} needs help. {{ feedback }}";
    sources
        .file("agent/agent.py", "stand-in")
        .file("skills/one/SKILL.md", "stand-in")
        .file("prompts/rules.md", "stand-in")
        .file("data/words.txt", "stand-in")
        .file("data/people.csv", "stand-in")
        .file("data/people.json", "stand-in")
        .file("data/people.jsonl", "stand-in")
        .file("data/prices.csv", "stand-in")
        .file("data/train.parquet", "stand-in")
        .file("prompts/errand.md.j2", errand)
}

fn check(code: &str, sources: &MemorySources) -> Checked {
    load("main.claw", &sources.clone().file("main.claw", code))
}

fn said(checked: &Checked) -> String {
    let show = |one| render(one, &checked.sources, 100, false);
    checked.diagnostics.iter().map(show).collect::<Vec<_>>().join("\n")
}

/// Checks that a file has no error. Fragments may have no output and may use what they only show.
#[track_caller]
fn right(place: &str, code: &str, sources: &MemorySources) {
    let checked = check(code, sources);
    let is_known = |code: &str| ["W0101", "W0102"].contains(&code);
    let unexpected = checked.diagnostics.iter().any(|one| !is_known(one.code));
    assert!(checked.program.is_some() && !unexpected, "{place}:\n{code}\n{}", said(&checked));
}

/// The value of an expression as JSON.
fn value(place: &str, code: &str, sources: &MemorySources) -> String {
    let sources = sources.clone().file("main.claw", format!("stage x = {code}\noutput x\n"));
    let checked = load("main.claw", &sources);
    let shown = said(&checked);
    let program = checked.program.unwrap_or_else(|| panic!("{place}: {code}\n{shown}"));
    let pipeline = bind(&program, &Default::default(), &sources).unwrap();
    match &pipeline.stages[0].expr.kind {
        ExprKind::Const(value) => String::from_utf8(value.encode()).unwrap(),
        other => panic!("{place}: {code} is no constant: {other:?}"),
    }
}

#[test]
fn every_block_of_the_manual_is_true() {
    let text = std::fs::read_to_string(checkout().join("docs/language.md")).unwrap();
    let mut sources = sources();
    let mut kinds = BTreeSet::new();
    for block in blocks(&text) {
        let place = format!("docs/language.md:{}", block.line);
        let (kind, rest) = block.info.split_once(' ').unwrap_or((&block.info, ""));
        kinds.insert(kind.to_string());
        match kind {
            "claw" => right(&place, &block.code, &sources),
            "claw,error" => {
                let checked = check(&block.code, &sources);
                let errors = checked.diagnostics.iter();
                let errors = errors.filter(|one| one.severity == Severity::Error);
                let codes: BTreeSet<&str> = errors.map(|one| one.code).collect();
                assert_eq!(codes, BTreeSet::from([rest]), "{place}: {}", said(&checked));
            }
            "claw,expression" => {
                for line in block.code.lines().filter(|line| !line.trim().is_empty()) {
                    let (code, expected) = line.split_once("// =>").unwrap_or_else(|| {
                        panic!("{place}: `{line}` does not say what it gives");
                    });
                    assert_eq!(
                        value(&place, code.trim(), &sources),
                        expected.trim(),
                        "{place}: {line}"
                    );
                }
            }
            "claw,file" => {
                right(&place, &block.code, &sources);
                sources = sources.file(rest, block.code);
            }
            "claw,soon" | "text" => {}
            other => panic!("{place}: `{other}` is no kind of block"),
        }
    }
    for kind in ["claw", "claw,error", "claw,expression", "claw,file"] {
        assert!(kinds.contains(kind), "there is no block of the kind `{kind}`");
    }
}

/// The message in the chapter on errors is the one that the program prints.
#[test]
fn the_message_in_the_manual_is_the_real_one() {
    let text = std::fs::read_to_string(checkout().join("docs/language.md")).unwrap();
    let shown = blocks(&text);
    let shown = shown.iter().find(|block| block.code.starts_with("claw::E0304")).unwrap();
    let code =
        "use std/persona\n\nstage people = persona.imagine(count: 3, sead: 7)\noutput people\n";
    let checked = load("tasks.claw", &sources().file("tasks.claw", code));
    let trimmed = |text: &str| {
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join("\n")
    };
    let real = trimmed(&render(&checked.diagnostics[0], &checked.sources, 100, false));
    for line in trimmed(&shown.code).lines().filter(|line| !line.contains("│ stage")) {
        assert!(real.contains(line), "{line}\n---\n{real}");
    }
}

/// Each word of the grammar stands in the manual, so that none is forgotten.
#[test]
fn the_manual_names_every_word_and_every_policy() {
    let text = std::fs::read_to_string(checkout().join("docs/language.md")).unwrap();
    for word in crate::doc::grammar_words() {
        assert!(text.contains(&word), "the manual does not say `{word}`");
    }
    for policy in claw::lang::explain("E0601")
        .unwrap()
        .split_once("resources are")
        .unwrap()
        .0
        .split_once('`')
        .unwrap()
        .1
        .split(['`', ' ', '\n'])
        .filter(|word| word.len() > 3 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    {
        assert!(text.contains(policy), "the manual does not say `{policy}`");
    }
}

fn docs(outline: &Outline) -> Vec<(String, &str)> {
    let mut docs = vec![(outline.module.clone(), outline.doc.as_str())];
    for item in &outline.items {
        let place = format!("{} {}", outline.module, item.name);
        docs.push((place.clone(), &item.doc));
        docs.extend(item.arguments.iter().map(|of| (place.clone(), of.doc.as_str())));
        docs.extend(item.fields.iter().map(|of| (place.clone(), of.doc.as_str())));
    }
    docs
}

#[test]
fn every_example_of_the_library_checks() {
    let sources = sources();
    let mut count = 0;
    for (path, text) in library() {
        let outline = outline(&path, &text);
        assert_eq!(outline.broken, [""; 0], "{path}");
        for (place, doc) in docs(&outline) {
            for block in blocks(doc) {
                assert_eq!(block.info, "claw", "{place}");
                let checked = check(&block.code, &sources);
                let unexpected: Vec<&str> = checked
                    .diagnostics
                    .iter()
                    .map(|one| one.code)
                    // An example of a def has no stage that could be an output.
                    .filter(|code| *code != "W0102")
                    .collect();
                assert!(unexpected.is_empty(), "{place}:\n{}", said(&checked));
                count += 1;
            }
        }
    }
    assert!(count >= 20, "{count} examples");
}

/// What the library declares is documented, with an example for each operator and function.
#[test]
fn the_library_is_documented() {
    let mut missing = Vec::new();
    for (path, text) in library() {
        let outline = outline(&path, &text);
        if !outline.doc.contains("```claw") {
            missing.push(format!("{path} has no example"));
        }
        for item in &outline.items {
            if item.doc.is_empty() {
                missing.push(format!("{path} {} has no documentation", item.name));
            }
            let is_function = matches!(item.kind, DeclaredKind::Operator | DeclaredKind::Function);
            if is_function && !item.doc.contains("```claw") {
                missing.push(format!("{path} {} has no example", item.name));
            }
            if is_function && !item.doc.contains(' ') {
                missing.push(format!("{path} {} says nothing", item.name));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Documentation is no part of a key: the library without a comment in it is the same library.
#[test]
fn documentation_changes_no_key() {
    let entry = "pipelines/quickstart.claw";
    let pipeline = std::fs::read_to_string(checkout().join(entry)).unwrap();
    let bare = |text: &str| -> String {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let keys = |write: &dyn Fn(&str) -> String| -> Vec<(String, String)> {
        let mut sources = sources().file(entry, write(&pipeline));
        for (path, text) in library() {
            sources = sources.file(&path, write(&text));
        }
        let checked = load(entry, &sources);
        let program = checked.program.unwrap();
        let pipeline = bind(&program, &Default::default(), &sources).unwrap();
        let key = |expr: &claw::lang::Expr| {
            let mut hasher = claw::store::KeyHasher::new("test");
            expr.hash_into(&mut hasher, &mut Vec::new(), &mut |hasher, stage| {
                hasher.text(stage);
            });
            hasher.finish().to_string()
        };
        pipeline.stages.iter().map(|stage| (stage.name.clone(), key(&stage.expr))).collect()
    };
    let documented = keys(&|text| text.to_string());
    assert!(documented.len() > 10);
    assert_eq!(documented, keys(&bare));
}
