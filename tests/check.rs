//! `claw check` on wrong programs, through the real program: each kind of mistake has a message from
//! which alone a person mends it. The kinds are those that the language promises to tell before
//! anything runs.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::cli::shown;
use crate::project::Project;

/// Longer than any check takes on any machine: only a check that hangs meets it.
const HANG: Duration = Duration::from_secs(120);

/// Checks `main.claw` among the files, and compares what is said with the snapshot of that name.
#[track_caller]
fn wrong(name: &str, files: &[(&str, &str)]) {
    let project = Project::new();
    for (path, text) in files {
        project.write(path, text);
    }
    said(name, &project);
}

#[track_caller]
fn said(name: &str, project: &Project) {
    let start = Instant::now();
    let said = shown(project, &["check", "main.claw"]);
    assert!(start.elapsed() < HANG, "{name} took {:?}", start.elapsed());
    assert!(said.contains("--- exit 2"), "{said}");
    insta::assert_snapshot!(name, said);
}

/// A pipeline that is right but for what a test changes in it.
const PIPELINE: &str = r#"use std/persona
use std/skill
use std/task

/// How many people.
param people: int = 4 where 1 <= people <= 100
param author: Model = model("builtin/families")
param box: Sandbox = sandbox("process", memory: 512MiB, time: 2m, network: off)

stage folk = persona.imagine(count: people, seed: 7)

stage errands = for p in folk, n in 1..=2 {
  skill.ground(persona: p, index: n, operations: 3)
}

stage tasks = for e in errands { task.write(grounding: e, seed: 3) }

output tasks as "out/tasks.jsonl"
"#;

/// The pipeline with one piece of its text replaced.
#[track_caller]
fn with(old: &str, new: &str) -> String {
    assert!(PIPELINE.contains(old), "{old}");
    PIPELINE.replacen(old, new, 1)
}

#[test]
fn the_pipeline_itself_is_right() {
    let project = Project::new();
    project.write("main.claw", PIPELINE);
    assert_eq!(project.ok(&["check", "main.claw"]), "main.claw: ok (3 stages, 3 parameters)\n");
}

#[test]
fn unknown_stage() {
    wrong("unknown_stage", &[("main.claw", &with("for p in folk", "for p in flok"))]);
}

#[test]
fn unknown_field() {
    let text = with("{ task.write(", "where e.persona.proffesion != \"baker\" { task.write(");
    wrong("unknown_field", &[("main.claw", &text)]);
}

#[test]
fn wrong_type() {
    let text = with("task.write(grounding: e,", "task.write(grounding: folk,");
    wrong("wrong_type", &[("main.claw", &text)]);
    wrong("wrong_type_of_default", &[("main.claw", &with("int = 4 ", "int = \"4\" "))]);
}

#[test]
fn wrong_unit() {
    wrong("wrong_unit", &[("main.claw", &with("memory: 512MiB", "memory: 30s"))]);
    wrong("no_unit", &[("main.claw", &with("time: 2m", "time: 120"))]);
    wrong("unknown_unit", &[("main.claw", &with("512MiB", "512mb"))]);
}

#[test]
fn missing_argument() {
    wrong("missing_argument", &[("main.claw", &with("persona: p, ", ""))]);
}

#[test]
fn duplicate_name() {
    let text = with("output tasks", "stage folk = dedup(tasks, on: .prompt)\n\noutput tasks");
    wrong("duplicate_name", &[("main.claw", &text)]);
}

#[test]
fn cycle() {
    let text = with(
        "persona.imagine(count: people, seed: 7)",
        "for t in tasks { persona.imagine(count: t.seed) }",
    );
    wrong("cycle", &[("main.claw", &text)]);
    let around: Vec<String> =
        (0..60).map(|i| format!("stage s{i} = take(s{}, count: 1)", (i + 1) % 60)).collect();
    let text = format!("{}\noutput s0\n", around.join("\n"));
    wrong("long_cycle", &[("main.claw", &text)]);
}

#[test]
fn missing_file() {
    let text = with(
        "output tasks",
        "stage notes = { rules: file(\"prompts/rule.md\"), pages: dir(\"pages\") }\n\noutput tasks",
    );
    wrong("missing_file", &[("main.claw", &text), ("prompts/rules.md", "Be kind.")]);
}

