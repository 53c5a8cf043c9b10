#!/usr/bin/env bash
# How long readers take while a run writes, and how much of it they waited.
#
#   benches/readers.sh [CLAW] [ROWS] [SECONDS]
#
# A project with ROWS rows (20,000) is read over and over by four readers at once (`show`, `runs`,
# `plan`, `store check`): first with nobody writing, then for SECONDS (10) while runs write to the
# store. Prints of each how long the worst took, and the worst of its time in which it did not compute:
# that is waiting, for a lock, the disk or a processor. The goal is that no reader waits for a writer
# more than 100 ms; on a busy machine both columns show the machine. Exit code 1 when a reader fails.
set -eu
claw=$(realpath "${1:-target/release/claw}")
rows=${2:-20000}
seconds=${3:-10}
work=$(mktemp -d)
trap 'touch "$work/stop"; wait; rm -rf "$work"' EXIT
cd "$work"
export NO_COLOR=1
echo > claw.toml
program() {
  cat <<CLAW
param from: int = 0
stage numbers = for n in 0..$rows { { n: n, text: "number {n} of $rows" } }
stage squares = for n in numbers { { n: n.n + from, square: n.n * n.n } }
output squares as "squares.jsonl"
CLAW
}
program > main.claw
"$claw" run main.claw --quiet > /dev/null

# read_for NAME STATE SECONDS ARGS…: reads until the time is over; a line each: milliseconds in all,
# and those of them in which it did not compute.
read_for() {
  local name=$1 state=$2 end=$(($(date +%s) + $3)) TIMEFORMAT='%R %U %S'
  shift 3
  while [ "$(date +%s)" -lt "$end" ]; do
    { time "$claw" "$@" > /dev/null 2> "$work/$name.err" || touch "$work/failed-$name"; } 2>> "$work/$name.$state"
  done
}

all() {
  read_for show "$1" "$2" show squares --limit 3 &
  readers=$!
  read_for runs "$1" "$2" runs & readers="$readers $!"
  read_for plan "$1" "$2" plan main.claw & readers="$readers $!"
  read_for check "$1" "$2" store check & readers="$readers $!"
  for reader in $readers; do wait "$reader"; done
}

all quiet "$seconds"
# Runs that write all the time: each has other parameters, and so other rows.
( number=1
  while [ ! -e "$work/stop" ]; do
    "$claw" run main.claw --quiet -p from=$number > /dev/null 2>&1 || true
    number=$((number + 1))
  done ) &
all writing "$seconds"
touch "$work/stop"

# figures FILE: the median and the worst time, and the worst wait.
figures() {
  awk '{ wait = ($1 - $2 - $3) * 1000; print int($1 * 1000), int(wait > 0 ? wait : 0) }' "$1" | sort -n |
    awk '{ all[NR] = $1; if ($2 > wait) wait = $2 } END { print all[int((NR + 1) / 2)], all[NR], wait + 0 }'
}
row='%-7s %9s %9s %9s   %9s %9s %9s\n'
printf "$row" '(ms)' 'quiet:' '' '' 'a run:' '' ''
printf "$row" reader median worst waited median worst waited
for name in show runs plan check; do
  read -r median worst waited < <(figures "$name.quiet")
  read -r run_median run_worst run_waited < <(figures "$name.writing")
  printf "$row" "$name" "$median" "$worst" "$waited" "$run_median" "$run_worst" "$run_waited"
done
for name in show runs plan check; do
  [ ! -e "failed-$name" ] || { echo "$name failed:"; cat "$name.err"; exit 1; }
done
