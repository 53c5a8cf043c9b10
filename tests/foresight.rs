//! What `claw plan` says is what the `claw run` after it does, through the real program.

use std::fmt::Write;

use serde_json::Value as Json;

use crate::project::Project;

/// Programs, each with what is asked for in turn.
const PROGRAMS: &[(&str, &str, &[&[&str]])] = &[
    (
        "rows of expressions",
        "param upto: int = 3\n\
         stage numbers = for i in 1..=upto { { n: i } }\n\
         stage pairs = for x in numbers, y in [10, 20] where x.n > 1 { { n: x.n * y } }\n\
         stage large = pairs where .n > 25\n\
         stage both = [numbers[0], numbers[1]]\n\
         stage all = numbers + numbers\n\
         output large\noutput both\noutput all\n",
        &[&[], &[], &["-p", "upto=4"], &["--refresh", "numbers"], &["--refresh", "pairs"]],
    ),
    (
        "calls that are computed at once",
        "use std/persona\nuse std/skill\nparam people: int = 2\n\
         stage folk = persona.imagine(count: people)\n\
         stage errands = for p in folk, n in 1..=2 { skill.ground(persona: p, index: n) }\n\
         stage split = holdout(errands, test: 50%, by: .persona.name)\n\
         output split\n",
        &[&[], &["-p", "people=3"], &["-p", "people=3", "--refresh", "errands"]],
    ),
    (
        "equal calls, and rows that are not known",
        "use std/exec\n\
         stage same = for i in [1, 1, 2] { exec.run(command: \"echo {i}\") }\n\
         stage told = for s in same { { text: s.printed } }\n\
         stage ones = told where .text == \"1\\n\"\n\
         stage lines = exec.rows([{ n: 1 }, { n: 2 }], command: \"cat; echo '{{}}'\")\n\
         stage after = for l in lines { { line: l } }\n\
         output ones\noutput after\n",
        &[&[], &[], &["--refresh", "same", "--refresh", "lines"]],
    ),
    (
        "rows that fail",
        "use std/exec\n\
         stage tried = for i in 1..=4 { exec.run(command: \"test {i} != 2 && echo {i}\") } \
         with { on_error: keep }\n\
         stage told = for t in tried { exec.run(command: \"cat\", stdin: t.printed) }\n\
         stage divided = for i in 0..4 { { n: 12 / i } } with { on_error: keep }\n\
         stage after = for d in divided { { n: d.n } }\n\
         output told\noutput after\n",
        &[&[], &[], &["--refresh", "tried"]],
    ),
    (
        "bodies that give many rows or none, and some that call nothing",
        "use std/exec\nparam upto: int = 3\n\
         stage many = for i in 0..upto { if i == 1 then [{ n: i }, { n: 5 }] else [{ n: i }] }\n\
         stage twice = for m in many { exec.rows([{ n: m.n }, { n: 7 }], command: \"cat\") }\n\
         stage after = for t in twice { { t: t } }\n\
         stage some = for m in many { if m.n > 1 then exec.run(command: \"echo {m.n}\").printed else \"-\" }\n\
         stage groups = group(many, by: .n)\n\
         stage sizes = for g in groups { { n: g.key, rows: g.rows } }\n\
         stage asked = for m in many where exec.run(command: \"echo {m.n}\").printed != \"0\\n\" { m }\n\
         output after\noutput some\noutput sizes\noutput asked\n",
        &[&[], &[], &["-p", "upto=4"], &["-p", "upto=4", "--refresh", "many"], &["--only", "some"]],
    ),
    (
        "first rows before the others, and a tolerance",
        "use std/exec\n\
         stage first = for i in 1..=5 { exec.run(command: \"echo {i}\") } \
         with { canary: 2, gate: .rows == 2 }\n\
         stage plain = for f in first { { text: f.printed } } with { canary: 1, gate: .rows == 1 }\n\
         stage dropped = for p in plain { exec.run(command: \"grep -v 3\", stdin: p.text) } \
         with { on_error: drop(at_most: 50%) }\n\
         stage last = for d in dropped { { text: d.printed } }\n\
         output last\n",
        &[&[], &[], &["--refresh", "plain"]],
    ),
    (
        "a policy that does not believe the store",
        "use std/exec\n\
         stage off = for i in 1..=3 { exec.run(command: \"echo {i}\") } with { cache: off }\n\
         stage after = for o in off { exec.run(command: \"cat\", stdin: o.printed) }\n\
         stage again = exec.run(command: \"echo again\") with { cache: refresh }\n\
         stage plain = for i in 1..=3 { { n: i } } with { cache: off }\n\
         stage doubled = for p in plain { { n: p.n * 2 } }\n\
         output after\noutput again\noutput doubled\n",
        &[&[], &[], &["--refresh", "after"]],
    ),
];

