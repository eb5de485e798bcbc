#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One table over several models: custom and general accuracy before and after, with their intervals.

    tailor model versions NAME -o jsonl | deploy/summary.py
"""
import json
import sys


def cell(figures):
    low, high = figures["accuracy_interval"]
    return f"{100 * figures['accuracy']:.1f} % ({100 * low:.1f} … {100 * high:.1f})"


def rows(version):
    for one in version["figures"]["sets"]:
        start = [f"{version['model']}@{version['version']}", one["name"]]
        if "before" not in one:
            yield start + ["loss", "", f"{one['nll_before']:.3f}", f"{one['nll_after']:.3f}", "", ""]
            continue
        points = f"{100 * one['difference']['accuracy']:+.1f}"
        gate = version.get("gate_decision", "")
        yield start + ["general" if one["general"] else "custom", str(one["before"]["pairs"]), cell(one["before"]),
                       cell(one["after"]), points, gate]


def main():
    table = [["model", "set", "taste", "pairs", "before", "after", "points", "gate"]]
    for line in sys.stdin:
        table += rows(json.loads(line))
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip())


if __name__ == "__main__":
    main()