#[test]
fn a_template_variable_that_nobody_passes() {
    let text = with(
        "output tasks",
        "stage letters = for p in folk { template(\"prompts/letter.md.j2\", persona: p, moood: 1) }\n\n\
         output tasks\noutput letters",
    );
    let letter = "Dear {{ persona.name }},\nyou seem {{ mood }} in {{ persona.town }}.\n";
    wrong("template_variable", &[("main.claw", &text), ("prompts/letter.md.j2", letter)]);
}

#[test]
fn default_out_of_bounds() {
    wrong("default_out_of_bounds", &[("main.claw", &with("int = 4 ", "int = 0 "))]);
}

#[test]
fn given_out_of_bounds() {
    let project = Project::new();
    project.write("main.claw", PIPELINE);
    let said = shown(&project, &["plan", "main.claw", "-p", "people=101", "-p", "box=30s"]);
    insta::assert_snapshot!("given_out_of_bounds", said);
}

#[test]
fn import_cycle() {
    let use_house = with("use std/task\n", "use std/task\nuse \"./parts/house.claw\"\n");
    let text = use_house.replace("seed: 7", "seed: house.seed");
    let files = [
        ("main.claw", text.as_str()),
        ("parts/house.claw", "use \"rules.claw\"\n\nlet seed = rules.seed + 1\n"),
        ("parts/rules.claw", "use \"./house.claw\"\n\nlet seed = house.seed + 1\n"),
    ];
    wrong("import_cycle", &files);
}

#[test]
fn missing_module() {
    let text = with("use std/task\n", "use std/tsak\nuse \"./house.claw\"\nuse acme/finance\n");
    wrong("missing_module", &[("main.claw", &text), ("hose.claw", "")]);
}

#[test]
fn not_utf8() {
    let project = Project::new();
    let mut bytes = with("How many people.", "How many p\u{e9}ople.").into_bytes();
    let at = bytes.iter().position(|byte| *byte == 0xc3).expect("the letter");
    bytes.splice(at..at + 2, [0xe9]);
    std::fs::write(project.path("main.claw"), bytes).expect("a file");
    said("not_utf8", &project);
}

#[test]
fn fifty_megabytes() {
    let project = Project::new();
    std::fs::write(project.path("main.claw"), vec![b'/'; 50 << 20]).expect("a file");
    said("fifty_megabytes", &project);
}

#[test]
fn ten_thousand_brackets() {
    let n = 10_000;
    let text = with("seed: 7", &format!("seed: {}7{}", "(".repeat(n), ")".repeat(n)));
    wrong("ten_thousand_brackets", &[("main.claw", &text)]);
}

#[test]
fn what_is_no_program() {
    let project = Project::new();
    project.write("folder/x.txt", "");
    project.write("empty.claw", "");
    std::fs::write(project.path("picture.claw"), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").expect("a file");
    project.write("nul.claw", "stage a = \0\noutput a\n");
    insta::assert_snapshot!(shown(
        &project,
        &["check", "nothing.claw", "folder", "empty.claw", "picture.claw", "nul.claw"]
    ));
}

/// Mistakes that have nothing to do with each other are all told at once.
#[test]
fn six_mistakes_in_one_go() {
    let text = PIPELINE
        .replace("memory: 512MiB", "memory: 30s")
        .replace("index: n,", "idx: n,")
        .replace("for e in errands", "for e in erands")
        .replace("seed: 7", "seed: \"7\"")
        .replace("int = 4", "int = 400")
        .replace("output tasks", "output task");
    let project = Project::new();
    project.write("main.claw", &text);
    said("six_mistakes", &project);
    let found = report(&project, &["check", "main.claw", "--json"]);
    let mut codes: Vec<&str> = found["diagnostics"]
        .as_array()
        .expect("diagnostics")
        .iter()
        .filter_map(|one| one["code"].as_str())
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, ["E0102", "E0109", "E0201", "E0203", "E0304", "E0502"]);
}

/// A broken declaration hides nothing in the others.
#[test]
fn syntax_and_meaning_in_one_go() {
    let text = PIPELINE
        .replace("persona.imagine(count: people, seed: 7)", "persona.imagine(count = people)")
        .replace("operations: 3", "operatoins: 3")
        .replace("seed: 3) }", "seed: 3 }");
    wrong("syntax_and_meaning", &[("main.claw", &text)]);
}

