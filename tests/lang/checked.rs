//! Checking and binding a text that stands alone, and what is said about it.

use std::collections::BTreeMap;

use claw::lang::{Checked, MemorySources, Pipeline, Program, bind, load, render};

/// The library as it stands, and stand-ins for the directories that its operators read.
pub(crate) fn library() -> MemorySources {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = MemorySources::new();
    let mut found = 0;
    for entry in std::fs::read_dir(root.join("stdlib")).expect("stdlib") {
        let path = entry.expect("entry").path();
        if path.extension().is_some_and(|end| end == "claw") {
            let name = path.file_name().expect("name").to_string_lossy().into_owned();
            sources = sources.file(&format!("std/{name}"), std::fs::read(&path).expect("module"));
            found += 1;
        }
    }
    assert!(found >= 9, "the library has its modules");
    for dir in ["personas", "skills", "taxonomy", "tasks"] {
        sources = sources.file(&format!("std/{dir}/README.md"), "stand-in");
    }
    sources
}

/// Checks a program that is the only file of its project.
pub(super) fn check(text: &str) -> Checked {
    load("main.claw", &library().file("main.claw", text))
}

/// A program that must be right.
pub(super) fn right(text: &str) -> Program {
    let checked = check(text);
    let said = shown(&checked);
    checked.program.unwrap_or_else(|| panic!("{said}"))
}

/// A right program with the values that are given, or what is said about these.
pub(super) fn bound(text: &str, given: &[(&str, &str)]) -> Result<Pipeline, String> {
    let program = right(text);
    let given: BTreeMap<String, String> =
        given.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    bind(&program, &given, &library()).map_err(|found| {
        found
            .iter()
            .map(|of| render(of, &program.sources, 100, false))
            .collect::<Vec<_>>()
            .join("\n")
    })
}

/// All that is said about a program, as people see it.
pub(super) fn shown(checked: &Checked) -> String {
    let said: Vec<String> = checked
        .diagnostics
        .iter()
        .map(|diagnostic| render(diagnostic, &checked.sources, 100, false))
        .collect();
    said.join("\n")
}

/// All that is said about a program that must be wrong.
pub(super) fn wrong(text: &str) -> String {
    let checked = check(text);
    assert!(checked.program.is_none(), "this must not check");
    shown(&checked)
}

/// Each stage with its type, a line each.
pub(super) fn stage_types(program: &Program) -> String {
    let lines: Vec<String> =
        program.stages.iter().map(|stage| format!("{}: {}", stage.name, stage.ty)).collect();
    lines.join("\n")
}

/// The pipeline that every idea of the language is in.
pub(super) const QUICKSTART: &str = include_str!("../../pipelines/quickstart.claw");
