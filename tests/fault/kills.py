# SPDX-License-Identifier: Apache-2.0
"""The coordinator dies: P1 and P3; anything dies while checkpoints are saved: P4, P5."""
import os
import re
import signal
import socket
import threading
import time

from cluster import Cluster, ROOT, Unanswered
from history import check_job, check_resumes
from load import Load, sees

DEATH_S = 8.0  # a life that is to end at a failpoint reaches it within, on a busy machine
SURE_S = 1.0  # a checkpoint that was written is in the store so long later, on a busy machine


def failpoints(*programs):
    """(name, kind) of each row of the table that one of the programs passes."""
    with open(os.path.join(ROOT, "lib", "failpoint.def")) as f:
        rows = re.findall(r"^FAILPOINT\((\w+), (\w+), (\w+),", f.read(), re.M)
    return [(name, kind) for name, program, kind in rows if program in programs]


def newest_acknowledged(cluster, count):
    with cluster.history.lock:
        answers = list(cluster.history.acknowledged.values())[-count:]
    return [id for answer in answers for id, _, _ in answer]


def check_newest(cluster):
    """Right after a start, before anything could mend it."""
    return [f"P1: {id} was acknowledged and is not there behind the restart" for id in newest_acknowledged(cluster, 20)
            if sees(cluster, id) is False]


def p1(build, kills, seed):
    """A coordinator that is killed again and again loses no job that it acknowledged."""
    with Cluster(build, workers=1, slots=2, step_ms=1, seed=seed) as cluster:
        broken = []
        load = Load(cluster, running=0.03, seed=seed)
        for _ in range(kills):
            time.sleep(cluster.random.uniform(0.02, 0.4))
            cluster.coordinator.kill()
            if cluster.random.random() < 0.2:  # and once more while it gets up
                cluster.start_coordinator(wait=False)
                time.sleep(cluster.random.uniform(0.0, 0.05))
                cluster.coordinator.kill()
            cluster.start_coordinator()
            broken += check_newest(cluster)
        load.stop()
        jobs = cluster.finish()
        broken += cluster.history.check(jobs)
        for job in jobs:
            if job["state"] == "succeeded":
                broken += check_job(cluster, job)
        acknowledged = len(cluster.history.acknowledged)
        if acknowledged < 2 * kills:
            broken.append(f"the load was none: {acknowledged} jobs acknowledged in {kills} lives")
        return broken, f"{kills} kills, {acknowledged} jobs acknowledged, {len(cluster.history.cancelled)} cancels"


def listen(cluster):
    """Reads the stream of all events to its end."""
    try:
        with socket.create_connection(("127.0.0.1", cluster.http_port), timeout=10) as s:
            s.sendall(f"GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {cluster.admin}\r\n\r\n"
                      .encode())
            while s.recv(65536):
                pass
    except OSError:
        pass


def live_with(cluster, fail, seconds):
    """A life under a failpoint, with clients; what it died of (Popen.returncode), or None."""
    started = cluster.start_coordinator(fail=fail)
    if started and fail.startswith("segment"):
        cluster.workers[0].program.kill()  # one that starts connects at once
        cluster.workers[0].start()
    load = Load(cluster, running=0.2, uploading=0.5, pause_s=0.01, seed=cluster.boots)
    threading.Thread(target=listen, args=(cluster,), daemon=True).start()
    end = time.time() + seconds
    while started and time.time() < end and cluster.coordinator.alive():
        time.sleep(0.02)
    code = cluster.coordinator.process.poll()
    load.stopping = True
    cluster.coordinator.kill()
    load.stop()
    return code


def check_uploads(cluster):
    return [f"P1: an upload was said to be complete, and {digest[:12]} is not what was sent"
            for digest, data in cluster.history.uploaded.items() if cluster.blob(digest) != data]


def p1_points(build, rounds, seed):
    """The same at every place where the coordinator commits, syncs, renames or sends."""
    with Cluster(build, workers=1, slots=2, step_ms=1, seed=seed) as cluster:
        broken, reached = [], set()
        cluster.coordinator.kill()
        points = failpoints("any", "tailord")
        for round in range(rounds):
            for name, _ in points:
                for action in ("kill", "error"):
                    count = cluster.random.choice((2, 3, 5, 9, 17, 40)) if round else 1
                    died = live_with(cluster, f"{name}:{count}:{action}", DEATH_S if action == "kill" else 0.4)
                    if died == -signal.SIGKILL:
                        reached.add(name)
                    if died == -signal.SIGABRT:
                        broken.append(f"P1: a CHECK of tailord fails under {name}:{count}:{action}")
                    cluster.start_coordinator()
                    broken += [f"{it} ({name}:{count}:{action})" for it in check_newest(cluster)]
                    cluster.coordinator.kill()
        broken += cluster.history.check(cluster.finish())
        broken += check_uploads(cluster)
        missed = {name for name, _ in points} - reached
        if missed:
            broken.append(f"no life ended at {', '.join(sorted(missed))}: the sweep does not reach them")
        return broken, f"{len(points)} places, {len(reached)} of them deadly, {cluster.boots} boots"


