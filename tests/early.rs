//! What a run would refuse is told by `claw check`, as far as the program says it.

use crate::project::Project;

#[test]
fn what_no_run_can_do_is_told_by_a_check() {
    let cases = [
        ("no steps", "stage a = [rollout.claw_tools(max_steps: 0)]"),
        ("less than none", "stage a = [rollout.sandbox_tools(context: 1 - 2)]"),
        ("no time", "stage a = for t in [1] { rollout.claw_tools(exec_time: 0s) }"),
        ("network", "param box: Sandbox = sandbox(\"process\", network: on)\nstage a = 1"),
        ("a word", "param box: Sandbox = sandbox(\"process\", network: some)\nstage a = 1"),
        ("a kind", "param box: Sandbox = sandbox(\"proces\")\nstage a = 1"),
        ("executor", "stage a = for i in [1] { i } with { executor: \"slurm\" }"),
        ("an output", "stage a = exec.file(command: \"true\", output: \"../x\")"),
        ("all of it", "stage a = exec.run(command: \"true\", outputs: [\"ok\", \".\"])"),
        ("of the machine", "stage a = exec.run(command: \"true\", outputs: [\"/etc/passwd\"])"),
        (
            "an input",
            "stage a = exec.run(command: \"true\", inputs: [{ path: \"../x\", from: file(\"x\") }])",
        ),
        (
            "a folder",
            "stage a = exec.run(command: \"true\", folders: [{ path: \"/x\", from: dir(\"d\") }])",
        ),
    ];
    let project = Project::new();
    project.write("x", "");
    project.write("d/x", "");
    let mut all = String::new();
    for (name, stage) in cases {
        let uses = ["exec", "rollout"].into_iter();
        let uses = uses.filter(|module| stage.contains(&format!("{module}.")));
        let uses: String = uses.map(|module| format!("use std/{module}\n")).collect();
        project.write("main.claw", &format!("{uses}{stage}\noutput a\n"));
        let checked = project.claw(&["check", "main.claw"]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(2), "{name}: {said}");
        all += &format!("== {name}\n{said}\n");
    }
    insta::assert_snapshot!("checked", all);
}

#[test]
fn no_isolation_is_told_for_what_runs_there() {
    let project = Project::new();
    let own = "use std/exec\nstage a = exec.file(command: \"echo > out\", sandbox: sandbox(\"local\"))\n\
               output a\n";
    project.write("main.claw", own);
    let refused = project.claw(&["run", "main.claw"]);
    assert_eq!(refused.status.code(), Some(2));
    insta::assert_snapshot!("local", String::from_utf8_lossy(&refused.stderr));
}
