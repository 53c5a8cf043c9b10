#!/usr/bin/env bash
# Every fault that a disk or a kill can cause, one at a time, and whether the store survives it.
#
#   benches/faults.sh [CLAW] [EVERY] [KILLS]
#
# For N = 1, 2, 3, … the Nth system call of a kind (in any one thread) kills the run or fails. After
# each fault `claw store check` must find nothing; then the same pipeline is run again without one: it
# must end with the same digests, and `claw store check` must again find nothing. This is done to a run
# without a store, with half of one, with one that lost the end of its pack and its index, or its large
# files too; to a run of an edited program, a run of everything anew, a collection, and to making the
# index anew, on a whole store.
#
# Left out is what can make no difference: calls on files that are not the project's, a kill between
# two calls that change nothing, a disk that is full for who only reads. EVERY takes each EVERY-th of
# what is left; KILLS further runs are killed at a random moment. Needs strace. JOBS runs go on at
# once (2). Progress is written to $OUT/outcomes.txt, where OUT is a folder that stays (none).
#
# Prints: faults injected, lost rows (the next run fails or something is missing), wrong rows (it
# ends with other digests). Exit code 1 unless both are 0.
set -u
claw=$(realpath "${1:-target/release/claw}")
every=${2:-1}
kills=${3:-50}
here=$(cd "$(dirname "$0")" && pwd)
# In memory where there is such a folder: what the program asks of the disk is the same.
[ -w /dev/shm ] && export TMPDIR=/dev/shm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=${OUT:-$work}
mkdir -p "$out"
export claw work NO_COLOR=1

strace -qq -o /dev/null true 2>/dev/null || { echo "strace is missing or may not trace here"; exit 2; }

mkdir "$work/project"
cp -r "$here/faults/." "$work/project"
head -c 4300000 /dev/zero | tr '\0' 'x' > "$work/project/big.txt"

# The digests of all results, or nothing when the run failed.
results() { "$claw" run main.claw --json "$@" 2>>stderr.txt | sed -n '/"results": {/,/}/p'; }
export -f results

# prepare STATE: a project in a folder of its own, and in `command` what is done to it.
prepare() {
  folder=$(mktemp -d -p "$work") && cp -r "$work/project/." "$folder" && cd "$folder" || exit 1
  command="run main.claw --quiet"
  case $1 in
    none) ;;
    half | torn | bare) cp -r "$work/half/.claw" . ;;
    *) cp -r "$work/whole/.claw" "$work/whole/out" . ;;
  esac
  case $1 in
    torn) rm -r .claw/index; truncate -s 9000 .claw/packs/00000001.pack ;;
    bare) rm -r .claw/index .claw/objects ;;
    edit) command="run main.claw --quiet -p people=5" ;;
    anew) command="run main.claw --quiet --refresh crowd --refresh worlds --refresh kept" ;;
    collect) command="gc --keep-runs 1" ;;
    rebuild) command="store rebuild" ;;
  esac
}
export -f prepare

# fault SYSCALL FAULT N STATE: one run with the fault, then the questions. Says what came of it.
fault() {
  local folder
  prepare "$4"
  # A fault on what wakes a thread of the runtime may leave it waiting for ever.
  { timeout -k 2 60 strace -f -qq -o trace.txt -e "trace=$1" -e "inject=$1:$2:when=$3" \
    "$claw" $command; } > first.txt 2>&1
  # A fault that was injected shows; one that never came does not count.
  local hit=miss
  grep -qE 'INJECTED|killed by SIGKILL' trace.txt && hit=hit
  judge "$hit" "$1 $2 $3 $4"
  cd "$work" && rm -rf "$folder"
}
export -f fault

# judge HIT WHAT: whether what is there is whole, and what the next run makes of it.
judge() {
  # What was taken out of a store before a run is missing until that run has ended.
  if [[ $2 != *\ torn && $2 != *\ bare ]] && [ -e .claw ] && ! "$claw" store check > check.txt 2>&1; then
    echo "lost $1 $2 (store check, before the next run)"; cp -r . "$work/../claw-fault-$$-$RANDOM" 2>/dev/null
    return
  fi
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
  prepare none
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
cp -r "$work/project" "$work/whole"
(cd "$work/half" && results -p people=2 > /dev/null)
# The first run is what a collection throws away.
(cd "$work/whole" && results -p people=4 > /dev/null && results > /dev/null)
cd "$work" || exit 1

# What each kind of call can come to.
kinds="openat write pwrite64 fdatasync fsync sync_file_range rename renameat2 linkat mkdir ftruncate unlink flock"
faults_of() {
  case $1 in
    openat) echo "signal=KILL error=EMFILE error=EIO error=ENOSPC error=EDQUOT" ;;
    write | pwrite64) echo "signal=KILL error=ENOSPC error=EIO error=EDQUOT" ;;
    rename | renameat2 | linkat | mkdir) echo "signal=KILL error=EIO error=ENOSPC error=EDQUOT" ;;
    fdatasync | fsync | sync_file_range | ftruncate) echo "signal=KILL error=EIO error=ENOSPC" ;;
    *) echo "signal=KILL error=EIO" ;;
  esac
}

# numbers CALL FAULT TRACE FOLDER: each N for which, in some thread, the Nth call is one of the
# project's on which the fault makes a difference.
numbers() {
  grep -E "^[0-9]+ +$1\(" "$3" | awk -v folder="$4" -v fault="$2" -v call="$1" '
    { n[$1]++ }
    index($0, folder) == 0 && !/, "\.claw|\("\.claw|, "out|\("out/ { next }
    call == "openat" && fault !~ /EMFILE|EIO/ && !/O_CREAT|O_TRUNC|O_WRONLY|O_RDWR/ { next }
    { print n[$1] }' | sort -nu
}

for state in none half torn bare edit anew collect rebuild; do
  (
    prepare $state
    strace -f -qq -y -o "$work/trace-$state.txt" -e "trace=${kinds// /,}" \
      "$claw" $command > /dev/null 2>&1
    for call in $kinds; do
      for kind in $(faults_of "$call"); do
        for n in $(numbers "$call" "$kind" "$work/trace-$state.txt" "$folder"); do
          echo "$call $kind $n $state"
        done
      done
    done
    rm -rf "$folder"
  )
done | awk -v every="$every" 'NR % every == 0' > "$out/faults.txt"
echo "$(wc -l < "$out/faults.txt") faults and $kills kills to come" >&2

seq "$kills" | xargs -P "${JOBS:-2}" -I{} bash -c 'killed' > "$out/outcomes.txt" 2> shell.txt
xargs -P "${JOBS:-2}" -L 1 bash -c 'fault "$0" "$1" "$2" "$3"' < "$out/faults.txt" \
  >> "$out/outcomes.txt" 2>> shell.txt

grep -vE '^good' "$out/outcomes.txt"
count() { grep -cE "$1" "$out/outcomes.txt"; }
echo "$(count '^[a-z]+ hit ') faults injected ($(count 'random kill') random kills among them), $(count '^lost') lost, $(count '^wrong') wrong"
! grep -qE '^(lost|wrong)' "$out/outcomes.txt"
