#!/usr/bin/env bash
# How quick the store and cheap rows are.
#
#   benches/store.sh                    a million rows
#   ROWS=100000 benches/store.sh
#
# First the store by itself beside blake3, plain sled and SQLite (benches/store). Then rows through the
# program: a stage without an operator, and one with a call a row; made, run again with nothing to do,
# and run again when only a row more is asked for. Told are the seconds on the clock, of the processor,
# rows a second of the processor (which a busy machine disturbs less), and the most memory.
#
# The program is target/release/claw (`cargo build --release`) or the one that CLAW names; PROFILE=dev
# builds the other half quickly and measures nothing. FOLDER is where the stores are made (a temporary
# one): a disk, for what a disk is to say.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
claw="${CLAW:-$here/../target/release/claw}"
[ -x "$claw" ] || { echo "no program at $claw: run \`cargo build --release\`, or set CLAW" >&2; exit 2; }
claw="$(realpath "$claw")"
rows="${ROWS:-1000000}"
profile="${PROFILE:-release}"
folder="$(mktemp -d -p "${FOLDER:-${TMPDIR:-/tmp}}")"
trap 'rm -rf "$folder"' EXIT

cargo run --quiet --profile "$profile" --manifest-path "$here/store/Cargo.toml" \
  --target-dir "$here/../target" -- "$folder/store" "$rows"

mkdir "$folder/project"
cd "$folder/project"
printf '[project]\nname = "rows"\n' > claw.toml
cat > plain.claw <<'CLAW'
param rows: int
stage numbers = for n in 1..=rows { { n: n, half: n / 2 } }
stage wanted = for r in numbers { { n: r.n, half: r.half, text: "row {r.n} of many" } }
stage few = wanted where .n <= 3
output few
CLAW
cat > calls.claw <<'CLAW'
use std/persona
use std/skill
param rows: int
stage people = persona.imagine(count: rows, seed: 1)
stage grounded = for p in people { skill.ground(persona: p, supporting: 1) }
stage few = grounded where .persona.id == "p0"
output few
CLAW
python3 - "$claw" "$rows" <<'PY'
import os, subprocess, sys, time

claw, rows = sys.argv[1], int(sys.argv[2])


def run(program, count):
    """One run: seconds, seconds of the processor, bytes of memory at most, what it said."""
    began = time.perf_counter()
    with open("said.txt", "w+b") as said:
        args = [claw, "run", program, "-p", f"rows={count}", "--quiet"]
        child = subprocess.Popen(args, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
        took = time.perf_counter() - began
        said.seek(0)
        text = said.read().decode()
    if status != 0:
        sys.exit(f"{program} failed:\n{text}")
    return took, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


# What a run costs that has almost nothing to do is no cost of the rows.
print(f"\n{rows} rows through the program")
print(f"  {'':<34}{'s':>8}{'cpu s':>8}{'rows/cpu s':>12}{'MB':>7}{'bytes/row':>11}")
for program, stages, what in [("plain.claw", 2, "no operator"), ("calls.claw", 1, "a call each")]:
    for step, count in [("made", rows), ("nothing to do", rows), ("a row more", rows + 1)]:
        took, cpu, memory = run(program, count)
        rate = rows * stages / cpu
        size = sum(
            os.stat(os.path.join(path, name)).st_blocks * 512
            for path, _, names in os.walk(".claw") for name in names
        ) / rows
        name = f"{what}: {step}"
        print(f"  {name:<34}{took:>8.2f}{cpu:>8.2f}{rate:>12.0f}{memory / 1e6:>7.0f}{size:>11.0f}")
    subprocess.run(["rm", "-rf", ".claw"], check=True)
PY