def p3(build, submits, seed):
    """A submit that is sent again and again makes one job; another body under its key is refused."""
    with Cluster(build, workers=0, seed=seed) as cluster:
        load = Load(cluster, clients=8, pause_s=0.0, impatient=0.5, others=0.1, limit=submits, seed=seed)
        load.join()
        jobs = cluster.jobs()
        broken = cluster.history.check(jobs)
        conflicts = len(cluster.history.conflicts)
        if len(jobs) != submits:
            broken.append(f"P3: {submits} keys made {len(jobs)} jobs")
        if conflicts < submits // 50:
            broken.append(f"P3: only {conflicts} bodies were refused")
        sent = sum(len(digests) for digests in cluster.history.asked.values())
        return broken, f"{submits} keys, {sent} requests, {conflicts} refused with 409"


# ---- saving ------------------------------------------------------------------------------------------------

def harm(cluster):
    """Kills one of them, or lets it run into a failpoint soon."""
    target = cluster.random.choice(("coordinator", "worker", "trainer", "worker point", "coordinator point"))
    worker = cluster.random.choice(cluster.workers)
    count = cluster.random.randint(1, 12)
    if target == "trainer":
        for pids in worker.trainers().values():
            os.kill(pids[0], 9)
    elif target == "worker":
        worker.program.kill()
    elif target == "worker point":
        worker.program.kill()
        worker.start(fail=f"{cluster.random.choice(failpoints('any', 'worker'))[0]}:{count}:kill")
    else:
        cluster.coordinator.kill()
        point = cluster.random.choice(failpoints("any", "tailord"))[0]
        cluster.start_coordinator(fail=f"{point}:{count}:kill" if target == "coordinator point" else None)


def collect_garbage(cluster):
    """It takes nothing that is in use."""
    try:
        cluster.call("POST", "/v1/cluster:gc", {})
    except Unanswered:
        pass  # it ran into its failpoint


def submit_anyway(cluster, key, **what):
    """A coordinator may have a failpoint before it."""
    while cluster.submit(key, **what) is None:
        cluster.restart_dead()


def p4(build, kills, seed):
    """Whatever is killed while checkpoints are saved: what is registered is whole, and the bits are an undisturbed
    run's."""
    with Cluster(build, workers=2, slots=2, step_ms=8, seed=seed) as cluster:
        done, wave = 0, 0
        while done < kills:
            wave += 1
            for i in range(4):
                submit_anyway(cluster, f"save-{wave}-{i}", steps=60, every=4)
            for _ in range(min(kills - done, 6)):
                time.sleep(cluster.random.uniform(0.1, 0.7))
                harm(cluster)
                time.sleep(0.05)
                cluster.restart_dead()
                collect_garbage(cluster)
                done += 1
            cluster.finish(seconds=120)
        cluster.coordinator.kill()  # it may have a failpoint before it
        jobs = cluster.finish()
        collect_garbage(cluster)
        return check_all(cluster, jobs), f"{done} kills, {len(jobs)} jobs"


def check_all(cluster, jobs):
    broken = cluster.history.check(jobs)
    for job in jobs:
        broken += check_job(cluster, job)
        if job["state"] != "succeeded":
            broken.append(f"P5: {job['id']} is {job['state']}: {job.get('failure_message')}")
    return broken


def p5(build, kills, seed):
    """A worker or a trainer that dies costs at most one checkpoint interval, and no bit."""
    every = 20
    with Cluster(build, workers=2, slots=2, step_ms=20, seed=seed) as cluster:
        again, done, wave = [], 0, 0
        while done < kills:
            wave += 1
            for i in range(4):
                cluster.submit(f"cost-{wave}-{i}", steps=140, every=every)
            for _ in range(min(kills - done, 3)):
                time.sleep(cluster.random.uniform(0.8, 1.6))
                worker = cluster.random.choice(cluster.workers)
                if cluster.random.random() < 0.5:
                    worker.program.kill()
                    worker.start()
                else:
                    for pids in worker.trainers().values():
                        os.kill(pids[0], 9)
                done += 1
            jobs = cluster.finish(seconds=120)
        broken = check_all(cluster, jobs)
        for job in jobs:
            more, lost = check_resumes(cluster, job["id"], SURE_S)
            broken += more
            again += lost
        if not again:
            broken.append("nothing was resumed: the kills hit nobody")
        return broken, (f"{done} kills, {len(again)} resumes, at most {max(again + [0])} steps again; a checkpoint "
                        f"every {every}")
