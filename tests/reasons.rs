//! Why a stage runs again, in words: through `claw plan` and `claw diff`.

use crate::project::Project;

const PROGRAM: &str = r#"
use std/exec
use "./house.claw" as house

param n: int = 3
param style: File = file("style.txt")
let greeting = "hello"
let wide = n * 10
let long = "a text that is longer than what a reason in one line would show of it"

def shout(text: str) -> str { "{text}, {house.mark}" }

stage numbers = for i in 1..=n { exec.file(command: "echo {i + wide} > out") }
stage greeted = for i in [1, 2] { exec.file(command: "echo {greeting} {i} > out") }
stage told = for i in [1, 2] { exec.file(command: "echo '{shout("{i}")} {long}' > out") }
stage styled = for from in [style, file("note.md")] {
  exec.file(command: "cat in > out", inputs: [{ path: "in", from: from }])
}
stage taken = take(numbers, count: n)
stage prompts = for i in [1] { exec.file(command: "cat > out", stdin: template("prompt.md.j2", i: i)) }
output greeted
output told
output styled
output taken
output prompts
"#;

fn project() -> Project {
    let project = Project::new();
    project.write("main.claw", PROGRAM);
    project.write("house.claw", "let mark = \"!\"\n");
    project.write("style.txt", "one\ntwo\nthree\nfour\nfive\n");
    project.write("note.md", "a note\n");
    project.write("prompt.md.j2", "Say {{ i }}.\n");
    project
}

#[test]
fn an_expression_is_another_one_for_what_it_names() {
    if !crate::sandbox::works() {
        return;
    }
    let project = project();
    project.ok(&["run", "main.claw", "--quiet"]);
    let mut all = String::new();
    let mut plan = |what: &str, args: &[&str]| {
        let args = [&["plan", "main.claw"], args].concat();
        all += &format!("== {what}\n{}\n", project.ok(&args));
    };
    plan("a parameter", &["-p", "n=5"]);
    let edit = |from: &str, to: &str| project.write("main.claw", &PROGRAM.replacen(from, to, 1));
    edit("\"hello\"", "\"good morning\"");
    plan("a constant", &[]);
    edit("longer than what", "a little longer than what");
    plan("a long constant", &[]);
    edit("n * 10", "n * 20");
    plan("a constant made of a parameter", &[]);
    edit("{text}, ", "{text}; ");
    plan("a def", &[]);
    edit("{greeting} {i}", "{greeting} {i}!");
    plan("the expression itself", &[]);
    project.write(
        "main.claw",
        &PROGRAM.replacen("hello", "hi", 1).replacen("{greeting} {i}", "{greeting} {i}!", 1),
    );
    plan("both", &[]);
    edit("let greeting = \"hello\"\n", "let hello = \"hello\"\nlet greeting = hello // as ever\n");
    plan("nothing", &[]);
    project.write("main.claw", PROGRAM);
    project.write("house.claw", "let mark = \"?\"\n");
    plan("a constant of another file", &[]);
    project.write("house.claw", "let mark = \"!\"\n");
    project.write("style.txt", "one\ntwo\nTHREE\nFOUR\nfive\n");
    plan("a file", &[]);
    project.write("note.md", "another note\n");
    plan("two files", &[]);
    project.write("style.txt", "one\ntwo\nthree\nfour\nfive\n");
    project.write("note.md", "a note\n");
    project.write("prompt.md.j2", "Tell {{ i }}.\n");
    plan("a template", &[]);
    insta::assert_snapshot!("plans", all);
    project.ok(&["run", "main.claw", "--quiet", "-p", "n=4"]);
    let diff = project.claw(&["diff"]);
    let said = String::from_utf8_lossy(&diff.stdout).into_owned();
    let program = said.lines().skip_while(|line| *line != "program");
    let program: Vec<&str> = program.take_while(|line| !line.is_empty()).collect();
    insta::assert_snapshot!("diff", program.join("\n"));
}

#[test]
fn the_inputs_of_a_command_are_told_by_their_paths() {
    if !crate::sandbox::works() {
        return;
    }
    let project = Project::new();
    project.write("words.txt", "b\na\n");
    project.write("job.sh", "sort words.txt > out\n");
    let program = "use std/exec\nparam flag: str = \"-u\"\n\
        stage sorted = exec.file(command: \"sh job.sh {flag}\", inputs: [\n  \
        { path: \"words.txt\", from: file(\"words.txt\") },\n  \
        { path: \"job.sh\", from: file(\"job.sh\") },\n])\noutput sorted\n";
    project.write("main.claw", program);
    project.ok(&["run", "main.claw", "--quiet"]);
    project.write("job.sh", "sort words.txt | cat > out\n");
    let mut all = project.ok(&["plan", "main.claw"]);
    all += &project.ok(&["plan", "main.claw", "-p", "flag=-r"]);
    project.write("job.sh", "sort words.txt > out\n");
    all += &project.ok(&["plan", "main.claw", "-p", "flag=-r"]);
    insta::assert_snapshot!("inputs", all);
}
