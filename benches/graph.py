"""Writes one graph of stages in the languages of several tools, for benches/check.sh.

    graph.py FOLDER [STAGES]

The graph is what a large pipeline looks like: sources, row-by-row stages that read one or two earlier
ones, filters, tables of tables, calls of defs in other files, and files that are read. FOLDER gets
main.claw with its modules, and build.ninja, Makefile and Snakefile with the same nodes and edges.
"""

import random
import sys
from pathlib import Path

if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
    sys.exit(__doc__)
folder = Path(sys.argv[1])
count = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
draw = random.Random(1)

HOUSE = """use std/persona
use std/skill

/// The people that a house asks, each once.
def chosen(people: [persona.Persona], count: int) -> [persona.Persona] {
  let distinct = dedup(people, on: .name)
  sample(distinct, count: count)
}

/// Errands of those with a trade.
def errands(people: [persona.Persona], seed: int) -> [skill.Grounding] {
  for p in people where p.trade != "" { skill.ground(persona: p, seed: seed, operations: 3) }
}
"""

claw = [
    "//! A generated pipeline.\n",
    "use std/persona\nuse std/skill\nuse std/task\nuse std/workspace",
    *(f'use "./parts/house{n}.claw"' for n in range(5)),
    "\n/// How many people.\nparam people: int = 40 where 1 <= people <= 100_000",
    "param seed: int = 7",
    'let rules = file("prompts/rules.md")\n',
]
# The stages so far by what their rows are, and the edges as the other tools see them.
known = {"people": [], "groundings": [], "tasks": [], "worlds": []}
edges = []


def stage(rows, expr, reads):
    name = f"{rows}_{len(edges)}"
    claw.append(f"/// Stage {len(edges)}.\nstage {name} = {expr}\n")
    known[rows].append(name)
    edges.append((name, reads))


def one(rows):
    """An earlier stage, more often a late one than an early one."""
    names = known[rows]
    return names[max(draw.randrange(len(names)), draw.randrange(len(names)))]


while len(edges) < count:
    kind = draw.randrange(10)
    n = len(edges)
    if n < 5 or kind == 0:
        stage("people", f"persona.imagine(count: people, seed: seed + {n})", [])
    elif kind == 1:
        a = one("people")
        stage("people", f"house{n % 5}.chosen(people: {a}, count: {10 + n})", [a])
    elif kind == 2 or not known["groundings"]:
        a = one("people")
        stage(
            "groundings",
            f"for p in {a}, n in 1..={1 + n % 3} where p.role != \"x{n}\" {{\n"
            f"  skill.ground(persona: p, index: n, operations: {2 + n % 3}, seed: {n})\n}}"
            " with { retries: 2, on_error: drop(at_most: 5%) }",
            [a],
        )
    elif kind == 3:
        a = one("people")
        stage("groundings", f"house{n % 5}.errands(people: {a}, seed: {n})", [a])
    elif kind in (4, 5) or not known["tasks"]:
        a = one("groundings")
        stage("tasks", f"for g in {a} {{ task.write(grounding: g, seed: {n}) }}", [a])
    elif kind == 6:
        a, b = one("tasks"), one("tasks")
        stage("tasks", f"dedup({a} + {b}, on: .prompt) where .family != \"f{n}\"", [a, b])
    elif kind == 7:
        a = one("tasks")
        stage("tasks", f"take({a}, count: if people > {n} then {n + 1} else people)", [a])
    elif kind == 8 or not known["worlds"]:
        a = one("tasks")
        stage("worlds", f"for t in {a} {{ workspace.mock(task: t) }}", [a])
    else:
        a = one("worlds")
        stage("worlds", f"sample({a}, count: {100 + n}, seed: seed)", [a])

read = {name for _, reads in edges for name in reads}
targets = [name for name, _ in edges if name not in read]
claw.append("stage notes = { rules: rules, people: people }\n\noutput notes")
claw.extend(f"output {name}" for name in targets)

(folder / "parts").mkdir(parents=True, exist_ok=True)
(folder / "prompts").mkdir(exist_ok=True)
(folder / "claw.toml").write_text('[project]\nname = "bench"\n')
(folder / "prompts/rules.md").write_text("Be kind.\n")
for n in range(5):
    (folder / f"parts/house{n}.claw").write_text(HOUSE)
(folder / "main.claw").write_text("\n".join(claw) + "\n")

(folder / "build.ninja").write_text(
    "rule make\n  command = make-stage --seed 7 -o $out $in\n\n"
    + "".join(f"build {name}: make {' '.join(reads)}\n" for name, reads in edges)
    + f"default {' '.join(targets)}\n"
)
(folder / "Makefile").write_text(
    f"all: {' '.join(targets)}\n\n"
    + "".join(
        f"{name}: {' '.join(reads)}\n\tmake-stage --seed 7 -o $@ $^\n\n" for name, reads in edges
    )
)
(folder / "Snakefile").write_text(
    f"rule all:\n    input: {', '.join(repr(name) for name in targets)}\n\n"
    + "".join(
        f"rule {name}_rule:\n"
        + (f"    input: {', '.join(repr(read) for read in reads)}\n" if reads else "")
        + f"    output: {name!r}\n"
        + "    shell: 'make-stage --seed 7 -o {output} {input}'\n\n"
        for name, reads in edges
    )
)
lines = sum(text.count("\n") + 1 for text in claw)
print(f"{len(edges)} stages, {sum(len(reads) for _, reads in edges)} edges, {lines} lines of claw")
