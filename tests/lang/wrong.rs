//! What is said about wrong programs.

use claw::lang::{MemorySources, load};

use super::checked::{library, shown, wrong};

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
    wrong_images,
    r#"
param none: Sandbox = sandbox("docker")
param loose: Sandbox = sandbox("docker", image: "python:3.12", memory: 1GiB)
param here: Sandbox = sandbox("process", image: "sha256:0101010101010101010101010101010101010101010101010101010101010101")
param good: Sandbox = sandbox("docker", image: "a/b@sha256:0101010101010101010101010101010101010101010101010101010101010101")
stage boxes = [1]
output boxes
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

/// A mistake far to the right of a long line is shown with what is around it.
#[test]
fn long_lines_are_cut() {
    let items = "\"é\", ".repeat(40_000);
    insta::assert_snapshot!(wrong(&format!("stage a = [{items}nothing, 1, {items}]\noutput a")));
}
