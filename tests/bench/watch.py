# SPDX-License-Identifier: Apache-2.0
"""Runs a command and watches the memory of it and of every process that it starts.

    watch.py COMMAND…      prints {"seconds", "peak_rss", "peak_anonymous"} (bytes) on the last line of stderr

peak_rss adds the high-water marks that the kernel keeps; peak_anonymous (what no file backs) is sampled.
"""
import json
import os
import subprocess
import sys
import time

INTERVAL_S = 0.05


def family(pid):
    """The process and its descendants."""
    found = [pid]
    for one in found:
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{task}/children") as children:
                    found += map(int, children.read().split())
        except OSError:
            pass
    return found


def memory_of(pid):
    """(high-water mark, anonymous) in bytes; zeros once it is gone."""
    try:
        with open(f"/proc/{pid}/status") as status:
            kib = dict(line.split(":", 1) for line in status if line.startswith(("VmHWM", "RssAnon")))
        return tuple(int(kib[key].split()[0]) * 1024 for key in ("VmHWM", "RssAnon"))
    except (OSError, KeyError):
        return 0, 0


def processor_seconds(pid):
    """User and system time of a process, 0 once it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0


def run_watched(command, on_tick=lambda seconds: None, **popen):
    """Returns (exit code, seconds, peak_rss, peak_anonymous). on_tick gets the processor seconds of all at each sample."""
    begun = time.time()
    process = subprocess.Popen(command, **popen)
    marks, used, anonymous = {}, {}, 0
    while process.poll() is None:
        now = {pid: memory_of(pid) for pid in family(process.pid)}
        marks.update({pid: max(mark, marks.get(pid, 0)) for pid, (mark, _) in now.items()})
        anonymous = max(anonymous, sum(anon for _, anon in now.values()))
        used.update({pid: max(processor_seconds(pid), used.get(pid, 0)) for pid in now})
        on_tick(sum(used.values()))
        time.sleep(INTERVAL_S)
    on_tick(sum(used.values()))
    return process.returncode, time.time() - begun, sum(marks.values()), anonymous


if __name__ == "__main__":
    code, seconds, rss, anon = run_watched(sys.argv[1:])
    print(json.dumps({"seconds": seconds, "peak_rss": rss, "peak_anonymous": anon}), file=sys.stderr)
    sys.exit(code)
