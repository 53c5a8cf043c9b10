#!/usr/bin/env python3
"""Writes the DAG that engine benchmarks race on as a pipeline: N items through S stages, then one
stage over all. Arguments: DIR N STAGES P JOBS [rows]. With `rows` the items are rows of one stage
each, and their files one folder a stage."""
import sys

folder, n, stages, p = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
as_rows = sys.argv[6:] == ["rows"]
log = f"{folder}/runs.log"
out = ["use std/exec", ""]


def command(item, done):
    return f"read x < in.txt; echo \\\"$x {p}\\\" > {done}; echo {item} >> {log}"


if not as_rows:
    for i in range(n):
        source = f'file("in/{i:06}.txt")'
        for s in range(1, stages + 1):
            name = f"s{s}_{i:06}"
            out.append(
                f'stage {name} = exec.file(command: "{command(f"{i:06}.{s}", "out.txt")}", '
                f'inputs: [{{ path: "in.txt", from: {source} }}], output: "out.txt", sandbox: sandbox("local"))'
            )
            out.append(f'output {name} as "s{s}/{i:06}.txt"')
            source = name
    inputs = ",\n".join(f'  {{ path: "{i:06}.txt", from: s{stages}_{i:06} }}' for i in range(n))
    out.append(f"let last = 0")
else:
    items = ", ".join(f'{{ id: "{i:06}", from: file("in/{i:06}.txt") }}' for i in range(n))
    out.append(f"stage s0 = [{items}]")
    for s in range(1, stages + 1):
        body = command("{i.id}." + str(s), "out.txt")
        out.append(
            f'stage s{s} = for i in s{s-1} {{\n  {{ id: i.id, from: exec.file(command: "{body}", '
            f'inputs: [{{ path: "in.txt", from: i.from }}], output: "out.txt", sandbox: sandbox("local")) }}\n}}'
        )
        out.append(f'output s{s} as "s{s}.jsonl"')
    inputs = None
done = f"cat 0*.txt > all.txt; echo all >> {log}"
if as_rows:
    out.append(f'stage files = for i in s{stages} {{ {{ path: i.id + ".txt", from: i.from }} }}')
    out.append(f'stage all = exec.file(command: "{done}", inputs: files, output: "all.txt", sandbox: sandbox("local"))')
else:
    out.remove("let last = 0")
    out.append(f'stage all = exec.file(command: "{done}", inputs: [\n{inputs}\n], output: "all.txt", sandbox: sandbox("local"))')
out.append('output all as "all.txt"')
with open(f"{folder}/bench.claw", "w") as file:
    file.write("\n".join(out) + "\n")
with open(f"{folder}/claw.toml", "w") as file:
    file.write('[project]\nname = "bench"\n')
