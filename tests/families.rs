//! The shipped families, skills and personas: every family is proven on many tasks, and editing,
//! adding and growing change exactly what they should.

#![allow(clippy::unwrap_used, reason = "a test that meets no value has failed")]
#![allow(clippy::disallowed_methods, reason = "it reads the shipped library and runs commands")]

mod folder;
mod stdlib;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use claw::engine::{Args, CallError, Kind, Operator};
use claw::lang::Value;
use claw::operators::persona::{Draw, Pools};
use claw::operators::skill::{Ground, Skill, Taxonomy};
use claw::operators::task::{Family, Form, Proof, Wording, Write, prove};
use claw::operators::verify::Grade;
use claw::operators::workspace::Mock;
use claw::sandbox::Backend;
use claw::store::Objects;

use folder::FolderBackend;
use stdlib::{Stdlib, block_on, call, text};

/// Tasks that each family is proven on.
const TASKS: usize = 20;

/// Where solutions and checker programs run.
fn backend() -> Arc<dyn Backend> {
    Arc::new(FolderBackend)
}

#[test]
fn every_family_is_proven() {
    let library = Stdlib::read();
    let backend = backend();
    let mut unsound = String::new();
    for (name, groundings) in library.groundings_by_family(TASKS) {
        let family = library.family(&name);
        let proof: Proof =
            block_on(prove(&family, &groundings, &backend, &*library.objects)).unwrap();
        assert_eq!(proof.tasks, TASKS, "{name}");
        assert!(proof.mutants >= 2 * TASKS, "{name} has {} mutants", proof.mutants);
        if !proof.sound() {
            unsound.push_str(&format!("\n{name}: {} problems", proof.problems.len()));
            proof.problems.iter().take(3).for_each(|what| unsound.push_str(&format!("\n  {what}")));
        }
    }
    assert!(unsound.is_empty(), "{unsound}");
}

#[test]
fn a_family_with_a_fault_is_not_sound() {
    let library = Stdlib::read();
    let prove_edited = |path: &str, from: &str, to: &str| {
        let library = library.edited(&format!("sort_merge/{path}"), from, to);
        let groundings = library.groundings_by_family(2).remove("sort_merge").unwrap();
        let family = library.family("sort_merge");
        block_on(prove(&family, &groundings, &backend(), &*library.objects)).unwrap()
    };
    assert!(prove_edited("checks.toml", "every entry", "each entry").sound(), "a mere name");
    let faults = [
        ("solution.toml", "sort -u", "sort -r", "the solution is wrong"),
        ("solution.toml", "sort -u", "no-such-command", "the solution does not run"),
        ("checks.toml", "kind = \"lines\"", "any_order = true\nkind = \"lines\"", ""),
        ("checks.toml", "path = \"{{ out }}\"", "path = \"{{ left }}\"", "checks an input"),
        ("checks.toml", "{% for item in items|sort %}", "{% for item in left_items %}", "too few"),
    ];
    for (path, from, to, why) in faults {
        let proof = prove_edited(path, from, to);
        // Order alone is not tried by a mutant: the result stays sound, only more lenient.
        assert_eq!(proof.sound(), why.is_empty(), "{why}: {:?}", proof.problems);
    }
}

#[test]
fn prompts_are_short_plain_and_all_different() {
    let library = Stdlib::read();
    let mut prompts = BTreeSet::new();
    let mut wordings = BTreeSet::new();
    for task in library.tasks(25, 20) {
        let prompt = text(&task, "prompt").to_string();
        assert!(prompt.is_ascii(), "{prompt}");
        let words = prompt.split_whitespace().count();
        assert!((12..60).contains(&words), "{words} words: {prompt}");
        assert!(!prompt.contains('{') && !prompt.contains("  "), "{prompt}");
        wordings.insert(text(&task, "wording").to_string());
        assert!(prompts.insert(prompt.clone()), "two tasks read: {prompt}");
    }
    assert_eq!(prompts.len(), 500);
    assert!(wordings.len() > 100, "{} wordings in use", wordings.len());
}

