#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Style is a test: sizes of files and functions, one-way folders, banned calls, headers, formatting.

    tests/style/style.py            checks the tree this file lies in; prints every breach with file:line
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE_LINES_MAX, FUNCTION_LINES_MAX, HEADER_LINES_MAX, LIB_PAIRS_MAX = 600, 70, 280, 20

# What a folder may include, besides itself. The longest matching folder counts.
ALLOWED = {
    "lib": [],
    "proto": ["lib"],
    "storage/files": ["lib"],
    "storage/records": ["lib", "proto", "storage/files"],
    "client": ["lib", "proto"],
    "coordinator": ["lib", "proto", "storage/files", "storage/records", "coordinator/api/api.h"],
    "coordinator/api": ["lib", "proto", "storage/records", "coordinator/background.h", "coordinator/backoff.h", "coordinator/coordinator.h", "coordinator/metrics_read.h", "coordinator/news.h"],
    "worker/ops": ["lib"],
    "worker/ops/ref": ["lib", "worker/ops"],
    "worker/ops/cpu": ["lib", "worker/ops"],
    "worker/ops_cuda": ["lib", "worker/ops", "tests/cuda/emulate.h"],
    "worker/data": ["lib", "proto", "storage/files", "worker/ops/layout.h"],
    "worker/model": ["lib", "proto", "storage/files", "worker/ops", "worker/data"],
    "worker/comm": ["lib", "worker/ops_cuda/cuda.h"],
    "worker/agent": ["lib", "proto", "storage/files"],
    "worker/trainer": ["lib", "proto", "storage/files", "worker/ops", "worker/data", "worker/model", "worker/comm"],
}
BANNED = {
    "strcpy": "snprintf", "strcat": "buf_append", "sprintf": "snprintf", "gets": "fgets",
    "strtok": "a scanner of your own", "alloca": "an arena", "system": "posix_spawn",
    "malloc": "mem_alloc or an arena", "calloc": "mem_alloc", "realloc": "mem_grow",
    "free": "mem_free", "assert": "CHECK", "rand": "rng_u64", "atoi": "parse_i64", "atof": "parse_f64",
}
# Where the banned thing is wrapped, or is a library's own allocator.
BANNED_EXCEPT = {"lib/arena.c": {"malloc", "calloc", "realloc", "free"}}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
breaches = []


def breach(path, line, text):
    breaches.append(f"{path}:{line}: {text}")


def sources():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"],
                            capture_output=True, text=True, check=True).stdout.split("\n")
    return sorted(p for p in listed if p.endswith((".c", ".h", ".cu", ".def")) and os.path.exists(os.path.join(ROOT, p)))


def strip(text):
    """Comments and literals become blanks of the same shape."""
    blank = lambda m: re.sub(r"[^\n]", " ", m.group())
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", blank, text, flags=re.S)


def check_functions(path, code):
    """A function begins where a line at column 0 is '{' and ends at '}' in column 0."""
    begin = None
    for number, line in enumerate(code.split("\n"), 1):
        if line == "{":
            begin = number
        elif line.startswith("}") and begin:
            if number - begin > FUNCTION_LINES_MAX:
                breach(path, begin, f"a function of {number - begin} lines; at most {FUNCTION_LINES_MAX}")
            begin = None


def folder_of(path):
    return max((f for f in ALLOWED if path.startswith(f + "/")), key=len, default=None)


def check_includes(path, text):
    own = folder_of(path)
    if own is None:
        return
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#include "([^"]+)"', line)
        if not match:
            continue
        target = match.group(1)
        if folder_of(target) == own or any(target == a or folder_of(target) == a for a in ALLOWED[own]):
            continue
        breach(path, number, f"{own} may not include {target}: dependencies go one way")


def check_banned(path, code):
    if path.startswith("tests/"):
        return
    for number, line in enumerate(code.split("\n"), 1):
        for name in re.findall(r"(?<![\w.>])(\w+)\s*\(", line):
            if name in BANNED and name not in BANNED_EXCEPT.get(path, ()):
                breach(path, number, f"{name}() is banned: use {BANNED[name]}")


def check_file(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        text = f.read()
    lines = text.split("\n")
    if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(lines[:3]):
        breach(path, 1, "no SPDX line at the top")
    if len(lines) - 1 > FILE_LINES_MAX:
        breach(path, len(lines), f"{len(lines) - 1} lines; at most {FILE_LINES_MAX}")
    if path.endswith(".h") and len(lines) - 1 > HEADER_LINES_MAX:
        breach(path, len(lines), f"a header of {len(lines) - 1} lines; at most {HEADER_LINES_MAX}")
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(line):
            breach(path, number, "a marker of unfinished work: finish it or file an issue")
        if line.rstrip() != line:
            breach(path, number, "white space at the end of the line")
    code = strip(text)
    if not path.endswith(".def"):
        check_functions(path, code)
        check_banned(path, code)
    check_includes(path, text)
    own_header = path[:-2] + ".h"
    if path.endswith(".c") and os.path.exists(os.path.join(ROOT, own_header)):
        first = re.search(r'#include "([^"]+)"', text)
        if first and first.group(1) != own_header:
            breach(path, 1, f"the first include must be {own_header}")


def main():
    files = sources()
    for path in files:
        check_file(path)
    pairs = len([p for p in files if re.fullmatch(r"lib/\w+\.h", p)])
    if pairs > LIB_PAIRS_MAX:
        breach("lib", 0, f"{pairs} headers; at most {LIB_PAIRS_MAX}: lib has no domain word")
    for text in breaches:
        print(text)
    print(f"{len(files) - len({b.split(':')[0] for b in breaches})} passed, "
          f"{len({b.split(':')[0] for b in breaches})} failed")
    sys.exit(1 if breaches else 0)


if __name__ == "__main__":
    main()
