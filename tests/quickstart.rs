//! The whole life of a small agent, through the program, as a user sees it.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value as Json;

use crate::project::Project;

const PIPELINE: &str = "pipelines/quickstart.claw";

/// A life small enough to be lived many times over: few people, short lessons.
const SMALL: [&str; 10] =
    ["-p", "people=5", "-p", "errands=6", "-p", "steps=6", "-p", "base_steps=6", "-p", "exam=8"];

fn run(project: &Project, more: &[&str]) -> Json {
    let mut args = vec!["run", PIPELINE];
    args.extend(SMALL);
    args.extend(more);
    project.json(&args)
}

fn results(outcome: &Json) -> BTreeMap<String, String> {
    let results = outcome["results"].as_object().expect("results");
    let text = |digest: &Json| digest.as_str().expect("every stage has a result").to_string();
    results.iter().map(|(stage, digest)| (stage.clone(), text(digest))).collect()
}

fn count(outcome: &Json, stage: &str, what: &str) -> u64 {
    let stages = outcome["stages"].as_array().expect("stages");
    let line = stages.iter().find(|line| line["stage"] == stage).expect("the stage");
    line[what].as_u64().expect("a count")
}

#[test]
fn lives_and_then_does_nothing_twice() {
    let project = Project::new();
    let first = run(&project, &[]);
    assert_eq!(first["ok"], true);
    assert_eq!(count(&first, "personas", "ran"), 5);
    assert_eq!(count(&first, "tasks", "ran"), 30);
    assert!(count(&first, "lessons", "ran") > 0);
    let lines = first["outputs"]["report"]["lines"].as_array().expect("a report");
    assert!(lines.len() >= 4, "two models, two groups");
    assert!(project.path("out/student/model.safetensors").is_file());
    assert!(project.path("out/student/config.json").is_file());

    let again = run(&project, &[]);
    assert_eq!(results(&first), results(&again));
    for stage in again["stages"].as_array().expect("stages") {
        assert_eq!(stage["state"], "cached", "{stage}");
        assert_eq!(stage["ran"], 0, "{stage}");
    }
    let mut args = vec!["run", PIPELINE];
    args.extend(SMALL);
    assert!(project.ok(&args).contains("Nothing to do"));
    args[0] = "plan";
    assert!(project.ok(&args).contains("Nothing to run"));
}

#[test]
fn a_deleted_output_is_put_back_without_work() {
    let project = Project::new();
    run(&project, &[]);
    let weights = project.path("out/student/model.safetensors");
    let before = std::fs::read(&weights).expect("weights");
    std::fs::remove_file(&weights).expect("deleted");
    std::fs::write(project.path("out/student/config.json"), "{}").expect("edited");
    let again = run(&project, &[]);
    assert_eq!(count(&again, "student", "ran"), 0);
    assert_eq!(std::fs::read(&weights).expect("weights"), before);
    let config = std::fs::read_to_string(project.path("out/student/config.json")).expect("config");
    assert!(config.contains("Qwen3ForCausalLM"), "{config}");
}

#[test]
fn the_number_of_threads_changes_no_digest() {
    let (one, four) = (Project::new(), Project::new());
    let one = results(&run(&one, &["-j", "1"]));
    let four = results(&run(&four, &["-j", "4"]));
    assert_eq!(one, four);
    assert!(one.contains_key("student") && one.contains_key("report.runs"));
}

#[test]
fn one_more_person_touches_only_what_is_theirs() {
    let project = Project::new();
    run(&project, &[]);
    let more = ["-p", "people=6"];
    let mut args = vec!["plan", PIPELINE];
    args.extend(SMALL.iter().skip(2));
    args.extend(more);
    let plan = project.json(&args);
    args[0] = "run";
    let outcome = project.json(&args);
    assert_eq!(count(&outcome, "personas", "ran"), 1);
    assert_eq!(count(&outcome, "personas", "cached"), 5);
    for stage in ["grounded", "tasks", "worlds"] {
        assert_eq!(count(&outcome, stage, "ran"), 6, "{stage}: the new person's errands");
        assert_eq!(count(&outcome, stage, "cached"), 30, "{stage}");
    }
    assert!(count(&outcome, "lessons", "ran") <= 6);
    assert_eq!(count(&outcome, "base", "ran"), 0);
    agree(&plan, &outcome);
}

/// What the plan said is what ran.
#[track_caller]
fn agree(plan: &Json, outcome: &Json) {
    for stage in plan["stages"].as_array().expect("stages") {
        let name = stage["stage"].as_str().expect("a name");
        let said = stage["will_run"].as_u64().expect("a count");
        let made = count(outcome, name, "ran") + count(outcome, name, "failed");
        match stage["bound"].as_str().expect("a bound") {
            "exact" => assert_eq!(said, made, "stage {name}: {stage}"),
            "at_most" => assert!(made <= said, "stage {name}: {made} made: {stage}"),
            "at_least" => assert!(made >= said, "stage {name}: {made} made: {stage}"),
            _ => {}
        }
    }
}

