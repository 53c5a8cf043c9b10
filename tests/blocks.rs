//! `try`, `template()`, `test` and what conditions say about values, through the real program.

use std::process::Output;

use crate::project::Project;

/// What a command says, with what differs from run to run masked.
fn said(project: &Project, args: &[&str]) -> String {
    let output: Output = project.claw(args);
    let folder = project.path("").to_string_lossy().trim_end_matches('/').to_string();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&folder, "<project>");
    let text = format!("{}{}", text(&output.stdout), text(&output.stderr));
    let time = regex::Regex::new(r"in [0-9.]+ m?s").expect("a pattern");
    format!("{}exit {}\n", time.replace_all(&text, "in <time>"), output.status.code().unwrap_or(-1))
}

fn checked(name: &str, files: &[(&str, &str)]) {
    let project = Project::new();
    for (path, text) in files {
        project.write(path, text);
    }
    let text: Vec<String> =
        files.iter().map(|(path, text)| format!("--- {path}\n{}\n", text.trim())).collect();
    let said = said(&project, &["check", files[0].0]);
    insta::assert_snapshot!(name, format!("{}---\n{said}", text.join("")));
}

#[test]
fn wrong_attempts() {
    checked(
        "wrong_attempts",
        &[(
            "main.claw",
            r#"
stage none = try 0 { accept 1 }
stage many = try 101 { accept 1 }
stage unknown = try len(none) { accept 1 }
stage handed = try 2 with why { accept 1 when false  reason = "no" }
stage nobody = try 2 { accept 1 when false  reason = "no" }
stage nested = try 2 { let a = try 2 { accept 1 }  accept a }
stage types = try 2 with why { let x = why.text  accept 1 when 3  why = "no" }
let constant = try 2 { accept 1 }
stage empty = try 2 { }
output none
"#,
        )],
    );
}

#[test]
fn wrong_templates() {
    checked(
        "wrong_templates",
        &[
            (
                "main.claw",
                r#"
use std/persona
param people: int = 2
stage folk = persona.imagine(count: people)
stage typo = for p in folk { template("prompts/hello.md.j2", person: p, mood: "good") }
stage more = for p in folk { template("prompts/hello.md.j2", persona: p, mood: "good", more: 1) }
stage field = for p in folk { template("prompts/field.md.j2", persona: p) }
stage broken = template("prompts/broken.md.j2", name: "x")
stage missing = template("prompts/helo.md.j2")
stage includes = template("prompts/includes.md.j2")
stage outside = template("../x.md.j2")
stage unnamed = template("prompts/hello.md.j2", folk)
stage pathless = template(persona: 1)
def unused(p: persona.Persona) -> str { template("prompts/field.md.j2", persona: p) }
output typo
"#,
            ),
            ("prompts/hello.md.j2", "Hello {{ persona.name }},\nyou are {{ mood }}.\n"),
            ("prompts/field.md.j2", "{% for x in persona.habits %}{{ x }}{% endfor %}\n"),
            ("prompts/broken.md.j2", "Hello\n{% if name %}\nx\n"),
            ("prompts/includes.md.j2", "{% include 'absent.md.j2' %}\n"),
        ],
    );
}

#[test]
fn wrong_tests() {
    checked(
        "wrong_tests",
        &[(
            "main.claw",
            r#"
use std/persona
let few = 2
param people: int = few
stage folk = persona.imagine(count: people)
output folk
test "nothing to give" { given fol = [] given few = 3 given people = "x" assert true }
test "no assertion" { let a = len(folk) }
test "not bool" { assert len(folk) assert nmae == 3 }
test "twice" { let a = 1 let a = 2 assert a == 1 given people = 1 given people = 2 }
test "twice" { assert true }
"#,
        )],
    );
}

#[test]
fn conditions_say_what_is_there() {
    checked(
        "conditions_say_what_is_there",
        &[(
            "main.claw",
            r#"
type Row = { id: str, score: float? }
param rows: [Row] = [{ id: "a", score: 0.5 }, { id: "b", score: null }]
def twice(score: float?) -> float { if score == null then 0.0 else score * 2.0 }
def both(a: float?, b: float?) -> bool { a != null and b != null and a < b }
stage kept = rows where .score != null
stage scores = for r in kept { r.score + 1.0 }
stage also = for r in rows where r.score != null { r.score + 1.0 }
stage doubled = for r in rows { twice(r.score) }
stage wrong = for r in rows { r.score + 1.0 }
stage other = for r in rows where r.score == null { r.score + 1.0 }
stage hidden = for r in rows where r.score != null { len(for r in rows { r.score + 1.0 }) }
output kept
"#,
        )],
    );
}

const HELLO: &str = r#"
use std/persona
param people: int = 3
stage folk = persona.imagine(count: people, seed: 7)
stage hello = for p in folk { template("prompts/hello.md.j2", name: p.name, mood: mood) }
let mood = "good"
def short(text: str) -> str? {
  try 2 with feedback {
    let draft = if feedback == null then text else feedback
    accept draft when len(draft) <= 12
    feedback = "too long"
  }
}
stage shorts = for h in hello { short(h) }
output hello

test "everyone is greeted" {
  given people = 5
  assert len(hello) == 5
  let first = hello[0]
  assert "you are good" in first
}

test "rows stand for a stage" {
  given folk = [{ id: "p", name: "Ada", role: "", trade: "", place: "", habit: "", text: "" }]
  assert hello == ["Hello Ada, you are good."]
  assert shorts == ["too long"]
  assert short("Ada") == "Ada"
}
"#;

#[test]
fn tests_pass_and_fail() {
    let project = Project::new();
    project.write("main.claw", HELLO);
    project.write("prompts/hello.md.j2", "Hello {{ name }}, you are {{ mood }}.\n");
    insta::assert_snapshot!("tests_pass", said(&project, &["test", "main.claw"]));
    // Files without tests are not even looked at.
    project.write("other.claw", "this is no program");
    insta::assert_snapshot!("tests_of_a_project", said(&project, &["test"]));
    project.write("prompts/hello.md.j2", "Hi {{ name }}, you are {{ mood }}.\n");
    insta::assert_snapshot!("tests_fail", said(&project, &["test", "main.claw"]));
    let failing = HELLO.replace("hello[0]", "hello[10]");
    project.write("main.claw", &failing);
    insta::assert_snapshot!(
        "tests_that_cannot_be_asked",
        said(&project, &["test", "main.claw", "--only", "greeted"])
    );
    // Tests leave no run behind, so that they are nobody's last run.
    assert_eq!(project.json(&["runs"]), serde_json::json!([]));
}

#[test]
fn what_a_template_says_is_a_part_of_keys() {
    let project = Project::new();
    project.write("main.claw", HELLO);
    let write = |text: &str| project.write("prompts/hello.md.j2", text);
    let ran = |stage: &str| {
        let plan = project.json(&["plan", "main.claw"]);
        let stages = plan["stages"].as_array().expect("stages").clone();
        let stage = stages.into_iter().find(|one| one["stage"] == stage).expect("the stage");
        !stage["reasons"].as_array().expect("reasons").is_empty()
    };
    write("Hello {{ name }}, you are {{ mood }}.\n");
    project.ok(&["run", "main.claw", "--quiet"]);
    assert!(!ran("hello") && !ran("folk"));
    write("Hello {{ name }}, you are {{ mood }}!\n");
    assert!(!ran("folk"), "what stands above does not change");
    project.ok(&["run", "main.claw", "--quiet"]);
    let hello = project.json(&["show", "hello"]).to_string();
    assert!(hello.contains("you are good!"), "{hello}");
}