/// Every sentence that a wording can be.
fn all_forms(family: &str) -> impl Fn((usize, &Wording)) -> Vec<Form> {
    move |(n, wording)| {
        let mut choices = vec![Vec::new()];
        for options in wording.places() {
            choices = choices
                .iter()
                .flat_map(|chosen| (0..options).map(|at| [&chosen[..], &[at]].concat()))
                .collect();
        }
        choices.iter().map(|chosen| wording.form(family, n, |place| chosen[place])).collect()
    }
}

#[test]
fn every_wording_renders_and_names_what_the_solution_needs() {
    let library = Stdlib::read();
    for (name, groundings) in library.groundings_by_family(3) {
        let family = library.family(&name);
        assert!(family.wordings.len() >= 8, "{name}");
        let forms: Vec<Form> = (1..).zip(&family.wordings).flat_map(all_forms(&name)).collect();
        let different: BTreeSet<&String> = forms.iter().map(|form| &form.template).collect();
        assert_eq!(different.len(), forms.len(), "{name}");
        assert!(forms.len() >= 300, "{name} has {} sentences", forms.len());
        for grounding in &groundings {
            let mut names = family.draw(text(grounding, "id"), 0).unwrap();
            let solution = family.solution(&names).unwrap();
            let slots: Vec<String> = names
                .values()
                .filter_map(|value| value.as_str().map(str::to_string))
                .filter(|slot| {
                    slot.len() > 2
                        && solution.calls.iter().any(|call| {
                            call.arguments.values().any(|value| value.to_string().contains(slot))
                        })
                })
                .collect();
            names.insert("persona".to_string(), grounding.get("persona").unwrap().to_json());
            for form in &forms {
                let prompt = family.ask(form, &names).unwrap();
                let id = &form.id;
                let words = prompt.split_whitespace().count();
                assert!((12..=45).contains(&words), "{id}, {words} words: {prompt}");
                let spaced = ["  ", " ,", " .", " :", " ;", " ?", ",,", ".."].iter().all(|slip| {
                    !prompt.contains(slip) || (*slip == " ." && name == "rename_files")
                });
                let ends = prompt.ends_with(['.', '?']) && !prompt.ends_with("..");
                assert!(prompt.is_ascii() && spaced && ends, "{id}: {prompt}");
                assert!(!prompt.starts_with(|c: char| c.is_lowercase()), "{id}: {prompt}");
                assert!(!prompt.contains(['[', ']', '|']), "{id}: {prompt}");
                for slot in &slots {
                    let named = prompt.contains(slot.as_str());
                    // What is looked up first is not in the request.
                    assert!(named || name == "set_value", "{id} lacks `{slot}`: {prompt}");
                }
            }
        }
    }
}

#[test]
fn families_skills_and_taxonomy_fit_together() {
    let library = Stdlib::read();
    let taxonomy = Taxonomy::read(&library.taxonomy, &*library.objects).unwrap();
    assert_eq!(taxonomy.scenarios.len(), 51);
    assert_eq!(taxonomy.operations.len() + taxonomy.online.len(), 19);
    let skills = Skill::read_all(&library.skills, &*library.objects).unwrap();
    assert!(skills.len() >= 12);
    let folders = Family::names(&library.objects.tree(&library.families).unwrap());
    let named: BTreeSet<&String> = skills.iter().flat_map(|skill| &skill.families).collect();
    assert_eq!(named.into_iter().cloned().collect::<Vec<_>>(), folders, "every family is grounded");
    assert!(folders.len() >= 13 && folders.contains(&"fix_json".to_string()));
    for skill in &skills {
        assert!(!skill.families.is_empty() && !skill.operations.is_empty(), "{}", skill.name);
        for operation in &skill.operations {
            assert!(taxonomy.operations.contains(operation), "{}: {operation}", skill.name);
        }
    }
    let (mut tools, mut programs) = (BTreeSet::new(), 0);
    for name in &folders {
        let family = library.family(name);
        for operation in &family.operations {
            assert!(taxonomy.operations.contains(operation), "{name}: {operation}");
        }
        programs += usize::from(family.program.is_some());
        let solution = family.solution(&family.draw("anybody.1", 0).unwrap()).unwrap();
        assert!((1..=2).contains(&solution.calls.len()), "{name}");
        tools.extend(solution.calls.into_iter().map(|call| call.name));
    }
    assert_eq!(tools.into_iter().collect::<Vec<_>>(), ["edit", "exec", "read", "write"]);
    assert!(programs >= 2);
}