#[test]
fn there_is_an_end_to_what_is_told() {
    let project = Project::new();
    let lines: Vec<String> = (0..1_000).map(|i| format!("stage s{i} = nothing{i}")).collect();
    project.write("main.claw", &lines.join("\n"));
    let found = report(&project, &["check", "main.claw", "--json"]);
    let all = found["diagnostics"].as_array().expect("diagnostics");
    assert_eq!(all.len(), 201);
    assert_eq!(all[200]["code"], "E0008");
    assert_eq!(all[200]["message"], "800 more problems are not shown");
}

// ------------------------------------------------------------------------------- for programs

/// What a wrong program's report says, parsed.
#[track_caller]
fn report(project: &Project, args: &[&str]) -> Json {
    let output = project.claw(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A project with one right pipeline, one with mistakes of every form (two labels, two files, no
/// place, characters of several bytes), and one that is not there.
fn mixed() -> Project {
    let project = Project::new();
    project.write("right.claw", PIPELINE);
    project.write(
        "wrong one.claw",
        "use std/persona\nuse \"./house.claw\"\nstage a = { text: \"äöü 🦀\", b: nothing }\n\
         stage a = persona.imagine(cuont: house.rules)\noutput a\n",
    );
    project.write("house.claw", "let rules = \"many\nlet other = 1 / 0\n");
    project
}

const MIXED: [&str; 4] = ["check", "right.claw", "wrong one.claw", "nothing.claw"];

#[test]
fn the_report_as_json() {
    let project = mixed();
    let found = report(&project, &[&MIXED[..], &["--json"]].concat());
    let text = serde_json::to_string_pretty(&found).expect("text");
    insta::assert_snapshot!(text);
    // What a right program gives has the same shape.
    let fine = project.json(&["check", "right.claw"]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&fine).expect("text"));
}

#[test]
fn the_report_as_sarif() {
    let project = mixed();
    let found = report(&project, &[&MIXED[..], &["--sarif"]].concat());
    let root = project.path("").canonicalize().expect("a folder");
    let text = serde_json::to_string_pretty(&found).expect("text");
    let text = text.replace(root.to_string_lossy().trim_end_matches('/'), "<project>");
    insta::assert_snapshot!(text);
    sarif_holds(&found);
}

/// What the schema of SARIF 2.1.0 asks for, of the parts that are written here.
fn sarif_holds(log: &Json) {
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    let bases = run["originalUriBaseIds"].as_object().expect("bases");
    assert!(rules.iter().all(|rule| rule["help"]["text"].as_str().is_some_and(|of| of.len() > 40)));
    let results = run["results"].as_array().expect("results");
    assert!(!results.is_empty());
    for result in results {
        let rule = result["ruleIndex"].as_u64().expect("a number") as usize;
        assert_eq!(rules[rule]["id"], result["ruleId"]);
        let places = result["locations"].as_array().expect("locations");
        assert_eq!(places.len(), 1, "{result}");
        let related = result["relatedLocations"].as_array().into_iter().flatten();
        for place in places.iter().chain(related) {
            let file = &place["physicalLocation"]["artifactLocation"];
            assert!(file["uri"].as_str().is_some_and(|uri| !uri.contains(' ')), "{file}");
            assert!(bases.contains_key(file["uriBaseId"].as_str().expect("a base")));
            let region = &place["physicalLocation"]["region"];
            if let Some(region) = region.as_object() {
                assert!(region["startLine"].as_u64() >= Some(1));
                assert!(region["startColumn"].as_u64() >= Some(1));
                let end = |line: &str, column: &str| {
                    (region[line].as_u64().expect("line"), region[column].as_u64().expect("column"))
                };
                assert!(end("endLine", "endColumn") >= end("startLine", "startColumn"));
            }
        }
    }
}

#[test]
fn all_codes_are_listed() {
    let project = Project::new();
    insta::assert_snapshot!(shown(&project, &["explain"]));
    let all = project.json(&["explain"]);
    let one = project.json(&["explain", "claw::e0304"]);
    assert!(all.as_array().expect("a list").contains(&one));
    assert_eq!(one["title"], "no such argument");
}
