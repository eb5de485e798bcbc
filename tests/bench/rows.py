# SPDX-License-Identifier: Apache-2.0
"""The real rows of a contest: one file of groups, from which every contender reads.

Kinds: groups (a query and its five responses, one preferred), pairs (dialogues, two answers to the last turn), long
(those pairs whose shared prompt is at least as long as the mean response). A row is prompt + response + EOS for every
contender; rows that somebody would cut or drop at 1024 tokens are left out by a cautious bound in bytes.
"""
import json
import os

BYTES_MAX = 2400  # about 600 tokens: below every contender's 1024
ANSWER = "\n\nAssistant:"


def groups_of_dsp(path, domain="business"):
    for row in json.load(open(path, encoding="utf-8")):
        if domain in row["responses"] and len(row["responses"]) == 5:
            names = sorted(row["responses"], key=lambda name: name != domain)
            yield {"prompt": f"\n\nHuman: {row['query']}{ANSWER} ", "responses": [row["responses"][n] for n in names],
                   "scores": [1.0, 0.0, 0.0, 0.0, 0.0]}


def groups_of_pairs(path, ratio_min):
    for row in json.load(open(path, encoding="utf-8")):
        shared = os.path.commonprefix(row["text"])
        at = shared.rfind(ANSWER)
        if at < 0 or row["score"][0] == row["score"][1]:
            continue
        at += len(ANSWER)
        better = sorted(range(2), key=lambda i: -row["score"][i])
        responses = [row["text"][i][at:] for i in better]
        if all(responses) and at >= ratio_min * sum(map(len, responses)) / 2:
            yield {"prompt": shared[:at], "responses": responses, "scores": [1.0, 0.0]}


def rows_write(kind, dsp, pairs, count, path):
    """Writes the first `count` groups that fit; returns how many pairs they make."""
    found = groups_of_dsp(dsp) if kind == "groups" else groups_of_pairs(pairs, 1.0 if kind == "long" else 0.0)
    written = 0
    with open(path, "w", encoding="utf-8") as out:
        for group in found:
            if written < count and max(len((group["prompt"] + r).encode()) for r in group["responses"]) <= BYTES_MAX:
                out.write(json.dumps(group) + "\n")
                written += 1
    if written < count:
        raise SystemExit(f"rows: only {written} of {count} groups of kind {kind}")
    return count * (4 if kind == "groups" else 1)
