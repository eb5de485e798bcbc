#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real tailord, a real tailor-worker that joins it and the real trainer: base and data are uploaded, a general
model is trained, a customized one over its alias, one job is cancelled while it runs; all over HTTP.

    tests/e2e/service_http_test.py BUILD_DIR
"""
import json
import os
import shutil
import signal
import subprocess
import sys

import api
from api import expect, must, read_events, upload, upload_directory

TINY = {"template": "dsp", "max_length": 160}


def add_dataset(name, path, token):
    with open(path, "rb") as f:
        digest = upload("acme", f.read(), token)
    added = must("POST", f"/v1/tenants/acme/datasets/{name}", token, {"digest": digest, "file": os.path.basename(path)})
    follow(added["job_id"], token)
    state = must("GET", f"/v1/tenants/acme/datasets/{name}", token)["state"]
    expect(True, state in ("accepted", "warned"), f"{name} is {state}")


def follow(job, token):
    """Reads the job's events to their end and returns the job."""
    connection, response = api.open_stream(f"/v1/jobs/{job}/events?follow=true", token)
    list(read_events(response))
    connection.close()
    job = must("GET", f"/v1/jobs/{job}", token)
    if job["state"] != "succeeded":
        lines = must("GET", f"/v1/jobs/{job['id']}/logs?limit=1000", token)["lines"]
        print("\n".join("    " + line["text"] for line in lines[-20:]), job.get("failure_message"))
    return job


def spec(stage, start, train, test, model, steps):
    return {"stage": stage, "from": start, "data": {"train": train, "eval": test},
            "train": {"batch_groups": 4, "max_steps": steps, "learning_rate": 1e-3},
            "evaluate": {"every_steps": 4, "max_pairs": 40}, "checkpoint": {"every_steps": 4},
            "output": {"model": model, "alias": "prod"}}


def check_general(token):
    body = spec("general", "tiny", "hh", "hh-test", "general", 8)
    body["model"] = TINY
    job = follow(must("POST", "/v1/jobs", token, {"spec": body})["job"]["id"], token)
    expect("succeeded", job["state"], "the general job")
    points = must("GET", f"/v1/jobs/{job['id']}/metrics?limit=1000", token)["points"]
    expect(True, any("loss" in p["values"] for p in points), "a loss among its metrics")
    expect(True, len(must("GET", f"/v1/jobs/{job['id']}/logs", token)["lines"]) > 0, "its log has lines")
    expect(1, len(must("GET", f"/v1/jobs/{job['id']}/attempts", token)["attempts"]), "its attempts")
    expect(True, len(must("GET", f"/v1/jobs/{job['id']}/checkpoints", token)["checkpoints"]) > 0, "checkpoints")
    expect(1, must("GET", "/v1/tenants/acme/models/general/versions/prod", token)["version"], "its alias")


def check_customize(token):
    body = spec("customize", "general@prod", "lawyers", "lawyers-test", "lawyers", 6)
    body["adapter"] = {"type": "lora"}
    job = follow(must("POST", "/v1/jobs", token, {"spec": body})["job"]["id"], token)
    expect("succeeded", job["state"], "the customize job")
    expect("acme/general@1", job["from"], "where it started")
    sources = job["spec"]["data"]["enrich"]["sources"]
    expect(True, bool(sources) and sources[0]["dataset"].startswith("sha256:"), "the parent's data, inherited")
    general = [e for e in job["spec"]["data"]["eval"] if e["general"]]
    expect(["hh-test"], [e["name"] for e in general], "the parent's evaluation, inherited")
    expect(True, job["gate_figures"]["general_preservation"] is not None, "a figure of general preservation")
    version = must("GET", "/v1/tenants/acme/models/lawyers/versions/1", token)
    expect("customize", version.get("stage"), "the version's stage")
    expect(True, "gate_decision" in job, "the gate's decision")


