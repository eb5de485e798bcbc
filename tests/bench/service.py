#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The service's figures: durable submits from 16 clients, a page of a list of 10,000 jobs, and from a submit to the
first step on a warm worker. See service.sh.

    tests/bench/service.py BUILD_DIR BASE_DIR [--seconds 10] [--jobs 10000]
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import api  # noqa: E402
import wrk  # noqa: E402


def jobs_queued():
    return api.must("GET", "/v1/cluster", api.tokens["admin"])["jobs_queued"]


def submits(seconds, work):
    """Jobs are acknowledged when they are on the disk: as many are there afterwards, after a kill -9 too."""
    token = api.tokens["submitter"]
    body = json.dumps({"spec": api.spec()})
    before, acknowledged = jobs_queued(), 0
    for clients in (1, 16):
        got = wrk.wrk(api.server, "/v1/jobs", clients, seconds, wrk.submits(token, body, f"k{clients}"), work)
        acknowledged += got["count"] - got["errors"]
        print(f"durable submits, {clients:2} clients: {got['count'] / got['seconds']:8.0f}/s   p50 {got['p50_ms']:.2f} ms   "
              f"p99 {got['p99_ms']:.2f} ms   {got['errors']} errors", flush=True)
    api.server.process.kill()
    api.server.process.wait()
    api.server.start()
    there = jobs_queued() - before
    print(f"killed and started again: {there} jobs are there, {acknowledged} were acknowledged: "
          f"{'none lost' if there >= acknowledged else 'LOST'}", flush=True)
    return there


def pages(jobs, there, seconds, work):
    token = api.tokens["submitter"]
    while there < jobs:
        api.submit()
        there += 1
    for path in ("/v1/jobs?limit=100", "/v1/jobs?limit=100&state=queued&stage=general"):
        got = wrk.wrk(api.server, path, 1, seconds, wrk.headers(token), work)
        print(f"a page of {there} jobs, {path}: p50 {got['p50_ms']:.2f} ms   p99 {got['p99_ms']:.2f} ms", flush=True)


def first_step(build, base, work):
    """From the moment that a job is recorded to the beginning of its first step, with everything warm."""
    os.environ.update(HOME=os.path.join(work, "home"), PATH=f"{build}:{os.environ['PATH']}", XDG_CONFIG_HOME="", XDG_DATA_HOME="",
                      TAILOR_CACHE=os.path.join(work, "cache"))
    os.makedirs(os.environ["HOME"])
    tailor = lambda *words: subprocess.run(["tailor", *words], check=True, capture_output=True, text=True).stdout
    data = os.path.join(work, "data")
    subprocess.run([sys.executable, os.path.join(api.ROOT, "deploy", "sample_data.py"), "--out", data], check=True,
                   stdout=subprocess.DEVNULL)
    tailor("up", "--workers", "1", "--data", os.path.join(work, "service"), "--port", "7790", "-q")
    try:
        tailor("base", "add", "base", base)
        spec = {"stage": "general", "from": "base", "data": {"train": [data + "/general.train.jsonl"],
                                                             "eval": [data + "/general.test.jsonl"]},
                "output": {"model": "hh"}, "train": {"batch_groups": 4, "max_steps": 2}, "model": {"template": "dsp"}}
        run_job(tailor, work, spec)
        del spec["model"]
        spec.update({"stage": "customize", "from": "hh@1", "adapter": {"type": "lora"}, "output": {"model": "law"}})
        spec["data"]["train"] = [data + "/lawyers.train.jsonl"]
        for turn in ("first of its parent", "warm", "warm"):
            print(f"submit to the first step, {turn}: {run_job(tailor, work, spec):.2f} s", flush=True)
    finally:
        subprocess.run(["tailor", "down", "--data", os.path.join(work, "service")], stdout=subprocess.DEVNULL)


def run_job(tailor, work, spec):
    path = os.path.join(work, "job.json")
    with open(path, "w") as f:
        json.dump(spec, f)
    job = tailor("submit", path, "-q").strip()
    tailor("wait", job)
    shown = json.loads(tailor("show", job, "-o", "json"))
    shown = shown[0] if isinstance(shown, list) else shown
    first = next(point for point in map(json.loads, tailor("job", "metrics", job, "-o", "jsonl").splitlines())
                 if point["step"] == 1)
    taken = sum(value for name, value in first["values"].items() if name.startswith("step_seconds."))
    return (first["time_ms"] - shown["created_ms"]) / 1000 - taken


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("build")
    options.add_argument("base")
    options.add_argument("--seconds", type=int, default=10)
    options.add_argument("--jobs", type=int, default=10000)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as work:
        api.server = api.Server(given.build)
        try:
            api.set_up()
            pages(given.jobs, submits(given.seconds, work), given.seconds, work)
        finally:
            api.server.stop()
        for failure in api.failures:
            print("FAIL", failure)
        if given.base:
            first_step(os.path.abspath(given.build), given.base, work)
    return bool(api.failures)


sys.exit(main())