#[test]
fn an_edited_wording_is_named_and_followed() {
    let project = Project::with_library();
    let before = run(&project, &[]);
    // A wording that a task really uses: the first task's.
    let row = project.json(&["show", "tasks", "--row", "0"]);
    let family = row["family"].as_str().expect("a family");
    // `sum_where/3.021` is the third line with its alternatives chosen.
    let number = |wording: &str| wording.rsplit('/').next()?.split('.').next()?.parse().ok();
    let number: usize = row["wording"].as_str().and_then(number).expect("a number");
    let path = format!("stdlib/tasks/{family}/wordings.txt");
    let text = std::fs::read_to_string(project.path(&path)).expect("wordings");
    let mut wordings: Vec<String> = text.lines().map(str::to_string).collect();
    let lines: Vec<usize> = wordings
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(at, _)| at)
        .collect();
    let at = lines[number - 1];
    wordings[at] = format!("Kindly: {}", wordings[at]);
    project.write(&path, &(wordings.join("\n") + "\n"));

    let mut args = vec!["plan", PIPELINE];
    args.extend(SMALL);
    let text = project.ok(&args);
    assert!(text.contains(&format!("{family}/wordings.txt changed")), "{text}");
    let plan = project.json(&args);
    args[0] = "run";
    let outcome = project.json(&args);
    agree(&plan, &outcome);
    let ran = count(&outcome, "tasks", "ran");
    assert!((1..30).contains(&ran), "{ran} tasks use that wording");
    assert_eq!(count(&outcome, "personas", "ran"), 0);
    assert_eq!(count(&outcome, "base", "ran"), 0);
    assert_ne!(results(&before)["tasks"], results(&outcome)["tasks"]);

    // Taking the edit back computes nothing.
    project.write(&path, &text_of(&wordings, at));
    let mut args = vec!["run", PIPELINE];
    args.extend(SMALL);
    let back = project.json(&args);
    assert_eq!(results(&before), results(&back));
    assert_eq!(count(&back, "student", "ran"), 0);
}

fn text_of(wordings: &[String], edited: usize) -> String {
    let mut lines = wordings.to_vec();
    lines[edited] = lines[edited].trim_start_matches("Kindly: ").to_string();
    lines.join("\n") + "\n"
}

/// Killed after the log's line number N for N drawn at random; whatever was going on then, the next
/// run ends as if nothing had happened.
#[test]
fn kill_9_at_any_moment_loses_nothing() {
    let whole = Project::new();
    let expected = results(&run(&whole, &[]));
    let events = lines(&whole);
    let seed = std::process::id() as usize;
    for attempt in 0..5usize {
        let project = Project::new();
        let after = 1 + (seed * 7919 + attempt * 104_729) % events.max(2);
        let mut args = vec!["run", PIPELINE, "--quiet"];
        args.extend(SMALL);
        let mut child = project
            .command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("claw starts");
        while lines(&project) < after && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.kill().expect("killed");
        child.wait().expect("gone");
        let outcome = run(&project, &[]);
        assert_eq!(results(&outcome), expected, "killed after event {after} of {events}");
    }
}

/// Lines in the log of the project's first run.
fn lines(project: &Project) -> usize {
    let runs = std::fs::read_dir(project.path(".claw/runs"));
    runs.ok()
        .and_then(|mut runs| runs.next()?.ok())
        .and_then(|run| std::fs::read_to_string(run.path().join("events.jsonl")).ok())
        .map_or(0, |text| text.lines().count())
}

#[test]
fn a_score_can_be_walked_back_to_its_person() {
    let project = Project::new();
    run(&project, &[]);
    let story = project.ok(&["show", "report.graded", "--row", "0"]);
    for part in ["score", "run", "persona", "skill", "task", "workspace before", "trajectory"] {
        assert!(story.contains(&format!("── {part}")), "no `{part}` in:\n{story}");
    }
    assert!(project.ok(&["show", "report"]).contains("mean"));
    assert!(project.ok(&["show", "graded", "--where", "passed=true"]).contains("rows"));
    assert!(project.ok(&["show", "lessons", "--failed"]).contains("No row"));
    assert!(project.ok(&["runs"]).contains("quickstart.claw"));
    let persona = project.ok(&["show", "graded", "--row", "0", "run.world.task.grounding.persona"]);
    assert!(persona.contains("name:"), "{persona}");
    let missing = project.claw(&["show", "grade"]);
    assert_eq!(missing.status.code(), Some(2));
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(text.contains("did you mean `graded`?"), "{text}");
}
