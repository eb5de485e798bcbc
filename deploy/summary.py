#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One table over several runs: custom and general accuracy before and after, with their intervals.

    deploy/summary.py RUN [RUN …]
"""
import json
import os
import sys


def cell(figures):
    low, high = figures["accuracy_interval"]
    return f"{100 * figures['accuracy']:.1f} % ({100 * low:.1f} … {100 * high:.1f})"


def rows(run):
    with open(os.path.join(run, "result.json"), encoding="utf-8") as f:
        result = json.load(f)
    for one in result["sets"]:
        if "before" not in one:
            yield [os.path.basename(run), one["name"], "loss", "", f"{one['nll_before']:.3f}", f"{one['nll_after']:.3f}", ""]
            continue
        difference = one["difference"]
        yield [os.path.basename(run), one["name"], "general" if one["general"] else "custom", str(one["before"]["pairs"]),
               cell(one["before"]), cell(one["after"]), f"{100 * difference['accuracy']:+.1f}"]


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    table = [["run", "set", "taste", "pairs", "before", "after", "points"]]
    for run in sys.argv[1:]:
        table += rows(run.rstrip("/"))
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip())


if __name__ == "__main__":
    main()