def check_cancel(token):
    body = spec("general", "tiny", "hh", "hh-test", "never", 100000)
    body["model"] = TINY
    job = must("POST", "/v1/jobs", token, {"spec": body})["job"]["id"]
    connection, response = api.open_stream(f"/v1/jobs/{job}/metrics?follow=true", token)
    expect("metric", next(read_events(response))[0], "a point of a running job")
    connection.close()
    must("POST", f"/v1/jobs/{job}:cancel", token)
    connection, response = api.open_stream(f"/v1/jobs/{job}/events?follow=true", token)
    list(read_events(response))
    connection.close()
    expect("cancelled", must("GET", f"/v1/jobs/{job}", token)["state"], "the cancelled job")


def check_stream(token):
    """A dashboard's tab that follows a job: its points and lines, each once, in order, and the workers."""
    body = spec("general", "tiny", "hh", "hh-test", "watched", 8)
    body["model"] = TINY
    job = must("POST", "/v1/jobs", token, {"spec": body})["job"]["id"]
    connection, response = api.open_stream(f"/v1/stream?job={job}&logs=true", api.server.admin)
    points, lines, workers, whole = [], [], [], None
    for kind, _, data in read_events(response):
        if kind == "metric":
            points.append(data["point"])
        elif kind == "log":
            lines.append(data["line"])
        elif kind == "workers":
            workers.append(data)
        elif kind == "jobs" and any(it["id"] == job and it["state"] == "succeeded" for it in data["jobs"]):
            whole = [must("GET", f"/v1/jobs/{job}/{what}?limit=1000", token)[key]
                     for what, key in (("metrics", "points"), ("logs", "lines"))]
        if whole and len(points) >= len(whole[0]) and len(lines) >= len(whole[1]):
            break
    connection.close()
    expect(whole, [points, lines], "points and lines of the stream, beside what is kept")
    expect(True, len(whole[0]) >= 8 and len(whole[1]) > 0, f"{len(whole[0])} points and {len(whole[1])} lines")
    expect(True, bool(workers) and "host" in json.dumps(workers[0]), f"the workers: {workers[:1]}")


def main():
    build = sys.argv[1]
    api.server = server = api.Server(build)
    join = must("POST", "/v1/workers:join-token", server.admin)["token"]
    work = os.path.join(server.data, "worker")
    with open(os.path.join(server.data, "worker.log"), "w") as log:
        worker = subprocess.Popen([os.path.join(build, "tailor-worker"), "--data", work, "--join", join, "--slots",
                                   "1"], stdout=log, stderr=log)
    try:
        data = os.path.join(server.data, "sample")
        subprocess.run([sys.executable, os.path.join(api.ROOT, "deploy", "sample_data.py"), "--out", data],
                       check=True, stdout=subprocess.DEVNULL)
        must("POST", "/v1/tenants", server.admin, {"name": "acme"})
        token = must("POST", "/v1/tokens", server.admin, {"name": "ci", "role": "submitter",
                                                          "tenant": "acme"})["secret"]
        base = os.path.join(api.ROOT, "tests/golden/data/models/tiny-llama/base")
        must("POST", "/v1/bases", server.admin,
             {"name": "tiny", "manifest": upload_directory("cluster", base, server.admin)})
        for name, file in (("hh", "general.train"), ("hh-test", "general.test"), ("lawyers", "lawyers.train"),
                           ("lawyers-test", "lawyers.test")):
            add_dataset(name, os.path.join(data, file + ".jsonl"), token)
        for check in (check_general, check_customize, check_cancel, check_stream):
            before = len(api.failures)
            check(token)
            print(("ok " if before == len(api.failures) else "FAIL ") + check.__name__, flush=True)
        worker.send_signal(signal.SIGTERM)
        expect(0, worker.wait(api.WAIT_S), "the worker's exit code")
        expect(0, server.stop(), "the coordinator's exit code")
    finally:
        for process in (worker, server.process):
            process.kill()
        if api.failures:
            print(open(os.path.join(server.data, "worker.log")).read()[-3000:], open(server.log).read()[-3000:])
        shutil.rmtree(server.data, ignore_errors=True)
    for text in api.failures:
        print("    " + text)
    print(f"{max(4 - len(api.failures), 0)} passed, {len(api.failures)} failed")
    sys.exit(1 if api.failures else 0)


main()
