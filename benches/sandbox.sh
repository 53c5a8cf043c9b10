#!/bin/sh
# How long a sandbox takes to open, run `true` and close, and what that costs in processor time:
# of the program, the helper, the init and the command together (where this machine has a control
# group of version 1 that accounts for it and we may use it; NaN elsewhere). Numbers are noisy on a
# busy machine; the processor time less so.
set -eu
cd "$(dirname "$0")/.."
cargo test --release --no-run
group=/sys/fs/cgroup/cpuacct/claw-bench-$$
if mkdir "$group" 2>/dev/null; then
    trap 'echo $$ >/sys/fs/cgroup/cpuacct/cgroup.procs; sleep 1; rmdir "$group"' EXIT
    export CLAW_CPU_ACCOUNT="$group/cpuacct.usage"
    echo $$ >"$group/cgroup.procs"
fi
cargo test --release --test claw-tests sandbox::lifetime::speed -- --ignored --nocapture
