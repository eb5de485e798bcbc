# SPDX-License-Identifier: Apache-2.0
"""What clients saw, and which promise it breaks.

Clients write down what they asked and what they were told; nobody looks into a program. A broken promise is a
sentence that begins with its number. A request without an answer may have taken effect or not: nothing follows
from it, but that it must not have taken effect twice.
"""
import hashlib
import json
import os
import threading

from fake_trainer import chain

FINAL = ("succeeded", "failed", "cancelled")


class History:
    def __init__(self):
        self.lock = threading.Lock()
        self.asked = {}        # key -> the bodies that were sent under it, in order
        self.acknowledged = {} # key -> [(id, digest of the body, created), …]
        self.conflicts = []    # (key, digest of the body): answered with 409
        self.cancelled = set() # ids whose cancel was answered with 200
        self.final = {}        # id -> the first final state that somebody saw
        self.terms = {}        # id -> the greatest term seen
        self.states = {}       # id -> the last state seen
        self.uploaded = {}     # digest -> the bytes, of a blob that was said to be complete
        self.broken = []

    # ---- what clients note
    def submit_begins(self, key, body):
        digest = hashlib.sha256(json.dumps(body["spec"], sort_keys=True).encode()).hexdigest()
        with self.lock:
            self.asked.setdefault(key, []).append(digest)
        return key, digest

    def submit_answered(self, asked, code, reply):
        key, digest = asked
        with self.lock:
            if code == 409:
                self.conflicts.append(asked)
            if code not in (200, 201):
                return None
            self.acknowledged.setdefault(key, []).append((reply["job"]["id"], digest, code == 201))
            return reply["job"]["id"]

    def cancel_answered(self, job, code):
        if code == 200:
            with self.lock:
                self.cancelled.add(job)

    def seen(self, jobs):
        with self.lock:
            for job in jobs:
                state, term, id = job["state"], job.get("term", 0), job["id"]
                if id in self.final and state != self.final[id]:
                    self.broken.append(f"P1: {id} was seen {self.final[id]}, then {state}")
                if state in FINAL:
                    self.final.setdefault(id, state)
                if term < self.terms.get(id, 0):
                    self.broken.append(f"P6: the term of {id} went from {self.terms[id]} to {term}")
                self.terms[id] = max(term, self.terms.get(id, 0))
                self.states[id] = state

    # ---- the verdict
    def check(self, jobs):
        """`jobs`: all there are at the end."""
        by_id = {job["id"]: job for job in jobs}
        broken = list(dict.fromkeys(self.broken))
        for key, answers in self.acknowledged.items():
            broken += self.check_key(key, answers, by_id)
        names = {}
        for job in jobs:
            names.setdefault(job["name"], []).append(job["id"])
        broken += [f"P3: key {name} has the jobs {ids}" for name, ids in names.items() if len(ids) > 1]
        for id in self.cancelled:
            state = by_id.get(id, {}).get("state", "lost")
            if state not in FINAL:
                broken.append(f"P1: the cancel of {id} was acknowledged, and it is {state}")
        for id, state in self.final.items():
            if id not in by_id:
                broken.append(f"P1: {id} was seen {state} and is lost")
        for key, digest in self.conflicts:
            if all(other == digest for other in self.asked[key]):
                broken.append(f"P3: key {key} was refused although its body was always the same")
        return broken

    def check_key(self, key, answers, by_id):
        broken = []
        ids = {id for id, _, _ in answers}
        if len(ids) > 1:
            broken.append(f"P3: key {key} was answered with {sorted(ids)}")
        if len({digest for _, digest, _ in answers}) > 1:
            broken.append(f"P3: key {key} was acknowledged for two bodies")
        if sum(created for _, _, created in answers) > 1:
            broken.append(f"P3: key {key} was created more than once")
        for id in ids:
            if id not in by_id:
                broken.append(f"P1: {id} (key {key}) was acknowledged and is lost")
            elif by_id[id]["name"] != key:
                broken.append(f"P1: {id} was acknowledged for {key} and is {by_id[id]['name']}")
        return broken


# ---- what trainers did -------------------------------------------------------------------------------------

