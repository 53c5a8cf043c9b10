#!/usr/bin/env bash
# Every fault that a disk or a kill can cause, one at a time, and whether the store survives it.
#
#   benches/faults.sh [CLAW] [EVERY] [KILLS]
#
# For N = 1, 2, 3, … the Nth system call of a kind (in any one thread) kills the run or fails; this
# goes on until N is never reached. After each fault the same pipeline is run again without one: it
# must end with the same digests, and `claw store check` must find nothing. EVERY takes each
# EVERY-th N only; KILLS further runs are killed at a random moment. Needs strace. JOBS runs go on at
# once (2).
#
# Prints: faults injected, lost rows (the next run fails or something is missing), wrong rows (it
# ends with other digests). Exit code 1 unless both are 0.
set -u
claw=$(realpath "${1:-target/release/claw}")
every=${2:-1}
kills=${3:-50}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export claw work NO_COLOR=1

strace -qq -o /dev/null true 2>/dev/null || { echo "strace is missing or may not trace here"; exit 2; }

mkdir "$work/project"
cp -r "$here/faults/." "$work/project"
head -c 4300000 /dev/zero | tr '\0' 'x' > "$work/project/big.txt"

# The digests of all results, or nothing when the run failed.
results() { "$claw" run main.claw --json "$@" 2>>stderr.txt | sed -n '/"results": {/,/}/p'; }
export -f results

# fault SYSCALL FAULT N STATE: one run with the fault, then the questions. Says what came of it.
fault() {
  local folder
  folder=$(mktemp -d -p "$work") && cp -r "$work/project/." "$folder" && cd "$folder" || exit 1
  # There is no store yet; one with half of the work; the same after a power
  # cut, without its index; or without its large files too.
  [ "$4" = none ] || cp -r "$work/half/.claw" .
  if [ "$4" = torn ]; then rm -r .claw/index; truncate -s 9000 .claw/packs/00000001.pack; fi
  [ "$4" = bare ] && rm -r .claw/index .claw/objects
  { timeout 60 strace -f -qq -o trace.txt -e "trace=$1" -e "inject=$1:$2:when=$3" \
    "$claw" run main.claw --quiet; } > first.txt 2>&1
  # A fault that was injected shows; one that never came does not count.
  local hit=miss
  grep -qE 'INJECTED|killed by SIGKILL' trace.txt && hit=hit
  judge "$hit" "$1 $2 $3 $4"
  cd "$work" && rm -rf "$folder"
}
export -f fault

# judge HIT WHAT: what the next run makes of what is there.
judge() {
  if [ "$(results)" != "$(cat "$work/right.txt")" ]; then
    if [ -z "$(results)" ]; then echo "lost $1 $2"; else echo "wrong $1 $2"; fi
    cp -r . "$work/../claw-fault-$$-$RANDOM" 2>/dev/null
  elif ! "$claw" store check > check.txt 2>&1; then
    echo "lost $1 $2 (store check)"; cp -r . "$work/../claw-fault-$$-$RANDOM" 2>/dev/null
  else
    echo "good $1 $2"
  fi
}
export -f judge

# A run that is killed from outside after a while.
killed() {
  local folder
  folder=$(mktemp -d -p "$work") && cp -r "$work/project/." "$folder" && cd "$folder" || exit 1
  "$claw" run main.claw --quiet > first.txt 2>&1 &
  local run=$!
  sleep "0.$(printf %03d $((RANDOM % 350)))"
  kill -9 $run 2>/dev/null; wait $run 2>/dev/null
  judge hit "random kill"
  cd "$work" && rm -rf "$folder"
}
export -f killed

cd "$work/project" || exit 1
results > "$work/right.txt"
[ -s "$work/right.txt" ] || { cat stderr.txt; exit 2; }
rm -rf .claw out
cp -r "$work/project" "$work/half"
(cd "$work/half" && results -p people=2 > /dev/null)
cd "$work" || exit 1

# What the run does, per thread: how far N has to go.
(cp -r project count && cd count && strace -f -qq -o trace.txt "$claw" run main.claw --quiet > /dev/null 2>&1)
reach() { grep -E "^[0-9]+ +$1\(" count/trace.txt | cut -d' ' -f1 | sort | uniq -c | sort -rn | awk 'NR==1{print $1}'; }

for plan in \
  "openat signal=KILL error=EMFILE error=EIO error=ENOSPC error=EDQUOT" \
  "write signal=KILL error=ENOSPC error=EIO error=EDQUOT" \
  "pwrite64 signal=KILL error=ENOSPC error=EIO error=EDQUOT" \
  "fdatasync signal=KILL error=EIO error=ENOSPC" \
  "fsync signal=KILL error=EIO error=ENOSPC" \
  "sync_file_range signal=KILL error=EIO error=ENOSPC" \
  "rename signal=KILL error=EIO error=ENOSPC error=EDQUOT" \
  "renameat2 signal=KILL error=EIO error=ENOSPC error=EDQUOT" \
  "linkat signal=KILL error=EIO error=ENOSPC error=EDQUOT" \
  "mkdir signal=KILL error=EIO error=ENOSPC error=EDQUOT" \
  "ftruncate signal=KILL error=EIO error=ENOSPC" \
  "unlink signal=KILL error=EIO" \
  "flock signal=KILL error=EIO"; do
  set -- $plan
  call=$1; shift
  most=$(reach "$call")
  for kind in "$@"; do
    for ((n = 1; n <= ${most:-0}; n += every)); do
      for state in none half torn bare; do echo "$call $kind $n $state"; done
    done
  done
done > faults.txt
seq "$kills" | xargs -P "${JOBS:-2}" -I{} bash -c 'killed' > outcomes.txt 2> shell.txt
xargs -P "${JOBS:-2}" -L 1 bash -c 'fault "$0" "$1" "$2" "$3"' < faults.txt >> outcomes.txt 2>> shell.txt

grep -vE '^good' outcomes.txt
count() { grep -cE "$1" outcomes.txt; }
echo "$(count '^[a-z]+ hit ') faults injected ($(count 'random kill') random kills among them), $(count '^lost') lost, $(count '^wrong') wrong"
! grep -qE '^(lost|wrong)' outcomes.txt