/// Rows that a run made or tried to.
fn made(stage: &Json) -> u64 {
    stage["ran"].as_u64().expect("ran") + stage["failed"].as_u64().expect("failed")
}

#[test]
fn a_plan_says_what_the_run_after_it_does() {
    if !crate::sandbox::works() {
        return;
    }
    let mut told = String::new();
    for (name, program, steps) in PROGRAMS {
        let project = Project::new();
        project.write("main.claw", program);
        for step in *steps {
            let args = |command| {
                let mut args = vec![command, "main.claw"];
                args.extend(*step);
                args
            };
            let plan = project.json(&args("plan"));
            let run = project.json(&args("run"));
            writeln!(told, "{name}: {}", step.join(" ")).expect("written");
            let stages = plan["stages"].as_array().expect("stages");
            for (plan, run) in stages.iter().zip(run["stages"].as_array().expect("stages")) {
                assert_eq!(plan["stage"], run["stage"]);
                let (said, made) = (plan["will_run"].as_u64().expect("a count"), made(run));
                let bound = plan["bound"].as_str().expect("a bound");
                let rows = said + plan["cached"].as_u64().expect("a count");
                let name = run["stage"].as_str().expect("a name");
                writeln!(told, "  {name:8} {bound:8} {said} of {rows}").expect("written");
                let holds = match bound {
                    "exact" => said == made && plan["cached"] == run["cached"],
                    "at_most" => made <= said,
                    "at_least" => made >= said,
                    _ => true,
                };
                // Where it is not certain, which of two stages makes a call is different each time.
                assert!(holds, "{told}\n{plan}\n{run}");
                assert_eq!(plan["exact"], Json::Bool(bound == "exact"));
            }
        }
    }
    insta::assert_snapshot!("plans_that_the_runs_held_to", told);
}

/// What a person reads of it.
#[test]
fn a_plan_says_how_certain_it_is() {
    if !crate::sandbox::works() {
        return;
    }
    let mut text = String::new();
    for (_, program, _) in &PROGRAMS[2..] {
        let project = Project::new();
        project.write("main.claw", program);
        text.push_str(&crate::cli::shown(&project, &["plan", "main.claw"]));
        project.ok(&["run", "main.claw", "--quiet"]);
        text.push_str(&crate::cli::shown(&project, &["plan", "main.claw"]));
        text.push_str(&crate::cli::shown(&project, &["plan", "main.claw", "--refresh", "after"]));
    }
    insta::assert_snapshot!("plans_and_their_bounds", text);
}

/// What is made again must be part of what is asked for.
#[test]
fn what_nothing_needs_is_not_made_again_in_silence() {
    let project = Project::new();
    project.write(
        "main.claw",
        "stage a = for i in 1..=2 { { n: i } }\nstage z = for i in 1..=2 { { m: i } }\n\
         output a\noutput z\n",
    );
    let mut text = String::new();
    for args in [
        ["run", "main.claw", "--only", "z", "--refresh", "a"],
        ["plan", "main.claw", "--only", "z", "--refresh", "a"],
        ["run", "main.claw", "--only", "z", "--refresh", "zz"],
    ] {
        text.push_str(&crate::cli::shown(&project, &args));
    }
    insta::assert_snapshot!("refresh_of_what_nothing_needs", text);
    project.ok(&["run", "main.claw", "--only", "z", "--only", "a", "--refresh", "a"]);
}
