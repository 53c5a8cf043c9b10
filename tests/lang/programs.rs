//! What right programs become: stages with types, defs written out, files that use files.

use std::collections::BTreeMap;

use claw::lang::{Value, bind, load, references};

use super::checked::{QUICKSTART, library, right, shown, stage_types};

#[test]
fn quickstart_checks_and_binds() {
    let sources = library().file("pipelines/quickstart.claw", QUICKSTART);
    let checked = load("pipelines/quickstart.claw", &sources);
    assert_eq!(shown(&checked), "");
    let program = checked.program.expect("a program");
    insta::assert_snapshot!(stage_types(&program));
    let given = BTreeMap::from([("people".to_string(), "3".to_string())]);
    let pipeline = bind(&program, &given, &sources).expect("a pipeline");
    assert_eq!(pipeline.params[0], ("people".to_string(), Value::Int(3)));
    let needs: Vec<String> = pipeline
        .stages
        .iter()
        .map(|stage| format!("{} <- {}", stage.name, references(&stage.expr).join(" ")))
        .collect();
    insta::assert_snapshot!(needs.join("\n"));
    let mut operators = Vec::new();
    let mut open: Vec<_> = pipeline.stages.iter().map(|stage| &stage.expr).collect();
    while let Some(expr) = open.pop() {
        open.extend(expr.children());
        if let claw::lang::ExprKind::Call(call) = &expr.kind {
            let args: Vec<&str> = call.args.iter().map(|(name, _)| name.as_str()).collect();
            operators.push(format!("{}({}) -> {}", call.operator, args.join(", "), call.returns));
        }
        // Binding leaves nothing open.
        let is_open = matches!(
            expr.kind,
            claw::lang::ExprKind::Param(_)
                | claw::lang::ExprKind::Source(..)
                | claw::lang::ExprKind::Builtin(..)
        );
        assert!(!is_open, "{expr:?}");
    }
    operators.sort();
    insta::assert_snapshot!(operators.join("\n"));
    let read: Vec<&str> = pipeline.read.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(read, ["std/personas", "std/skills", "std/taxonomy", "std/tasks"]);
}

#[test]
fn comments_stand_anywhere() {
    let program = right(
        "//! Doc of the file.\n//! Two lines.\n\n// a\nstage x = [ // b\n  1, // c\n  // d\n  2\n] // e\n\
         //// not a doc\n/// The doc of y.\nstage y = x // f\noutput y",
    );
    assert_eq!(program.doc, "Doc of the file.\nTwo lines.");
    assert_eq!(program.stages[1].doc, "The doc of y.");
}

#[test]
fn defs_are_written_out() {
    let program = right(
        r#"
use std/persona
use std/skill

type Pair = { left: persona.Persona, right: skill.Grounding }

/// A def of defs.
def pairs(people: [persona.Persona], errands: int, label: str) -> [skill.Grounding] {
  let limit = 2 * 3
  let chosen = take(people, count: limit)
  let grounded = for p in chosen, n in 1..=errands { one(person: p, number: n) }
  grounded where .persona.name != label
}

def one(person: persona.Persona, number: int) -> skill.Grounding {
  let twice = number * 2
  skill.ground(persona: person, index: twice, operations: 3)
}

param errands: int = 4
stage people = persona.imagine(count: 9)
stage found = pairs(people: dedup(people, on: .name), errands: errands, label: "x") with { retries: 1, canary: 10 }
stage again = take(persona.imagine(count: 3, seed: 2), count: 1)
stage sizes = for k in [1, 2, 3] { take(people, count: k) }
output found
"#,
    );
    insta::assert_snapshot!(stage_types(&program));
    let stage = |name: &str| program.stages.iter().find(|of| of.name == name).expect(name);
    assert_eq!(references(&stage("found").expr), ["found.grounded"]);
    assert_eq!(references(&stage("found.chosen").expr), ["found.people"]);
    assert_eq!(references(&stage("again").expr), ["again.rows"]);
    // What is called for each row is a block; a constant argument is put in, others have names.
    let claw::lang::ExprKind::For(each) = &stage("found.grounded").expr.kind else {
        panic!("row by row")
    };
    let claw::lang::ExprKind::Block(bindings, result) = &each.body.kind else {
        panic!("a block, not {:?}", each.body.kind)
    };
    assert_eq!(bindings.len(), 3);
    assert!(
        matches!(&result.kind, claw::lang::ExprKind::Call(call) if call.operator == "skill.ground")
    );
    assert!(!each.body.has_free_locals() || each.generators.len() == 2);
    // Policies are handed down, but for those that concern the stage as a whole.
    assert_eq!(stage("found.grounded").policy().retries, 1);
    assert_eq!(stage("found.grounded").policy().canary, None);
    assert_eq!(stage("found").policy().canary, Some(10));
}

#[test]
fn bodies_flatten_and_absent_rows_go() {
    let program = right(
        r#"
use std/persona
def few(n: int) -> [persona.Persona]? { if n > 1 then persona.imagine(count: n) else null }
stage many = for n in [1, 2, 3] { few(n: n) }
stage names = for p in many where p.name != "" { p.name }
output names
"#,
    );
    assert_eq!(stage_types(&program), "many: [Persona]\nnames: [str]");
}

#[test]
fn files_use_files() {
    let sources = library()
        .file("pipelines/main.claw", "use \"../parts/rubric.claw\" as house\nuse std/persona as people\n\nstage x = house.named(suffix: house.suffix)\nstage y = people.imagine(count: 2)\noutput x\noutput y")
        .file("parts/rubric.claw", "use std/persona\n\nlet suffix = \"!\"\nlet rules = file(\"rules.md\")\n\ndef named(suffix: str) -> [str] {\n  let people = persona.imagine(count: 2)\n  for p in people { \"{p.name}{suffix}{rules}\" }\n}")
        .file("parts/rules.md", "be kind");
    let checked = load("pipelines/main.claw", &sources);
    assert_eq!(shown(&checked), "");
    let program = checked.program.expect("a program");
    assert_eq!(stage_types(&program), "x.people: [Persona]\nx: [str]\ny: [Persona]");
    let pipeline = bind(&program, &BTreeMap::new(), &sources).expect("bound");
    assert_eq!(pipeline.read[0].0, "std/personas");
    assert!(pipeline.read.iter().any(|(path, _)| path == "parts/rules.md"));
}

#[test]
fn the_library_checks() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("stdlib");
    for entry in std::fs::read_dir(root).expect("stdlib") {
        let name = entry.expect("entry").file_name().to_string_lossy().into_owned();
        if name.ends_with(".claw") {
            let checked = load(&format!("std/{name}"), &library());
            assert!(checked.program.is_some(), "{name}: {}", shown(&checked));
        }
    }
}
