#!/usr/bin/env bash
# How many rollouts go on at once while their models think, and what that costs.
#
#   benches/rollouts.sh [CLAW] [PYTHON]
#
# A server on this machine stands for the model: every answer takes LATENCY seconds (2), and every
# rollout calls a tool TOOLS times (5) before it ends. ROLLOUTS (1000) of them are in flight at once.
# With PYTHON, an interpreter that has `inspect_ai`, the same is played by Inspect AI's loop in its
# `local` sandbox, in the same run, and the ratio is printed.
#
# Told, a line of JSON a program: how long it took beside the bound that the latency sets; processor
# time a step (own: the program; others: its helper, sandboxes and the commands in them); the peak of
# memory of the whole tree (shared pages divided); processes, descriptors and threads of the program.
set -eu
claw=$(realpath "${1:-target/release/claw}")
python=${2:-}
latency=${LATENCY:-2} tools=${TOOLS:-5} rollouts=${ROLLOUTS:-1000} port=${PORT:-18473}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
server=
trap 'kill $server 2>/dev/null || true; rm -rf "$work"' EXIT
ulimit -n "$(ulimit -H -n)"

cp "$here/rollouts/main.claw" "$work"
cat > "$work/claw.toml" <<TOML
[models.script]
endpoint = "http://127.0.0.1:$port/v1"
model = "script"
concurrency = $rollouts
TOML
python3 "$here/rollouts/server.py" "$port" "$latency" "$tools" > "$work/ready" &
server=$!
until [ -s "$work/ready" ]; do sleep 0.1; done

cd "$work"
measure() { python3 "$here/rollouts/measure.py" "$port" "$latency" "$rollouts" "$rollouts" "$tools" "$@"; }
"$claw" run main.claw --only worlds --quiet -p rollouts="$rollouts"
measure claw "$claw" run main.claw --quiet -p rollouts="$rollouts" > claw.json 2> claw.txt || true
tail -n 1 claw.json
grep -v '^$' claw.txt | tail -n 5 >&2 || true
if [ -n "$python" ]; then
  measure inspect "$python" "$here/rollouts/peer.py" "$port" "$rollouts" "$work/logs" > peer.json 2> peer.txt || true
  tail -n 1 peer.json
  tail -n 3 peer.txt >&2 || true
  python3 - claw.json peer.json <<'PY'
import json, sys
ours, theirs = (json.loads(open(name).read().splitlines()[-1]) for name in sys.argv[1:])
cpu = lambda one: one["own_cpu_ms_per_step"]
print(f"inspect / claw: {theirs['seconds'] / ours['seconds']:.1f} x the time, "
      f"{cpu(theirs) / cpu(ours):.1f} x the processor time a step")
PY
fi
