//! `exec`: commands with declared inputs and outputs, through the real program.

use crate::project::Project;

const COUNT: &str = r#"
use std/exec

stage words = exec.file(
  command: "sort in/words.txt | uniq -c | sed 's/^ *//' > count.txt; echo counted >&2",
  inputs: [{ path: "in/words.txt", from: file("words.txt") }],
  output: "count.txt",
)
stage upper = exec.run(
  command: "tr a-z A-Z < data/count.txt > out/upper.txt && sh job.sh && echo done",
  inputs: [{ path: "data/count.txt", from: words }, { path: "job.sh", from: file("job.sh") }],
  folders: [{ path: "out", from: dir("out") }],
  outputs: ["out/upper.txt", "made"],
)
stage numbers = exec.rows(
  [{ n: 1 }, { n: 2 }, { n: 3 }],
  command: "echo starting >&2; while read -r line; do echo \"{{\\\"line\\\": $line}}\"; done",
)
output words as "result/count.txt"
output upper as "result/upper.json"
output numbers as "result/numbers.jsonl"
"#;

fn project() -> Project {
    let project = Project::new();
    project.write("main.claw", COUNT);
    project.write("words.txt", "b\na\nb\n");
    project.write("job.sh", "mkdir made; echo $(ls) > made/list.txt\n");
    project.write("out/.keep", "");
    project
}

fn read(project: &Project, path: &str) -> String {
    std::fs::read_to_string(project.path(path)).expect("a file")
}

#[test]
fn commands_give_what_they_declare() {
    if !crate::sandbox::works() {
        return;
    }
    let project = project();
    project.ok(&["run", "main.claw", "--quiet"]);
    assert_eq!(read(&project, "result/count.txt"), "1 a\n2 b\n");
    let upper = project.json(&["show", "upper"]).to_string();
    assert!(upper.contains("done"), "{upper}");
    let listed = project.ok(&["show", "upper", "files/made/list.txt"]);
    assert_eq!(listed.trim(), "data job.sh made out", "nothing else is in the workspace");
    let numbers = read(&project, "result/numbers.jsonl");
    assert_eq!(numbers, "{\"line\":{\"n\":1}}\n{\"line\":{\"n\":2}}\n{\"line\":{\"n\":3}}\n");
    // What was deleted or edited by hand is put back, and nothing runs.
    std::fs::remove_file(project.path("result/count.txt")).expect("removed");
    project.write("result/numbers.jsonl", "edited");
    let ran = project.ok(&["run", "main.claw", "--quiet"]);
    assert!(ran.contains("Nothing to do"), "{ran}");
    assert_eq!(read(&project, "result/count.txt"), "1 a\n2 b\n");
    assert_eq!(read(&project, "result/numbers.jsonl"), numbers);
}

fn made(project: &Project) -> Vec<String> {
    let plan = project.json(&["plan", "main.claw"]);
    let stages = plan["stages"].as_array().expect("stages").clone();
    let runs = stages.into_iter().filter(|stage| stage["will_run"] != 0);
    runs.map(|stage| stage["stage"].as_str().expect("a name").to_string()).collect()
}

#[test]
fn what_a_command_reads_is_in_its_key_and_where_it_runs_is_not() {
    if !crate::sandbox::works() {
        return;
    }
    let project = project();
    project.ok(&["run", "main.claw", "--quiet"]);
    assert_eq!(made(&project), [""; 0]);
    project.write("job.sh", "mkdir made; echo other > made/list.txt\n");
    assert_eq!(made(&project), ["upper"], "its script");
    project.write("words.txt", "b\na\nb\nc\n");
    assert_eq!(made(&project), ["words", "upper"], "and what it gives to others");
    project.ok(&["run", "main.claw", "--quiet"]);
    let limited = COUNT.replace(
        "  output: \"count.txt\",",
        "  output: \"count.txt\",\n  sandbox: sandbox(\"process\", memory: 64MiB, time: 1m),",
    );
    project.write("main.claw", &limited);
    assert_eq!(made(&project), [""; 0]);
}

#[test]
fn commands_that_fail_say_how() {
    if !crate::sandbox::works() {
        return;
    }
    let cases = [
        ("false", "the command ended with 1"),
        ("echo broken pipe dream >&2; exit 7", "the command ended with 7: broken pipe dream"),
        ("no-such-program", "a program in it was not found"),
        ("echo x > other.txt", "the command did not leave `out`; it left other.txt"),
        ("cat words.txt > out", "words.txt"),
        ("sleep 60", "the command ran longer than 300 ms"),
        ("kill -9 $$", "the command was ended by signal 9"),
        ("mkdir out; touch out/x", "`out` is a folder, and `exec.file` gives one file"),
        ("mkdir out", "gives folders, as its `files`"),
        ("mkfifo out", "the command left out (a FIFO), which is not kept"),
    ];
    let project = Project::new();
    project.write("words.txt", "not declared");
    for (command, message) in cases {
        let text = format!(
            "use std/exec\nstage a = exec.file(command: {command:?}, \
             sandbox: sandbox(\"process\", time: 300ms))\noutput a\n"
        );
        project.write("main.claw", &text);
        let output = project.claw(&["run", "main.claw", "--quiet"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(message), "{command}: {said}");
    }
    let rows = "use std/exec\nstage a = exec.rows([{ n: 1 }], command: \"echo '{{}}'; echo '{{é: 1}}'\")\n\
                output a\n";
    project.write("main.claw", rows);
    let output = project.claw(&["run", "main.claw", "--quiet"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let place = "line 2 of its output is not a row, column 2: the name of a field stands in double";
    assert!(said.contains(place), "{said}");
}

#[test]
fn paths_of_a_workspace_are_told_before_anything_runs() {
    if !crate::sandbox::works() {
        return;
    }
    // Known only when it runs, and told before the command does.
    let cases = [
        ("outputs: [p]", "../x", "nothing that a command can leave"),
        ("outputs: [p]", "/etc", "nothing that a command can leave"),
        ("outputs: [p]", ".", "nothing that a command can leave"),
        (
            "inputs: [{ path: p, from: file(\"words.txt\") }]",
            "../x",
            "not a path inside the workspace",
        ),
    ];
    let project = Project::new();
    project.write("words.txt", "words");
    for (argument, path, message) in cases {
        let text = format!(
            "use std/exec\nparam p: str\nstage a = exec.run(command: \"sleep 60\", {argument})\noutput a\n"
        );
        project.write("main.claw", &text);
        let output = project.claw(&["run", "main.claw", "--quiet", "-p", &format!("p={path}")]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(message), "{said}");
    }
    project.write(
        "main.claw",
        "use std/exec\nstage a = exec.run(command: \"mkdir -p d; touch d/x\", outputs: [\"./d/\"])\noutput a\n",
    );
    project.ok(&["run", "main.claw", "--quiet"]);
}
