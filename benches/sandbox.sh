#!/usr/bin/env bash
# What a sandbox costs to make, run `true` in, and remove, beside bubblewrap, Docker, bare namespaces
# (`unshare`) and a plain exec of the same: wall time, processor time of everybody involved, memory of each while many are open.
#
#   benches/sandbox.sh [--no-docker]
#
# Builds the tests (release), installs bubblewrap where root may and it is missing, and starts a
# Docker engine of its own (.ci/docker), which is gone afterwards. Where root may, control groups
# (version 1) count processor time and memory of the engine too; elsewhere the time is that of the
# whole machine. On a busy machine trust processor time more than wall time, and ratios more than
# either: the load stands below the table.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test --release --test claw-tests --no-run
if ! command -v bwrap >/dev/null && [ "$(id -u)" = 0 ]; then
  apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends bubblewrap >/dev/null 2>&1 ||
    echo "bubblewrap cannot be installed" >&2
fi

work=$(mktemp -d)
name=claw-bench-$$
engine=$work/$name
# The group that this shell is in, in a hierarchy of version 1.
own() {
  echo "/sys/fs/cgroup/$1$(sed -n "s/^[0-9]*:$1:\(.*\)/\1/p" /proc/self/cgroup | sed 's,/$,,')"
}
cpu=$(own cpuacct)/$name memory=$(own memory)/$name
ended() {
  [ ! -e "$engine" ] || .ci/docker down "$engine"
  for group in "$cpu" "$memory"; do
    # What was killed last may still be going, and leave the group of a sandbox.
    for _ in $(seq 50); do
      [ -d "$group" ] || break
      find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null
      [ ! -d "$group" ] || sleep 0.1
    done
  done
  rm -rf "$work"
}
trap ended EXIT

(
  export CLAW_CPU_GROUPS= CLAW_MEMORY_GROUPS=
  # What starts in here is counted: the engine as well, whose containers have groups of their own.
  if mkdir "$cpu" 2>/dev/null && mkdir "$memory" 2>/dev/null; then
    echo "$BASHPID" >"$cpu/cgroup.procs"
    echo "$BASHPID" >"$memory/cgroup.procs"
    CLAW_CPU_GROUPS=$cpu:/sys/fs/cgroup/cpuacct/claw-engine-$name
    CLAW_MEMORY_GROUPS=$memory:/sys/fs/cgroup/memory/claw-engine-$name
  fi
  if [ "${1-}" != --no-docker ] && .ci/docker up "$engine" >/dev/null; then
    . "$engine/env"
  fi
  cargo test --release --test claw-tests sandbox::price -- --ignored --nocapture 2>/dev/null |
    sed '/^$/d;/^running/d;/^test /d'
)
echo "load: $(cut -d' ' -f1-3 /proc/loadavg) on $(nproc) processors"