class Run:
    """One process of a trainer, from its ledger."""

    def __init__(self, path):
        name = os.path.basename(path)
        job, term, rank = name.split(".")[0].split("-")
        self.job, self.term, self.rank = f"j-{job}", int(term), int(rank)
        self.lines = []
        with open(path) as f:
            for line in f:
                words = line.rstrip("\n").split(" ")
                if line.endswith("\n") and len(words) == 4:
                    self.lines.append((float(words[0]), words[1], int(words[2]), words[3]))

    def steps(self, what):
        return [step for _, kind, step, _ in self.lines if kind == what]


def runs(cluster, job=None):
    found = [Run(os.path.join(cluster.ledger, name)) for name in os.listdir(cluster.ledger)]
    return sorted((r for r in found if r.lines and job in (None, r.job)), key=lambda r: r.lines[0][0])


def check_manifest(cluster, digest, what):
    """P4: a manifest that is registered is whole, and so is all that it names."""
    text = cluster.blob(digest)
    if text is None or hashlib.sha256(text).hexdigest() != digest:
        return [f"P4: the manifest of {what} is {'missing' if text is None else 'damaged'}"]
    broken = []
    for file in json.loads(text)["files"]:
        data = cluster.blob(file["digest"])
        if data is None or len(data) != file["bytes"] or hashlib.sha256(data).hexdigest() != file["digest"]:
            broken.append(f"P4: {file['name']} of {what} is {'missing' if data is None else 'damaged'}")
    return broken


def file_of(cluster, manifest, name):
    for file in json.loads(cluster.blob(manifest) or '{"files": []}')["files"]:
        if file["name"] == name:
            return cluster.blob(file["digest"])
    return None


def check_job(cluster, job):
    """P4, P5, P6 of one job that is over: its checkpoints, its bits, and who could write."""
    id, broken = job["id"], []
    checkpoints = cluster.must("GET", f"/v1/jobs/{id}/checkpoints").get("checkpoints", [])
    for it in checkpoints:
        broken += check_manifest(cluster, it["manifest"], f"{id}'s checkpoint of step {it['step']}")
    in_time = [it["term"] for it in sorted(checkpoints, key=lambda it: it["created_ms"])]
    if in_time != sorted(in_time):
        broken.append(f"P6: {id}'s checkpoints were registered under the terms {in_time}")
    points = cluster.must("GET", f"/v1/jobs/{id}/metrics?limit=1000").get("points", [])
    terms = [point["term"] for point in points]
    if terms != sorted(terms):
        broken.append(f"P6: {id}'s metrics were taken from an older term after a newer one")
    if job["state"] == "succeeded":
        broken += check_model(cluster, job)
    return broken


def check_model(cluster, job):
    name = job["output_model"].split("/")[1]
    version = cluster.must("GET", f"/v1/tenants/acme/models/{name}/versions/{job['output_version']}")
    broken = check_manifest(cluster, version["manifest"], f"{job['id']}'s model")
    weights = file_of(cluster, version["manifest"], "model.safetensors")
    if weights != chain(job["steps_total"]).encode():
        broken.append(f"P5: {job['id']} succeeded with other bits than an undisturbed run's")
    versions = cluster.must("GET", f"/v1/tenants/acme/models/{name}/versions").get("versions", [])
    if len(versions) != 1:
        broken.append(f"P6: {job['id']} made {len(versions)} versions of its model")
    return broken


def check_resumes(cluster, job, sure_s):
    """P5: an attempt begins at the newest checkpoint that was written `sure_s` before the one before it died, or at
    a later one: it had the time to get to the store. Returns the sentences, and how many steps were trained again."""
    broken, again, before = [], [], None
    for run in (r for r in runs(cluster, job) if r.rank == 0 and r.steps("start")):
        begin = run.steps("start")[0]
        if before is not None:
            death = before.lines[-1][0]
            sure = [step for when, what, step, _ in before.lines if what == "checkpoint" and when < death - sure_s]
            if begin < max(sure + [before.steps("start")[0]]):
                broken.append(f"P5: {job}'s term {run.term} began at step {begin}, although step {max(sure)} was saved "
                              f"{sure_s} s before term {before.term} died")
            again.append(max(0, max(before.steps("step") + [0]) - begin))
        before = run
    return broken, again