#[test]
fn skill_files_keep_the_format() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("stdlib/skills");
    for folder in std::fs::read_dir(root).unwrap() {
        let file = folder.unwrap().path().join("SKILL.md");
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().count();
        assert!((20..150).contains(&lines), "{}: {lines} lines", file.display());
        assert!(text.is_ascii(), "{}", file.display());
    }
}

#[test]
fn people_are_distinct_and_stay_who_they_are() {
    let library = Stdlib::read();
    let pools = Pools::read(&library.personas, &*library.objects).unwrap();
    assert!(pools.people() > 1_000_000_000, "{}", pools.people());
    let crowd: Vec<Value> = (1..=5_000).map(|index| pools.person(index, 7).unwrap()).collect();
    let texts: BTreeSet<&str> = crowd.iter().map(|person| text(person, "text")).collect();
    assert_eq!(texts.len(), crowd.len());
    let ids: BTreeSet<&str> = crowd.iter().map(|person| text(person, "id")).collect();
    assert_eq!(ids.len(), crowd.len());
    assert_eq!(pools.person(4_321, 7).unwrap(), crowd[4_320]);
    assert_ne!(pools.person(1, 8).unwrap(), crowd[0], "another seed is another crowd");
    assert!(pools.person(100_000, 7).is_ok());
    assert!(pools.person(0, 7).is_err() && pools.person(i64::MAX, 7).is_err());
    for person in &crowd[..200] {
        let (role, trade) = (text(person, "role"), text(person, "trade"));
        assert!(
            !"aeiou".contains(&role[..1]) && !"aeiou".contains(&trade[..1]),
            "a {role}, a {trade}"
        );
    }
}

