# SPDX-License-Identifier: Apache-2.0
"""Every commit, sync, rename and send of the programs stands behind a failpoint of the table, and each row of the
table has its site."""
import os
import re

from cluster import ROOT

FOLDERS = ("lib", "proto", "storage", "coordinator", "worker")
CALL = re.compile(r'\b(fsync|fdatasync|rename|renameat2?|link|linkat|sendmsg|send|pwrite|zmq_send|evhttp_send_reply'
                  r'|evhttp_send_reply_chunk_with_cb|xWrite|xSync)\(|"COMMIT"')
BEFORE = 4  # lines: the failpoint stands in the same statement or right before it
# What answers no promise: the key handler inside of the process, the probe of its own port, a blob's second name
# below a run's directory, the second part of a message whose first had its failpoint.
EXCEPT = (r'zmq_send\(gatekeeper->socket', r'zmq_send\(dealer', r'link\(blob, path\)', r'zmq_send\(socket->router, bytes')


def sources():
    for folder in FOLDERS:
        for where, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in sorted(names):
                if name.endswith(".c"):
                    path = os.path.join(where, name)
                    with open(path) as f:
                        yield os.path.relpath(path, ROOT), f.read().split("\n")


def check():
    broken, used = [], set()
    for path, lines in sources():
        for i, line in enumerate(lines):
            used |= set(re.findall(r'failpoint_fails\("(\w+)"\)', line))
            used |= set(re.findall(r'"(\w+_(?:write|fsync|rename))"', line))
            if line.lstrip().startswith(("*", "/*")) or not CALL.search(re.sub(r'/\*.*?\*/', "", line)):
                continue
            near = "\n".join(lines[max(0, i - BEFORE):i + 1])
            if "failpoint_fails(" not in near and not any(re.search(e, line) for e in EXCEPT):
                broken.append(f"{path}:{i + 1}: no failpoint before: {line.strip()}")
    with open(os.path.join(ROOT, "lib", "failpoint.def")) as f:
        named = set(re.findall(r"^FAILPOINT\((\w+),", f.read(), re.M))
    broken += [f"failpoint.def has {name}, and no site passes it" for name in sorted(named - used)]
    return broken


def sites(build, count, seed):
    """Every commit, sync, rename and send has its failpoint."""
    return check(), "by the sources"
