#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What tests/e2e/metrics_test.sh compares: check.py WHAT ARGUMENT…; exits with a sentence where something is not as it should be.
PROMETHEUS names a running one."""
import collections
import glob
import json
import os
import re
import struct
import sys
import urllib.parse
import urllib.request


def samples(path):
    """{"name{labels}": value} of a text in Prometheus' format."""
    lines = (line.rstrip("\n") for line in open(path, encoding="utf-8"))
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line and line[0] != "#"}


def expect(wanted, got, what):
    if wanted != got:
        sys.exit(f"{what}: expected {wanted}, got {got}")


def query(expression):
    url = f"{os.environ['PROMETHEUS']}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)["data"]["result"]


def points_of(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def total(points, name):
    return sum(point["values"].get(name, 0) for point in points)


def runbooks(rules, operations):
    sections = set(re.findall(r"^### (\w+)$", open(operations, encoding="utf-8").read(), re.MULTILINE))
    text = open(rules, encoding="utf-8").read()
    alerts = re.findall(r"- alert: (\w+)", text)
    expect(alerts, [next((s for s in sections if s.lower() == anchor), anchor)
                    for anchor in re.findall(r"runbook: docs/operations.md#(\w+)", text)], "runbooks of the alerts, in order")
    expect(set(alerts), {s for s in sections if s.startswith("Tailor")}, "sections about alerts")


def families(table, metrics):
    text = open(table, encoding="utf-8").read()
    wanted = re.findall(r"^COUNTED\(\w+, (\w+)", text, re.MULTILINE) + re.findall(r"^LOOKED_UP\((\w+)", text, re.MULTILINE)
    got = re.findall(r"^# TYPE tailor_(\w+)", open(metrics, encoding="utf-8").read(), re.MULTILINE)
    expect(sorted(wanted), sorted(got), "families")
    silent = [name for name in wanted if not any(re.match(rf"tailor_{name}(_bucket|_sum|_count)?(\{{|$)", s) for s in samples(metrics))]
    expect(["certificate_expiry_timestamp_seconds", "gpu_busy_ratio", "gpu_celsius", "gpu_memory_used_bytes", "gpu_quarantined",
            "gpu_watts", "packed_fill_ratio", "shared_token_ratio", "tenant_pending_jobs", "tenant_slots_held"], sorted(silent),
           "families without a sample where there is no TLS, no GPU, no tenant was named and no job runs")


def labels(metrics):
    text = open(metrics, encoding="utf-8").read()
    expect([], re.findall(r"\w+{[^}]*\bj-\d+[^}]*}", text), "samples that name a job")
    expect([], re.findall(r"\w+{[^}]*tenant=[^}]*}", text), "samples that name a tenant")


def figures(metrics, points_path):
    got, points = samples(metrics), points_of(points_path)
    lines = [p for p in points if "since_line.steps" in p["values"]]
    expect(48.0, got["tailor_steps_total"], "steps of both jobs")
    expect(total(lines, "since_line.tokens"), got["tailor_tokens_trained_total"], "tokens")
    expect(float(len(lines)), got['tailor_step_seconds_count{phase="forward"}'], "steps whose phases were reported")
    expect(True, abs(total(lines, "step_seconds.forward") - got['tailor_step_seconds_sum{phase="forward"}']) < 1e-6, "seconds")
    expect(8.0, got["tailor_allreduce_seconds_count"], "lines of the job with two ranks")
    expect(total(lines, "reduce_bytes"), got["tailor_allreduce_bytes_total"], "bytes summed between ranks")
    expect(True, got["tailor_allreduce_bytes_total"] > 0, "there are some")
    expect(True, got["tailor_checkpoint_write_seconds_count"] >= 2, "checkpoints of both jobs")
    expect(got["tailor_checkpoint_write_seconds_count"], got['tailor_step_seconds_count{phase="checkpoint"}'], "checkpoints")
    expect(True, got["tailor_checkpoint_bytes_total"] > 0, "their bytes")
    expect(0.0, got["tailor_nonfinite_steps_total"], "steps skipped")
    expect(4.0, got['tailor_job_attempts_total{reason="submitted"}'], "attempts: two admissions, two trainings")
    expect(4.0, got['tailor_jobs_finished_total{result="succeeded",failure_class=""}'], "jobs that succeeded")
    expect(4.0, got["tailor_job_run_seconds_count"], "jobs that ran")
    expect(4.0, got['tailor_job_queue_wait_seconds_bucket{le="+Inf"}'], "jobs that started")
    expect(1.0, sum(v for k, v in got.items() if k.startswith("tailor_queue_pending_jobs{")), "the job that cannot start")
    expect(True, got['tailor_queue_oldest_pending_seconds{queue="default"}'] > 0, "it waits")
    expect(1.0, got['tailor_gate_decisions_total{result="passed"}'] + got['tailor_gate_decisions_total{result="held"}'], "gates")
    expect(0.0, got["tailor_checkpoint_failures_total"], "checkpoints that failed")
    expect(0.0, sum(v for k, v in got.items() if k.startswith("tailor_jobs_stalled")), "stalled jobs")
    expect(True, got["tailor_backup_last_success_timestamp_seconds"] > 1.7e9, "the backup's time")
    expect(2.0, got['tailor_workers{state="live"}'], "workers")
    expect(True, got["tailor_worker_heartbeat_lateness_seconds_count"] > 0, "heartbeats")


def scraped():
    expect("1", query("up")[0]["value"][1], "the first scrape")


def tokens(points_path):
    points = [p for p in points_of(points_path) if "since_line.steps" in p["values"]]
    result = query("tailor_tokens_trained_total")
    expect(1, len(result), "series of tokens")
    expect(total(points, "since_line.tokens"), float(result[0]["value"][1]), "tokens trained, as Prometheus has them")
    expect(True, result[0]["metric"]["job"] == "tailor", "its scrape")


def expressions(dashboard):
    for panel in json.load(open(dashboard, encoding="utf-8"))["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$instance", ".*")


def grafana(dashboard):
    empty = [f"{title}: {expression}" for title, expression in expressions(dashboard)
             # a running job's ratios are gone when it ends: they were there
             if not query(re.sub(r"^avg\((tailor_(?:packed_fill|shared_token)_ratio{[^}]*})\)$", r"avg(max_over_time(\1[5m]))", expression))]
    expect([], empty, "queries without data")


def alerts():
    with urllib.request.urlopen(f"{os.environ['PROMETHEUS']}/api/v1/rules", timeout=10) as response:
        rules = [rule for group in json.load(response)["data"]["groups"] for rule in group["rules"]]
    expect([], [r["name"] for r in rules if r["health"] == "err"], "rules that cannot be evaluated")
    expect(17, len(rules), "rules")
    expect([], [r["name"] for r in rules if r["state"] == "firing"], "alerts that fire")


# ---- TensorBoard: an independent reader ----

def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    data = open(path, "rb").read()
    while data:
        length, = struct.unpack_from("<Q", data)
        expect(masked(data[:8]), struct.unpack_from("<I", data, 8)[0], "checksum of a length")
        message = data[12:12 + length]
        expect(masked(message), struct.unpack_from("<I", data, 12 + length)[0], "checksum of a record")
        yield message
        data = data[16 + length:]


def fields(message):
    at = 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(key & 7)
        size = varint() if size is None else size
        yield key >> 3, message[at:at + size]
        at += size


def tag_of(name):
    return ("eval/" + name[5:] if name.startswith("eval_") else "train/" + name).replace(".", "/")


def events(directory, job, points_path):
    paths = glob.glob(f"{directory}/{job}/events.out.tfevents.*")
    expect(1, len(paths), "files of the job")
    messages = [dict(fields(message)) for message in records(paths[0])]
    expect(b"brain.Event:2", messages[0].get(3), "the version of the file")
    curves = collections.defaultdict(list)
    for message in messages[1:]:
        for _, value in fields(message[5]):
            parts = dict(fields(value))
            curves[parts[1].decode()].append((message.get(2, 0), struct.unpack("<f", parts[2])[0]))
    points = points_of(points_path)
    ends = [i for i, p in enumerate(points) if i > 0 and p["step"] < points[i - 1]["step"]]
    first = points[:ends[0]]  # the other job's points follow
    wanted = collections.defaultdict(list)
    for point in first:
        for name, value in point["values"].items():
            wanted[tag_of(name)].append((point["step"], struct.unpack("<f", struct.pack("<f", value))[0]))
    expect(dict(wanted), dict(curves), "curves")
    expect(True, {"train/loss", "train/step_seconds/forward", "eval/accuracy"} <= set(curves), f"names: {sorted(curves)}")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
