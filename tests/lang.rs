//! The language: what programs become, and what is said about wrong ones.

#![allow(clippy::disallowed_methods, reason = "tests read the repository's own files")]

use std::collections::BTreeMap;

use claw::lang::{
    Checked, MemorySources, Pipeline, Program, Severity, Value, bind, load, references, render,
};

/// The library as it stands, and stand-ins for the directories that its operators read.
fn library() -> MemorySources {
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
fn check(text: &str) -> Checked {
    load("main.claw", &library().file("main.claw", text))
}

/// A program that must be right.
fn right(text: &str) -> Program {
    let checked = check(text);
    let said = shown(&checked);
    checked.program.unwrap_or_else(|| panic!("{said}"))
}

fn bound(text: &str, given: &[(&str, &str)]) -> Result<Pipeline, String> {
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
fn shown(checked: &Checked) -> String {
    let said: Vec<String> = checked
        .diagnostics
        .iter()
        .map(|diagnostic| render(diagnostic, &checked.sources, 100, false))
        .collect();
    said.join("\n")
}

/// All that is said about a program that must be wrong.
fn wrong(text: &str) -> String {
    let checked = check(text);
    assert!(checked.program.is_none(), "this must not check");
    shown(&checked)
}

fn stage_types(program: &Program) -> String {
    let lines: Vec<String> =
        program.stages.iter().map(|stage| format!("{}: {}", stage.name, stage.ty)).collect();
    lines.join("\n")
}

const QUICKSTART: &str = include_str!("../pipelines/quickstart.claw");

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

/// The value that a stage's expression folds to.
fn value(expr: &str) -> String {
    let pipeline = bound(&format!("stage x = {expr}\noutput x"), &[]).expect("bound");
    match &pipeline.stages[0].expr.kind {
        claw::lang::ExprKind::Const(value) => String::from_utf8_lossy(&value.encode()).into_owned(),
        other => panic!("not folded: {other:?}"),
    }
}

#[test]
fn expressions_mean_what_python_and_rust_lead_to_expect() {
    let cases = [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("7 - 2 - 1", "4"),
        ("-2 * 3", "-6"),
        ("7 / 2", "3.5"),
        ("7 % 3", "1"),
        ("10 % 3 == 1 and not false", "true"),
        ("not 1 == 2", "true"),
        ("1 < 2 < 3", "true"),
        ("1 < 3 < 2", "false"),
        ("(1 < 2) == true", "true"),
        ("3 in [1, 2, 3]", "true"),
        ("\"b\" in \"abc\"", "true"),
        ("if 1 > 2 then \"a\" else \"b\"", "\"b\""),
        ("[1, 2] + [3]", "[1,2,3]"),
        ("[1, 2.5]", "[1.0,2.5]"),
        ("[10, 20, 30][1]", "20"),
        ("{ a: 1, b: { c: \"x\" } }.b.c", "\"x\""),
        ("[{ n: 1 }, { n: 5 }] where .n > 2", "[{\"n\":5}]"),
        ("[1, 2, 3] + [4] where .5 > 1 or true", ""),
        ("20%", "0.2"),
        ("20s + 1m", "80000"),
        ("1GiB / 2", "536870912"),
        ("1GiB / 512MiB", "2.0"),
        ("$2.50 * 2", "5000000"),
        ("200 * 20%", "40.0"),
        ("\"a{1 + 1}b{{}}\"", "\"a2b{}\""),
        ("r\"\\d{2}\"", "\"\\\\d{2}\""),
        ("\"tab\\tquote\\\" \\u{e9}\"", "\"tab\\tquote\\\" é\""),
        ("\"\"\"\n    one {1}\n      two\n    \"\"\"", "\"one 1\\n  two\""),
        ("r\"\"\"\n  {\"a\": 1}\n  \"\"\"", "\"{\\\"a\\\": 1}\""),
        ("1_000_000", "1000000"),
        ("1e3", "1000.0"),
        ("null", "null"),
        ("[-1, 2] where true", "[-1,2]"),
    ];
    for (expr, expected) in cases.iter().filter(|(_, expected)| !expected.is_empty()) {
        assert_eq!(value(expr), *expected, "{expr}");
    }
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
fn parameters_are_read_by_their_type() {
    let text = r#"
use std/persona
param count: int where 1 <= count <= limit
param limit: int = 10
param name: str = "a"
param mode: "fast" | "slow" = "fast"
param teacher: Model = model("m", temperature: 1)
param seeds: [int] = [1, 2]
param wait: duration = 20s
param rate: float = 1
param share: percent = 5%
param skills: Dir = dir("std/skills")
param size: int? = null
stage out = { count: count, name: name, mode: mode, seeds: seeds, wait: wait, rate: rate, share: share, size: size, fast: if mode == "fast" then count else limit }
stage a = teacher
stage b = skills
output out
"#;
    let out = |given: &[(&str, &str)]| {
        let pipeline = bound(text, given)?;
        match &pipeline.stages[0].expr.kind {
            claw::lang::ExprKind::Const(value) => {
                Ok(String::from_utf8_lossy(&value.encode()).into_owned())
            }
            other => Err(format!("{other:?}")),
        }
    };
    assert_eq!(
        out(&[("count", "3")]).as_deref(),
        Ok(
            "{\"count\":3,\"fast\":3,\"mode\":\"fast\",\"name\":\"a\",\"rate\":1.0,\"seeds\":[1,2],\"share\":0.05,\"size\":null,\"wait\":20000}"
        )
    );
    assert_eq!(
        out(&[
            ("count", "2 + 1"),
            ("name", "it's a name, with 20% (of everything)"),
            ("mode", "slow"),
            ("seeds", "[3]"),
            ("wait", "2m"),
            ("rate", "2"),
            ("share", "50%"),
            ("size", "7"),
            ("teacher", "model(\"builtin/solver\", error_rate: 5%)"),
            ("skills", "std/tasks"),
        ])
        .as_deref(),
        Ok(
            "{\"count\":3,\"fast\":10,\"mode\":\"slow\",\"name\":\"it's a name, with 20% (of everything)\",\"rate\":2.0,\"seeds\":[3],\"share\":0.5,\"size\":7,\"wait\":120000}"
        )
    );
    let pipeline = bound(text, &[("count", "3")]).expect("bound");
    assert_eq!(
        pipeline.params[4].1,
        Value::record([("model", Value::str("m")), ("temperature", Value::Float(1.0))])
    );
    insta::assert_snapshot!(
        "given_values",
        out(&[
            ("cuont", "3"),
            ("mode", "fats"),
            ("seeds", "3"),
            ("wait", "20"),
            ("share", "0.5"),
            ("teacher", "\"m\""),
            ("rate", "fast("),
            ("skills", "std/nothing"),
        ])
        .expect_err("all of them are wrong")
    );
    insta::assert_snapshot!(
        "given_out_of_bounds",
        out(&[("count", "11")]).expect_err("out of bounds")
    );
}

#[test]
fn secrets_stay_out_of_the_pipeline() {
    let text = r#"
use std/persona
secret param token: str
param place: str = "x"
stage a = { header: "Bearer {token}", key: secret("KEY"), place: env("PLACE") }
output a
"#;
    let sources =
        library().file("main.claw", text).variable("KEY", "hush").variable("PLACE", "here");
    let program = load("main.claw", &sources).program.expect("a program");
    let given = BTreeMap::from([("token".to_string(), "silence".to_string())]);
    let pipeline = bind(&program, &given, &sources).expect("a pipeline");
    let all = format!("{pipeline:?}");
    assert!(!all.contains("hush") && !all.contains("silence"), "{all}");
    assert!(all.contains("here"));
    let secrets = claw::lang::secrets(&program, &given, &sources);
    assert!(!format!("{secrets:?}").contains("hush"));
    let find = |name: &str| secrets.get(name);
    let mut scope = claw::lang::Scope::new().secrets(&find);
    let value = claw::lang::evaluate(&pipeline.stages[0].expr, &mut scope).expect("a value");
    assert_eq!(value.get("header"), Some(&Value::str("Bearer silence")));
    assert_eq!(value.get("key"), Some(&Value::str("hush")));
    let found = bind(&program, &BTreeMap::new(), &library()).expect_err("nothing is there");
    let said: Vec<String> =
        found.iter().map(|of| render(of, &program.sources, 100, false)).collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn branches_that_are_not_taken_go() {
    let text = r#"
use std/persona
param quick: bool = true
stage people = persona.imagine(count: 9)
stage few = if quick then take(people, count: 2) else for p in people { p }
output few
"#;
    let pipeline = bound(text, &[]).expect("bound");
    let few = pipeline.stages.iter().find(|stage| stage.name == "few").expect("few");
    assert_eq!(references(&few.expr), ["people"]);
    let pipeline = bound(text, &[("quick", "false")]).expect("bound");
    let few = pipeline.stages.iter().find(|stage| stage.name == "few").expect("few");
    assert_eq!(references(&few.expr), ["few.rows"]);
}

#[test]
fn policies_have_a_type() {
    let text = r#"
param many: int = 8
stage a = [1] with {
  retries: 2, backoff: 500ms, timeout: 2m, on_error: drop(at_most: 5%), concurrency: many,
  resources: { cpu: 2, memory: 2GiB, gpu: 1 }, executor: "slurm", cache: refresh, budget: $20,
  canary: 1_000, gate: .failed_share < 10%,
}
stage b = [1] with { on_error: keep, cache: off }
stage c = [1]
output a
"#;
    let pipeline = bound(text, &[("many", "3")]).expect("bound");
    let policy = pipeline.stages[0].policy();
    let gate = policy.gate.clone().expect("a gate");
    let canary = |share: f64| {
        Value::record([
            ("rows", Value::Int(1000)),
            ("failed", Value::Int(1)),
            ("failed_share", Value::Float(share)),
        ])
    };
    assert_eq!(claw::lang::apply(&gate, &canary(0.05)), Ok(Value::Bool(true)));
    assert_eq!(claw::lang::apply(&gate, &canary(0.5)), Ok(Value::Bool(false)));
    insta::assert_debug_snapshot!(claw::lang::Policy { gate: None, ..policy });
    assert_eq!(pipeline.stages[1].policy().on_error, claw::lang::OnError::Keep);
    assert_eq!(pipeline.stages[1].policy().cache, claw::lang::CacheUse::Off);
    assert_eq!(pipeline.stages[2].policy(), claw::lang::Policy::default());
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

/// Renaming, layout, comments and order change nothing that keys are made of.
#[test]
fn meaning_not_text_is_hashed() {
    let key = |text: &str| {
        let pipeline = bound(text, &[]).expect("bound");
        let stage = pipeline.stages.last().expect("a stage").clone();
        let mut hasher = claw::store::KeyHasher::new("test");
        stage.expr.hash_into(&mut hasher, &mut Vec::new(), &mut |hasher, _| {
            hasher.text("stage");
        });
        hasher.finish()
    };
    let a = key(
        "use std/persona\nstage p = persona.imagine(count: 60)\nstage k = for x in p where x.name != \"\" { { name: x.name } }\noutput k",
    );
    let b = key(
        "use std/persona as q\n// c\nlet n = 2 * 30\nstage people = q.imagine(n, seed: 0)\nstage k = for who in people\n  where (who.name != \"\") { { name: who.name } }\noutput k",
    );
    assert_eq!(a, b);
    let c = key(
        "use std/persona\nstage p = persona.imagine(count: 60)\nstage k = for x in p where x.name != \"a\" { { name: x.name } }\noutput k",
    );
    assert_ne!(a, c);
}

#[test]
fn every_page_tells_the_truth() {
    let codes = claw::lang::codes();
    assert!(codes.len() > 40, "{codes:?}");
    for code in &codes {
        let page = claw::lang::explain(code).expect("a page");
        let block = |mark: &str| {
            let (_, rest) = page.split_once(&format!("```{mark}\n"))?;
            rest.split_once("```").map(|(text, _)| text.to_string())
        };
        if let Some(text) = block("claw,error") {
            let checked = check(&text);
            assert!(
                checked.diagnostics.iter().any(|found| found.code == *code),
                "{code}: {}",
                shown(&checked)
            );
        }
        if let Some(text) = block("claw") {
            let checked = check(&text);
            assert!(checked.program.is_some(), "{code}: {}", shown(&checked));
        }
    }
    // Every code that the sources can give has a page.
    let mut open = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/lang")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                std::fs::read_dir(path).expect("folder").map(|of| of.expect("entry").path()),
            );
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("source");
        for (at, _) in text.match_indices("\"E0").chain(text.match_indices("\"W0")) {
            let code = &text[at + 1..at + 6];
            if code[1..].chars().all(|c| c.is_ascii_digit()) {
                assert!(
                    claw::lang::explain(code).is_some(),
                    "{code} of {} has no page",
                    path.display()
                );
            }
        }
    }
    assert!(claw::lang::explain("claw::e0304").is_some_and(|page| page.starts_with("E0304: ")));
    assert_eq!(claw::lang::explain("E9999"), None);
}

#[test]
fn diagnostics_are_json_too() {
    let checked = check("stage a = [1]\noutput b");
    let json = checked.diagnostics[0].to_json(&checked.sources);
    insta::assert_snapshot!(json.to_string());
    assert_eq!(checked.diagnostics[0].severity, Severity::Error);
}

// ------------------------------------------------------------------------------ wrong programs

macro_rules! wrong {
    ($name:ident, $text:expr) => {
        #[test]
        fn $name() {
            let text: &str = $text;
            insta::assert_snapshot!(format!("{}\n--------\n{}", text.trim(), wrong(text)));
        }
    };
}

wrong!(
    unknown_stage,
    "use std/persona\nstage people = persona.imagine(count: 3)\nstage few = take(poeple, count: 2)\noutput feew"
);

wrong!(
    unknown_field,
    r#"
use std/persona
stage people = persona.imagine(count: 3)
stage a = people where .naem == "x"
stage b = for p in people { { job: p.profession } }
stage c = people.name
output a
"#
);

wrong!(
    wrong_type,
    r#"
use std/persona
use std/skill
param count: int = "many"
param teacher: Model = "builtin/solver"
param author: Model = model(3)
stage people = persona.imagine(count: count)
stage one = skill.ground(persona: people)
stage strange: [int] = people
stage part = for p in people { skill.ground(persona: { id: p.id, name: p.name }) }
output one
"#
);

wrong!(
    wrong_unit,
    r#"
use std/persona
param box: Sandbox = sandbox("process", memory: 30s, time: 20, netwrok: off)
stage people = persona.imagine(count: 3)
stage split = holdout(people, test: 0.2, by: .trade)
stage all = people with { timeout: 512MiB, on_error: drop(at_most: 5) }
let long = 20s + 1
let unit = 512Mb
output split
"#
);

wrong!(
    missing_argument,
    "use std/skill\nuse std/rollout\nstage a = skill.ground()\nstage b = for w in [1] { rollout.run(agent: rollout.claw_tools()) }\noutput a"
);

wrong!(
    unknown_argument,
    r#"
use std/rollout
use std/workspace
use std/task
use std/skill
use std/persona
param teacher: Model = model("builtin/solver")
param box: Sandbox = sandbox("process")
stage people = persona.imagine(count: 3)
stage worlds = for p in people { workspace.mock(task: task.write(grounding: skill.ground(persona: p))) }
stage runs = for w in worlds {
  rollout.run(wolrd: w, agent: rollout.claw_tools(), model: teacher, sandbox: box)
}
stage more = persona.imagine(3, 4, count: 5)
output runs
"#
);

wrong!(
    duplicate_name,
    "stage a = [1]\nparam a: int = 3\nstage b = { x: 1, x: 2 }\nuse std/persona\nuse std/persona\nstage c = for i in [1], i in [2] { i }\noutput a\noutput a"
);

wrong!(
    cycle,
    "use std/persona\nstage a = take(b, count: 1)\nstage b = for x in c { x }\nstage c = a + d\nstage d = persona.imagine(count: 1)\nstage self = self\noutput a"
);

wrong!(
    missing_file,
    "let a = file(\"prompts/x.md\")\nparam d: Dir = dir(\"std/skils\")\nstage s = { a: a, b: file(\"../../etc/passwd\") }\noutput s"
);

wrong!(
    default_out_of_bounds,
    "param people: int = 0 where 1 <= people <= 100_000\nstage x = people\noutput x"
);

wrong!(
    several_broken_items,
    r#"
use std/persona

/// Doc of a broken one.
stage people = persona.imagine(count = 3)

stage few = take(people, count: 2

param x: int = 3 && 4

// The stage below is fine, and what it names is told on its own.
stage fine = take(nobody, count: 2)

stage text = "never closed
stage odd = for x on people { x }
stagger = 3
type T = { a: int b: str }
output fine;
"#
);

wrong!(
    recursion,
    "def a(n: int) -> int { b(n: n) }\ndef b(n: int) -> int { a(n: n) }\nlet x = y\nlet y = x\ntype T = { t: [U] }\ntype U = { u: T? }\nstage s = 1\noutput s"
);

wrong!(
    out_of_place,
    r#"
use std/persona
use finance
use std/personna
param n: int = 3
stage people = persona.imagine(count: n)
let a = people
let b = persona.imagine(count: 3)
def f(x: int) -> int { x + n }
extern def g() -> int
stage t = persona.imagin(count: 3)
stage u = skil.ground(persona: 1)
stage v = task.write(grounding: 1)
stage w = .name
stage d = dedup(people, on: "name")
stage e = 1 / 0
stage h = "a" + 1
stage i = [1, "a"]
stage j = people with { retrys: 1, on_error: skip, resources: { cpus: 1 }, cache: maybe, gate: .rows > 1 }
output f
"#
);

#[test]
fn missing_parameters_are_listed_together() {
    let text = "/// How many.\nparam count: int\n/// Who teaches.\nparam teacher: Model\nparam mode: \"a\" | \"b\"\nparam fine: int = 1\nstage a = count\noutput a";
    insta::assert_snapshot!(bound(text, &[]).expect_err("three are missing"));
}

#[test]
fn files_that_cannot_be_read() {
    let mut said = Vec::new();
    let mut look = |sources: MemorySources, entry: &str| {
        let checked = load(entry, &sources);
        assert!(checked.program.is_none());
        said.push(shown(&checked));
    };
    look(library(), "nothing.claw");
    look(library().file("a.claw", b"stage a = \"\xff\xfe\"".to_vec()), "a.claw");
    look(library().file("a.claw", vec![b' '; 50 << 20]), "a.claw");
    look(
        library()
            .file("a.claw", "use \"./b.claw\"\nuse \"./lrage.claw\" as large\nuse \"../x.claw\"\nstage x = b.f(n: 1)\noutput x")
            .file("b.claw", "use \"./c.claw\"\nlet n = c.n\ndef f(n: int) -> int { c.f(n: n) }")
            .file("c.claw", "use \"b.claw\"\nlet n = b.n\ndef f(n: int) -> int { b.f(n: n) }\nparam p: int = 1")
            .file("large.claw", ""),
        "a.claw",
    );
    insta::assert_snapshot!(said.join("\n=======\n"));
}

#[test]
fn deep_and_large_programs_are_refused() {
    let n = 10_000;
    let deep = [
        format!("stage a = {}1{}", "(".repeat(n), ")".repeat(n)),
        format!("stage a = {}1{}", "[".repeat(n), "]".repeat(n)),
        format!("stage a = {}1", "-".repeat(n)),
        format!("stage a = {}true", "not ".repeat(n)),
        format!("stage a = 1{}", " + 1".repeat(n)),
        format!("stage a = 1{}", " < 1".repeat(n)),
        format!("stage a = b{}", ".c".repeat(n)),
        format!("stage a = b{}", "[0]".repeat(n)),
        format!("stage a = b{}", " where .x".repeat(n)),
        format!("stage a = {}1", "if true then 1 else ".repeat(n)),
        format!("stage a = {}1", "if ".repeat(n)),
        format!("stage a = {}", "for x in [1] { ".repeat(n)),
        format!("stage a = {}", "\"{".repeat(n)),
        format!("type T = {}int", "[".repeat(n)),
        format!("type T = int{}", " -> int".repeat(n)),
        format!("type T = int{}", "?".repeat(n)),
        format!("type T = {}", "{ a: ".repeat(n)),
        format!("param p: int = {}", "f(a: ".repeat(n)),
        "(".repeat(n),
        "/// doc\n".repeat(n),
        "stage ".repeat(n),
    ];
    for text in &deep {
        let checked = check(text);
        let start: String = text.chars().take(30).collect();
        // Question marks add up to one.
        assert_eq!(checked.program.is_none(), !text.contains('?'), "{start}");
        shown(&checked);
    }
    insta::assert_snapshot!(wrong(&format!("stage a = [1]\nstage b = {}", "(".repeat(n))));
}

/// What is just within the limits goes all the way.
#[test]
fn nesting_within_the_limits_is_fine() {
    let n = 100;
    for text in [
        format!("stage a = {}1{}", "(".repeat(n), ")".repeat(n)),
        format!("stage a = {}1{}", "[".repeat(n), "]".repeat(n)),
        format!("stage a = {}1{}", "{ a: ".repeat(n), " }".repeat(n)),
        format!("stage a = 1{}", " + 1".repeat(n)),
        format!("stage a = {}1", "if true then 1 else ".repeat(n)),
        format!("stage a = {}1{}", "for x in [1] { ".repeat(n / 2), " }".repeat(n / 2)),
        format!("stage a = {}\"x\"{}", "\"a{".repeat(n / 2), "}\"".repeat(n / 2)),
        format!("type T = {}int{}\nstage a = 1", "[".repeat(n), "]".repeat(n)),
    ] {
        let text = format!("{text}\noutput a");
        assert!(bound(&text, &[]).is_ok(), "{text}");
    }
    // Defs of defs, each one level further down.
    let chain = |count: usize| {
        let defs: Vec<String> = (1..=count)
            .map(|i| format!("def f{i}(n: int) -> int {{ -f{}(n: n + {i}) }}", i - 1))
            .collect();
        format!(
            "def f0(n: int) -> int {{ n }}\n{}\nstage a = for i in [1] {{ f{count}(n: i) }}\noutput a",
            defs.join("\n")
        )
    };
    assert!(bound(&chain(100), &[]).is_ok());
    assert!(wrong(&chain(2000)).contains("E0404"));
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

/// A mistake far to the right of a long line is shown with what is around it.
#[test]
fn long_lines_are_cut() {
    let items = "\"é\", ".repeat(40_000);
    insta::assert_snapshot!(wrong(&format!("stage a = [{items}nothing, 1, {items}]\noutput a")));
}

#[test]
fn growth_is_bounded() {
    let lines = |line: &dyn Fn(usize) -> String| (1..60).map(line).collect::<Vec<_>>().join("\n");
    let grown = [
        format!("let x0 = [1, 2]\n{}", lines(&|i| format!("let x{i} = x{0} + x{0}", i - 1))),
        format!(
            "let x0 = \"ab\"\n{}",
            lines(&|i| format!("let x{i} = \"{{x{0}}}{{x{0}}}\"", i - 1))
        ),
        format!("let x0 = 1\n{}", lines(&|i| format!("let x{i} = {{ a: x{0}, b: x{0} }}", i - 1))),
        format!(
            "let x0 = dir(\"std/skills\")\n{}",
            lines(&|i| format!("let x{i} = [x{0}, x{0}]", i - 1))
        ),
        format!(
            "type T0 = int\n{}",
            lines(&|i| format!("type T{i} = {{ a: T{0}, b: T{0} }}", i - 1))
        ),
        format!(
            "def f0(n: int) -> int {{ n }}\n{}\nstage s = for i in [1, 2] {{ f59(n: i) }}\noutput s",
            lines(&|i| format!("def f{i}(n: int) -> int {{ f{0}(n: n) + f{0}(n: n + 1) }}", i - 1))
        ),
        format!(
            "def f0(n: int) -> int {{ n }}\n{}\nstage s = f59(n: 1)\noutput s",
            lines(&|i| format!("def f{i}(n: int) -> int {{ f{0}(n: n) + f{0}(n: n + 1) }}", i - 1))
        ),
        format!(
            "stage s0 = 1\n{}\noutput s59",
            lines(&|i| format!("stage s{i} = {{ a: s{0}, b: s{0} }}", i - 1))
        ),
    ];
    for text in &grown {
        let checked = check(text);
        let codes: Vec<&str> = checked.diagnostics.iter().map(|found| found.code).collect();
        assert!(
            codes.contains(&"E0404") || codes.contains(&"E0508"),
            "{codes:?} for {}",
            text.lines().nth(1).unwrap_or("")
        );
    }
}

#[test]
fn long_programs_are_fine() {
    let n = 5_000;
    let mut text = String::from("use std/persona\n");
    for i in 0..n {
        text.push_str(&format!("stage s{i} = take(s{}, count: 3)\n", i + 1));
    }
    text.push_str(&format!("stage s{n} = persona.imagine(count: 3)\noutput s0\n"));
    let program = right(&text);
    assert_eq!(program.stages.len(), n + 1);
    assert!(program.stages.iter().all(|stage| stage.ty.to_string() == "[Persona]"));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 300, failure_persistence: None, ..Default::default() })]

    /// Whatever is done to a program, checking it ends, and every place in a message can be drawn.
    #[test]
    fn nothing_panics(cuts in proptest::collection::vec((0usize..3000, 0usize..40, "[a-z0-9 .,:=(){}\"\\[\\]%$|&é\n/-]{0,12}"), 1..6)) {
        let mut text = QUICKSTART.to_string();
        for (at, length, put) in cuts {
            let mut start = at.min(text.len());
            while !text.is_char_boundary(start) { start -= 1; }
            let mut end = (start + length).min(text.len());
            while !text.is_char_boundary(end) { end += 1; }
            text.replace_range(start..end, &put);
        }
        let checked = check(&text);
        shown(&checked);
        if let Some(program) = &checked.program {
            let _ = bind(program, &BTreeMap::new(), &library());
        }
    }

    #[test]
    fn no_token_soup_panics(soup in proptest::collection::vec(proptest::sample::select(vec![
        "stage", "param", "let", "def", "type", "use", "output", "a", "b", "=", ":", "(", ")", "[", "]", "{", "}",
        "for", "in", "where", "if", "then", "else", "1", "2.5", "20%", "5s", "\"x\"", "\"{", "}\"", ".f", "..", "..=",
        "+", "-", "*", "/", "%", "==", "<", "and", "not", "in", "int", "str", "->", "?", ",", "\n", "//", "///", "//!",
        "std/rows", "take", "dedup", "with", "as", "null", "true", "extern", "secret", "\"\"\"", "r\"",
    ]), 0..40)) {
        let checked = check(&soup.join(" "));
        shown(&checked);
    }
}
