# SPDX-License-Identifier: Apache-2.0
"""P17: what a tenant deletes is gone: from the store, the workers' caches, the logs and the database, its log and
free pages included. What something refers to is not deleted, and the list of it is given."""
import os

from cluster import Cluster, until
from fake_trainer import chain

EVERY = 4


def steps_of(number):
    """No model's last state is one that another job's checkpoint has, too."""
    return 13 + EVERY * number


def files_with(cluster, canary):
    """Where in all that the service wrote the text is found."""
    found = []
    for where, _, names in os.walk(cluster.dir):
        if where.startswith(cluster.ledger):  # the harness's own
            continue
        for name in names:
            path = os.path.join(where, name)
            try:
                with open(path, "rb") as f:
                    if canary in f.read():
                        found.append(os.path.relpath(path, cluster.dir))
            except OSError:
                continue
    return found


def referred_to(cluster, path, what, referrer):
    code, reply = cluster.call("DELETE", path)
    if code != 409 or referrer not in str(reply):
        return [f"P17: {what} is in use by {referrer}, and DELETE says {code} {str(reply)[:200]}"]
    return []


def canary_of(number):
    return f"canary-{number}-7f3a".encode()


def give_inputs(cluster, things):
    for i in range(things):
        canary = canary_of(i)
        digest = cluster.upload("acme", b'{"prompt":"' + canary + b'","chosen":"b","rejected":"c"}\n')
        cluster.must("POST", f"/v1/tenants/acme/datasets/secret-{i}",
                     {"digest": digest, "file": canary.decode() + ".jsonl"})


def one(cluster, number):
    canary, broken = canary_of(number), []
    name, model = f"secret-{number}", f"made-{number}"
    data = f"/v1/tenants/acme/datasets/{name}"
    waiting = cluster.submit(f"waits-{number}", later=True, data={"train": name})
    broken += referred_to(cluster, data, "a dataset", waiting)
    cluster.cancel(waiting)
    job = cluster.submit(model, steps=steps_of(number), every=EVERY, data={"train": name})
    until(lambda: cluster.job(job)["state"] == "succeeded", f"{job} succeeds")
    child = cluster.submit(f"child-{number}", later=True, **{"from": model})
    broken += referred_to(cluster, f"/v1/tenants/acme/models/{model}", "a model", child)
    cluster.cancel(child)
    if not files_with(cluster, canary) or not files_with(cluster, chain(steps_of(number)).encode()):
        broken.append("the canaries were nowhere: nothing is shown")
    for path in (data, f"/v1/tenants/acme/models/{model}"):
        cluster.must("DELETE", path)
        if cluster.call("GET", path)[0] != 404:
            broken.append(f"P17: {path} is there behind its DELETE")
    return broken, (canary, chain(steps_of(number)).encode())


def p17(build, things, seed):
    """What a tenant deletes is nowhere any more; what is referred to is not deleted."""
    with Cluster(build, workers=1, step_ms=1, seed=seed, inputs=lambda it: give_inputs(it, things)) as cluster:
        broken, canaries = [], []
        for i in range(things):
            more, left = one(cluster, i)
            broken += more
            canaries += left

        def left():
            return [(c, path) for c in canaries for path in files_with(cluster, c)]
        try:
            until(lambda: not left(), "", 5)
        except TimeoutError:
            broken += [f"P17: {canary.decode()[:20]} is left in {path}" for canary, path in left()]
        return broken, f"{things} datasets and {things} models"
