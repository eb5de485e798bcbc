# SPDX-License-Identifier: Apache-2.0
"""P5 with the real trainer: it is killed at each of its own durable steps, and its weights are those of a run that
nobody disturbed."""
import json
import os
import subprocess
import sys

from cluster import FINAL, ROOT, Cluster, until
from history import check_manifest, file_of
from kills import failpoints


def give_inputs(cluster):
    """The goldens' smallest model, and data that are made."""
    where = os.path.join(ROOT, "tests", "golden", "data", "models", "tiny-llama", "base")
    files = []
    for name in sorted(os.listdir(where)):
        with open(os.path.join(where, name), "rb") as f:
            data = f.read()
        files.append({"name": name, "digest": cluster.upload("cluster", data), "bytes": len(data)})
    manifest = cluster.upload("cluster", json.dumps({"kind": "files", "files": files}).encode())
    out = os.path.join(cluster.dir, "sample")
    subprocess.run([sys.executable, os.path.join(ROOT, "deploy", "sample_data.py"), "--out", out], check=True,
                   stdout=subprocess.DEVNULL)
    with open(os.path.join(out, "general.train.jsonl"), "rb") as f:
        digest = cluster.upload("acme", f.read())
    cluster.must("POST", "/v1/tenants/acme/datasets/pairs", {"digest": digest, "file": "pairs.jsonl"})
    cluster.must("POST", "/v1/bases", {"name": "llama", "manifest": manifest})


def submit(cluster, key):
    return cluster.submit(key, every=5, **{
        "from": "llama", "data": {"train": "pairs"}, "model": {"template": "dsp", "max_length": 160},
        "train": {"batch_groups": 4, "max_steps": 30, "learning_rate": 1e-3}})


def weights(cluster, job):
    """The bytes, and what is broken."""
    row = cluster.job(job)
    if row["state"] != "succeeded":
        return None, [f"P5: {job} is {row['state']}: {row.get('failure_message')}"]
    name = row["output_model"].split("/")[1]
    version = cluster.must("GET", f"/v1/tenants/acme/models/{name}/versions/{row['output_version']}")
    broken = check_manifest(cluster, version["manifest"], f"{job}'s model")
    for it in cluster.must("GET", f"/v1/jobs/{job}/checkpoints").get("checkpoints", []):
        broken += check_manifest(cluster, it["manifest"], f"{job}'s checkpoint of step {it['step']}")
    return file_of(cluster, version["manifest"], "model.safetensors"), broken


def die_at(cluster, key, fail):
    """A job whose trainer runs into the failpoint once; the job."""
    worker = cluster.workers[0]
    worker.program.kill()
    worker.start(fail=fail)
    job = submit(cluster, key)
    until(lambda: cluster.job(job).get("term", 0) > 1 or cluster.job(job)["state"] in FINAL, f"{job} dies", 120)
    worker.program.kill()
    worker.start()
    until(lambda: cluster.job(job)["state"] in FINAL, f"{job} ends behind {fail}", 120)
    return job


def p5_real(build, deaths, seed):
    """A real trainer that dies at one of its own durable steps loses no bit."""
    with Cluster(build, workers=1, trainer=os.path.join(build, "tailor-trainer"), seed=seed,
                 inputs=give_inputs) as cluster:
        whole = submit(cluster, "whole")
        until(lambda: cluster.job(whole)["state"] in FINAL, "an undisturbed run", 120)
        want, broken = weights(cluster, whole)
        points, died = [name for name, _ in failpoints("trainer") if name != "rank_send"], 0
        for i in range(deaths):
            point = points[i % len(points)]
            # The later steps of the trainer, when it writes its model, are passed once a run.
            count = cluster.random.randint(1, 5) if point.startswith("manifest") else 1
            job = die_at(cluster, f"dies-{i}", f"{point}:{count}:kill")
            got, more = weights(cluster, job)
            broken += more
            died += cluster.job(job)["term"] > 1
            if got != want:
                broken.append(f"P5: {job}, which died at {point}:{count}, has other weights than an undisturbed run")
        if died < deaths:
            broken.append(f"only {died} of {deaths} trainers died")
        return broken, f"{died} deaths at {min(deaths, len(points))} places"
