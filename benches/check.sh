#!/bin/bash
# How long it takes to say whether a large pipeline is right, beside tools that load a graph of the
# same nodes and edges. claw checks names, types, units and files too; the others read the graph, see
# what exists and find what would run.
#
#   benches/check.sh                    2,000 stages
#   STAGES=10000 RUNS=20 benches/check.sh
#
# The program is target/release/claw (`cargo build --release`) or the one that CLAW names. Peers that
# are not installed are left out: `apt-get install ninja-build make`, `pip install snakemake`. Each is
# run RUNS times in turn with the others. Told are the best and the median of the time on the clock, the
# least time of the processor, which a busy machine disturbs less, and that in terms of claw's.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
claw="${CLAW:-$here/../target/release/claw}"
[ -x "$claw" ] || { echo "no program at $claw: run \`cargo build --release\`, or set CLAW" >&2; exit 2; }
claw="$(realpath "$claw")"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 "$here/graph.py" "$folder" "${STAGES:-2000}"
cd "$folder"
"$claw" check main.claw

python3 - "$claw" "${RUNS:-10}" <<'PY'
import resource, shutil, statistics, subprocess, sys, time

claw, runs = sys.argv[1], int(sys.argv[2])
contenders = [("claw check", [claw, "check", "main.claw"])]
if shutil.which("ninja"):
    contenders.append(("ninja -n", ["ninja", "-n"]))
    contenders.append(("ninja -t targets", ["ninja", "-t", "targets", "all"]))
if shutil.which("make"):
    contenders.append(("make -n", ["make", "-n"]))
if shutil.which("snakemake"):
    contenders.append(("snakemake --dry-run", ["snakemake", "-n", "-q", "--cores", "1"]))
contenders.append(("python -c pass", [sys.executable, "-c", "pass"]))
times = {name: [] for name, _ in contenders}
work = {name: [] for name, _ in contenders}


def processor():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# In turn, so that what else the machine does falls on all alike.
for turn in range(runs):
    for name, command in contenders:
        if name.startswith("snakemake") and turn >= 3:
            continue
        start, before = time.perf_counter(), processor()
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        times[name].append(time.perf_counter() - start)
        work[name].append(processor() - before)
        if done.returncode != 0:
            sys.exit(f"{name} failed: {done.stderr.decode()[-500:]}")
base = min(work["claw check"])
print(f"\n{'':22}{'best':>10}{'median':>10}{'processor':>11}{'to claw':>10}")
for name, found in times.items():
    best, middle, used = min(found), statistics.median(found), min(work[name])
    print(
        f"{name:22}{best * 1e3:8.1f}ms{middle * 1e3:8.1f}ms{used * 1e3:9.1f}ms{used / base:9.2f}x"
    )
PY
