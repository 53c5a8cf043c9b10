"""Runs a command against the model server and tells what it took: time, processor, memory.

measure.py PORT LATENCY IN_FLIGHT ROLLOUTS TOOLS NAME COMMAND…
"""
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request

port, latency, in_flight, rollouts, tools, name = sys.argv[1:7]
in_flight, rollouts, tools = int(in_flight), int(rollouts), int(tools)
TICK = os.sysconf("SC_CLK_TCK")


def count():
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/count") as answer:
        return json.load(answer)


def stat(pid):
    """The parent of a process, and the processor seconds that it alone has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / TICK


def tree(root):
    """The processes below and with `root`."""
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(pid)] = stat(pid)[0]
        except OSError:
            continue
    mine = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in mine} - mine
        if not more:
            return mine
        mine |= more


def memory(pids):
    """Their memory in MiB, shared pages divided among those who share them."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 1024


def descriptors(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0, 0


def available():
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable")) / 1024


count()
before = available()
began = time.monotonic()
process = subprocess.Popen(sys.argv[7:])
peak = {"memory": 0.0, "own": 0.0, "processes": 0, "fds": 0, "threads": 0, "system": 0.0}
over = threading.Event()


def watch():
    while not over.wait(1.0):
        alive = tree(process.pid)
        fds, threads = descriptors(process.pid)
        for what, value in (("memory", memory(alive)), ("own", memory([process.pid])),
                            ("processes", len(alive)), ("fds", fds), ("threads", threads),
                            ("system", before - available())):
            peak[what] = max(peak[what], value)


watcher = threading.Thread(target=watch)
watcher.start()
os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
took = time.monotonic() - began
own = stat(process.pid)[1]
# With all that it and its helpers have waited for.
_, status, usage = os.wait4(process.pid, 0)
others = usage.ru_utime + usage.ru_stime - own
over.set()
watcher.join()
server = count()
# Answers come in rounds of the latency; so many rounds are needed for all steps. There may be fewer
# steps than tools to call: an agent's own limit ends it.
steps = server["answers"]
bound = -(-steps // in_flight) * float(latency)
print(json.dumps({
    "name": name, "status": os.waitstatus_to_exitcode(status), "rollouts": rollouts,
    "answers": server["answers"], "waited_for_at_once": server["most"], "seconds": round(took, 2),
    "bound_seconds": bound, "share_of_bound": round(bound / took, 3),
    "steps_per_second": round(steps / took, 1),
    "own_cpu_ms_per_step": round(1000 * own / steps, 3),
    "others_cpu_ms_per_step": round(1000 * others / steps, 3),
    "peak_mib": round(peak["memory"]), "peak_own_mib": round(peak["own"]),
    "peak_system_mib": round(peak["system"]), "processes": peak["processes"],
    "descriptors": peak["fds"], "threads": peak["threads"],
}))