#[test]
fn groundings_are_balanced_and_stay_when_more_are_asked_for() {
    let library = Stdlib::read();
    let few: Vec<Value> = library.groundings(10, 20);
    let many: Vec<Value> = library.groundings(20, 40);
    for grounding in &few {
        assert!(many.contains(grounding), "{} changed", text(grounding, "id"));
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut scenarios = BTreeSet::new();
    for grounding in &many {
        *counts.entry(text(grounding, "family")).or_default() += 1;
        scenarios.insert(text(grounding, "scenario"));
        assert_eq!(grounding.get("operations").unwrap().as_list().unwrap().len(), 3);
        let supporting = grounding.get("supporting").unwrap().as_list().unwrap();
        assert_eq!(supporting.len(), 2);
        assert!(!supporting.contains(grounding.get("skill").unwrap()));
    }
    let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
    assert!(*least * 10 >= *most * 7, "families appear {least} to {most} times: {counts:?}");
    assert!(scenarios.len() > 45);
    let ids: BTreeSet<&str> = many.iter().map(|grounding| text(grounding, "id")).collect();
    assert_eq!(ids.len(), many.len());
}

#[test]
fn editing_a_wording_changes_only_the_tasks_that_use_it() {
    let before = Stdlib::read();
    let path = "top_k/wordings.txt";
    let line = before.text_of(path).lines().nth(2).unwrap().to_string();
    let after = before.edited(path, &line, &line.replace("ranking", "hit list"));
    let (write, mock) = (Write::new(Arc::default()), Mock::new(Arc::default()));
    let (mut changed, mut kept) = (0, 0);
    for grounding in before.groundings(30, 16) {
        let make = |library: &Stdlib| {
            let args = library.write_args(&grounding);
            let key = write.reads(&args, &*library.objects).unwrap();
            (call(&write, &args, library).unwrap(), key)
        };
        let ((old, old_key), (new, new_key)) = (make(&before), make(&after));
        let uses = text(&old, "wording").starts_with("top_k/3.");
        assert_eq!(old.digest() != new.digest(), uses, "{}", text(&old, "prompt"));
        assert_eq!(old_key.0 != new_key.0, uses, "its key");
        assert_eq!(old.get("params"), new.get("params"));
        assert_eq!(old.get("id"), new.get("id"));
        if uses {
            changed += 1
        } else {
            kept += 1
        }
        let files = |library: &Stdlib, task: &Value| {
            let args = library.mock_args(task);
            let world = call(&mock, &args, library).unwrap();
            (
                mock.reads(&args, &*library.objects).unwrap().0["families"].clone(),
                world.get("files").cloned(),
            )
        };
        assert_eq!(files(&before, &old), files(&after, &new));
    }
    assert!(changed >= 1 && kept > 400, "{changed} changed, {kept} kept");
}

#[test]
fn a_new_wording_takes_tasks_over_and_changes_no_other() {
    let before = Stdlib::read();
    let line = before.text_of("top_k/wordings.txt").lines().next().unwrap().to_string();
    let lines = format!("{line}\nBest {{{{ k }}}} of {{{{ file }}}} to {{{{ out }}}} please.");
    // Behind the last line, so that no number moves.
    let text_before = before.text_of("top_k/wordings.txt");
    let last = text_before.lines().last().unwrap();
    let after = before.edited("top_k/wordings.txt", last, &lines.replacen(&line, last, 1));
    let (old, new) = (before.family("top_k"), after.family("top_k"));
    assert_eq!(new.wordings.len(), old.wordings.len() + 1);
    let mut taken = 0;
    for n in 0..300 {
        let id = format!("somebody.{n}");
        assert_eq!(old.draw(&id, 0).unwrap(), new.draw(&id, 0).unwrap());
        if new.wording_of(&id, 0) == new.wordings.len() {
            taken += 1;
        } else {
            assert_eq!(old.wording_of(&id, 0), new.wording_of(&id, 0));
        }
    }
    assert!((5..80).contains(&taken), "{taken}");
}

#[test]
fn a_broken_family_says_which_file_and_why() {
    let library = Stdlib::read();
    let cases = [
        ("family.toml", "word = [2, 3]", "word = [3, 2]", "the smaller first"),
        ("family.toml", "word = [2, 3]", "wrod = [2, 3]", "wrod"),
        ("family.toml", "rows|sort", "rosw|sort", "rosw"),
        ("checks.toml", "kind = \"lines\"", "kind = \"linse\"", "linse"),
        ("checks.toml", "kind = \"lines\"", "kind = \"unchanged\"", "make it a gate"),
        ("checks.toml", "{{ row.word }}", "{{ row.word", "checks.toml"),
        ("solution.toml", "tool = \"exec\"", "tool = \"run\"", "no tool `run`"),
        ("solution.toml", "{{ k }}", "{{ kk }}", "kk"),
        ("wordings.txt", "|", "|[", "further `["),
        ("wordings.txt", "|", "{{ kk }}|", "`top_k/1."),
        ("wordings.txt", "|", "|{{ k }|", "wordings"),
    ];
    for (file, from, to, says) in cases {
        let broken = library.edited(&format!("top_k/{file}"), from, to);
        let made = Family::load(
            &broken.objects.tree(&broken.families).unwrap(),
            "top_k",
            &*broken.objects,
        )
        .and_then(|family| {
            let params = family.draw("somebody.1", 0)?;
            family.rules(&params)?;
            family.solution(&params)
        });
        let message = made.expect_err(to).to_string();
        assert!(
            message.contains("top_k") && message.contains(file.trim_end_matches(".txt")),
            "{message}"
        );
        assert!(message.contains(says), "`{says}` is not in: {message}");
    }
    let none = library.objects.tree(&library.families).unwrap();
    let message = Family::load(&none, "topk", &*library.objects).expect_err("no such").to_string();
    assert!(message.contains("top_k"), "{message}");
}

#[test]
fn grading_tells_checker_errors_from_scores() {
    let library = Stdlib::read();
    let grade = Grade::new(Arc::new(|name: &str| (name == "process").then(backend)));
    assert_eq!(grade.about().kind, Kind::Pure);
    let run_of = |library: &Stdlib, files: &[(String, Vec<u8>)]| {
        let grounding = library.groundings_by_family(1).remove("csv_to_json").unwrap().remove(0);
        let task = call(&Write::new(Arc::default()), &library.write_args(&grounding), library);
        let task = task.unwrap();
        let world = call(&Mock::new(Arc::default()), &library.mock_args(&task), library).unwrap();
        let Some(Value::Dir(before)) = world.get("files") else { panic!("no files") };
        let mut after = library.objects.tree(before).unwrap();
        let added = library.objects.put_files(files).unwrap();
        after.entries.extend(library.objects.tree(&added).unwrap().entries);
        let after = library.objects.put_tree(&after).unwrap();
        Value::record([("id", Value::str("r")), ("world", world), ("after", Value::Dir(after))])
    };
    let sandbox = Value::record([("sandbox", Value::str("process")), ("time", Value::Int(5_000))]);
    let graded = |library: &Stdlib, files: &[(String, Vec<u8>)]| {
        let run = run_of(library, files);
        let args = [("run".to_string(), run), ("sandbox".to_string(), sandbox.clone())];
        call(&grade, &Args(args.into()), library)
    };

    let nothing = graded(&library, &[]).unwrap();
    assert_eq!(nothing.get("reward"), Some(&Value::Float(0.0)));
    assert_eq!(nothing.get("passed"), Some(&Value::Bool(false)));
    assert_eq!(nothing.get("checks").unwrap().as_list().unwrap().len(), 4);

    // A module of the workspace must not stand in for one of the library.
    let shadow = "import os\nos.write(3, b'{\"cheat\": 1}')\nos._exit(0)\n";
    let shadows: Vec<(String, Vec<u8>)> =
        ["csv.py", "json.py"].map(|name| (name.to_string(), shadow.as_bytes().to_vec())).to_vec();
    assert_eq!(graded(&library, &shadows).unwrap().get("reward"), Some(&Value::Float(0.0)));

    let report = "with os.fdopen(3, \"w\") as report:";
    for (to, says) in [
        ("sys.exit(3)\nif True:", "exit code 3"),
        ("sys.exit(0)\nif True:", "no verdict"),
        ("checks[\"odd\"] = float(\"nan\")\nwith os.fdopen(3, \"w\") as report:", "not JSON"),
        ("checks[\"odd\"] = 1.5\nwith os.fdopen(3, \"w\") as report:", "`odd` no number in 0..1"),
        ("print(\"to the wrong place\")\nraise ValueError(checks)\nif True:", "exit code 1"),
    ] {
        let library = library.edited("csv_to_json/check.py", report, to);
        let err = graded(&library, &[]).expect_err(says);
        let CallError::Row { message, output } = err else { panic!("{err:?}") };
        assert!(message.contains(says), "`{says}` is not in: {message}");
        assert_eq!(output.contains("to the wrong place"), to.contains("print"));
    }
}

#[test]
fn operators_say_what_they_are() {
    let operators: Vec<Box<dyn Operator>> = vec![
        Box::new(Draw::default()),
        Box::new(Ground::default()),
        Box::new(Write::new(Arc::default())),
        Box::new(Mock::new(Arc::default())),
    ];
    let names: Vec<&str> = operators.iter().map(|operator| operator.about().name).collect();
    assert_eq!(names, ["persona.draw", "skill.ground", "task.write", "workspace.mock"]);
    assert!(operators.iter().all(|operator| operator.about().kind == Kind::Pure));
    // The same answer through the operators as through the functions that the other tests use.
    let library = Stdlib::read();
    let args = |pairs: Vec<(&str, Value)>| {
        Args(pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    };
    let person = call(
        &Draw::default(),
        &args(vec![
            ("index", Value::Int(3)),
            ("seed", Value::Int(7)),
            ("pools", Value::Dir(library.personas)),
        ]),
        &library,
    )
    .unwrap();
    let ground = Ground::default();
    let ask = args(vec![
        ("persona", person),
        ("index", Value::Int(2)),
        ("skills", Value::Dir(library.skills)),
        ("taxonomy", Value::Dir(library.taxonomy)),
        ("supporting", Value::Int(2)),
        ("operations", Value::Int(3)),
        ("seed", Value::Int(0)),
    ]);
    let grounding = call(&ground, &ask, &library).unwrap();
    assert!(library.groundings(3, 2).contains(&grounding));
    assert!(matches!(
        ground.reads(&ask, &*library.objects).unwrap().get("skills"),
        Ok(Value::List(_))
    ));
}
