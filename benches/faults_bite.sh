#!/usr/bin/env bash
# Shows that the search for lost rows finds some when there are some.
#
#   benches/faults_bite.sh [PATCH…]
#
# Builds claw with one of its precautions taken out (each of benches/faults_bite/*.patch) in a work
# tree of its own, and looks for losses as always: `order` (a receipt before what it names) with every
# fifth fault of benches/faults.sh and the power cuts of tests/power.rs, `sync` (nothing is synced)
# with the power cuts, which alone can tell. Prints what each found; exit code 1 when one found nothing.
# Builds in the dev profile in target/faults_bite, so that nobody runs such a claw by mistake.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
tree=$work/claw
trap 'git worktree remove --force "$tree" 2>/dev/null || true; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$tree" HEAD
export CARGO_TARGET_DIR=$root/target/faults_bite CLAW_CUTS=${CLAW_CUTS:-40}
cd "$tree"

nothing=0
# bites NAME COMMAND…: the command must fail by finding losses.
bites() {
  local name=$1
  shift
  # Whatever else may fail finds no loss.
  if ! "$@" > "$work/found.txt" 2>&1 && grep -qE '[1-9][0-9]* (lost|wrong)|"cut after' "$work/found.txt"; then
    echo "$name: $(grep -E 'faults injected|"cut after' "$work/found.txt" | tail -n 1 | cut -c 1-160)"
  else
    echo "$name: nothing was found by: $*"
    tail -n 5 "$work/found.txt"
    nothing=1
  fi
}

[ $# -gt 0 ] || set -- order sync
for patch in "$@"; do
  git apply "$root/benches/faults_bite/$patch.patch"
  cargo build --quiet
  if [ $patch = order ]; then
    cp "$CARGO_TARGET_DIR/debug/claw" "$work/claw-order"
    bites "$patch, faults" benches/faults.sh "$work/claw-order" "${EVERY:-5}" 10
  fi
  cargo test --quiet --test claw-tests --no-run
  bites "$patch, power cuts" cargo test --quiet --test claw-tests \
    power::a_power_cut_anywhere_costs_nothing_that_was_said_to_be_done
  git checkout --quiet .
done
exit $nothing
