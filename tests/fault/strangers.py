# SPDX-License-Identifier: Apache-2.0
"""P13: who knocks at the workers' port without a known key is not answered, and harms nobody's work."""
import json
import os
import subprocess
import time

from cluster import Cluster, until
from history import check_job


def p13(build, knocks, seed):
    """Random keys, no mechanism, raw bytes: none is answered, no worker appears, and work goes on meanwhile."""
    with Cluster(build, workers=1, step_ms=10, seed=seed) as cluster:
        with open(os.path.join(cluster.workers[0].data, "credential.json")) as f:
            server_key = json.load(f)["server_key"]
        job = cluster.submit("meanwhile", steps=300, every=50)
        until(lambda: cluster.worker_of(job), "a job runs")
        began = time.time()
        words = [os.path.join(build, "tests", "stranger"), f"127.0.0.1:{cluster.workers_port}", server_key, str(knocks)]
        said = subprocess.run(words, capture_output=True, text=True, timeout=600)
        took = time.time() - began
        broken = [] if said.returncode == 0 else [f"P13: {said.stdout.strip() or said.stderr.strip()}"]
        workers = cluster.must("GET", "/v1/workers")["workers"]
        if [it["name"] for it in workers] != ["host-1"] or workers[0]["state"] != "live":
            broken.append(f"P13: the workers are {[(it['name'], it['state']) for it in workers]}")
        refused = cluster.metric('tailor_auth_failures_total{who="worker"}')
        if refused < knocks // 5:  # those with keys of their own reach the handler
            broken.append(f"P13: {knocks} knocks, and only {refused:.0f} handshakes refused")
        jobs = cluster.finish()
        broken += cluster.history.check(jobs) + check_job(cluster, jobs[0])
        if jobs[0]["state"] != "succeeded" or jobs[0]["term"] != 1:
            broken.append(f"P13: the job beside it is {jobs[0]['state']} in term {jobs[0]['term']}")
        return broken, f"{said.stdout.strip()}; {refused:.0f} handshakes refused in {took:.0f} s"
