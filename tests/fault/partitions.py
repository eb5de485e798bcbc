# SPDX-License-Identifier: Apache-2.0
"""Workers stand still, vanish or are cut off: P6 and P7; the coordinator is away: P14."""
import os
import signal
import time

from cluster import FINAL, LEASE_S, Cluster, until
from history import check_job, runs
from load import Watcher

RETURN_S = 5  # P14: all is adopted within so long of the coordinator's return


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def is_running(cluster, job):
    return any(it["id"] == job and it["state"] == "running" for it in cluster.look())


def begin(cluster, key, **what):
    """A job of which a checkpoint is in the store, and who runs it."""
    job = cluster.submit(key, **what)

    def saved():
        return is_running(cluster, job) and cluster.must("GET", f"/v1/jobs/{job}/checkpoints").get("checkpoints")
    until(saved, f"{job} has a checkpoint")
    return job, until(lambda: cluster.worker_of(job), f"{job} has a process")


# ---- zombies -----------------------------------------------------------------------------------------------

def freeze(how, worker, pids):
    if how == "partition":
        worker.relay.hold("up", "down")
    elif how == "one way":
        worker.relay.hold("up")
    else:
        worker.program.signal(signal.SIGSTOP)
    if how == "stop all":
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)


def thaw(how, worker, pids):
    if how in ("partition", "one way"):
        worker.relay.heal()
        return
    for pid in pids if how == "stop all" else ():
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass
    worker.program.signal(signal.SIGCONT)


def zombie(cluster, number):
    """One: its worker is silent for three leases, another takes the job, then the first one wakes up."""
    how = ("stop worker", "partition", "stop all", "one way")[number % 4]
    job, (worker, term, pids) = begin(cluster, f"zombie-{number}", steps=120, every=4)
    fenced = cluster.metric("tailor_fenced_total")
    freeze(how, worker, pids)
    time.sleep(3 * LEASE_S)

    def moved():
        found = next((it for it in cluster.look() if it["id"] == job), {})
        return found.get("term", 0) > term and found["state"] in ("running", *FINAL)
    until(moved, f"{job} goes on elsewhere ({how})")
    thaw(how, worker, pids)
    broken = []
    try:  # where trainers stood still too, nothing may have been written meanwhile
        if how != "stop all":
            until(lambda: cluster.metric("tailor_fenced_total") > fenced, "a report is fenced", 20)
    except TimeoutError:
        broken.append(f"P6: the zombie of {job} woke up ({how}) and nothing was fenced")

    def gone():
        return all(name != job or later > term for name, later in worker.trainers())
    until(gone, f"the zombie of {job} ends ({how})")
    return broken


def p6(build, zombies, seed):
    """What a worker that was silent for three leases says of its old attempt changes nothing, and is counted."""
    with Cluster(build, workers=3, step_ms=25, relays=True, seed=seed) as cluster:
        unfenced = [it for i in range(zombies) for it in zombie(cluster, i)]
        fenced = cluster.metric("tailor_fenced_total")
        if fenced < zombies - zombies // 4:
            unfenced.append(f"P6: {zombies} zombies, and tailor_fenced_total says {fenced:.0f}")
        jobs = cluster.finish(seconds=180)
        broken = unfenced + cluster.history.check(jobs)
        for job in jobs:
            broken += check_job(cluster, job)
            if job["state"] != "succeeded":
                broken.append(f"P6: {job['id']} is {job['state']}: {job.get('failure_message')}")
        return broken, f"{zombies} zombies, {fenced:.0f} reports fenced"


# ---- deaths ------------------------------------------------------------------------------------------------

def kill_rank(worker, pids, cluster):
    os.kill(cluster.random.choice(pids), signal.SIGKILL)


def kill_worker(worker, pids, cluster):
    worker.program.kill()
    worker.start()


def kill_worker_for_good(worker, pids, cluster):
    worker.program.kill()  # p7 starts it again later; the job has to go elsewhere


def death(cluster, watcher, number, times):
    """One: kills something of a job that runs; when was it noticed, when did it run again? Not always of the same one: the
    pause before a next attempt doubles with each that came to nothing."""
    running = [it for it in cluster.look() if it["state"] == "running"]
    cluster.random.shuffle(running)
    found = cluster.worker_of(running[0]["id"]) if running else None
    if found is None:
        time.sleep(0.05)
        return False
    job, (worker, term, pids) = running[0]["id"], found
    began = time.time()
    (kill_rank, kill_worker, kill_worker_for_good)[number % 3](worker, pids, cluster)
    noticed = until(lambda: watcher.first(job, began, lambda state, t: t > term or state != "running"),
                    f"the death of {job}'s rank is noticed", 30)
    again = until(lambda: watcher.first(job, noticed, lambda state, t: state in FINAL or
                                        (state == "running" and t > term)), f"{job} goes on", 60)
    times["detect"].append(noticed - began)
    times["restart"].append(again - noticed)
    if not worker.program.alive():
        worker.start()
    return True


def p7(build, kills, seed):
    """Whatever worker or rank is killed, every job ends or runs."""
    times = {"detect": [], "restart": []}
    with Cluster(build, workers=2, slots=5, step_ms=25, seed=seed) as cluster:  # there is always a free slot
        watcher, done, number = Watcher(cluster), 0, 0
        while done < kills:
            if sum(it["state"] not in FINAL for it in cluster.look()) < 3:
                number += 1
                cluster.submit(f"death-{number}", steps=60, every=5, ranks=1 + number % 2)
            done += death(cluster, watcher, done, times)
        jobs = cluster.finish(seconds=120)
        watcher.stop()
        broken = cluster.history.check(jobs)
        for job in jobs:
            broken += check_job(cluster, job)
        p99 = {name: percentile(values, 0.99) for name, values in times.items()}
        if p99["detect"] > 10 or p99["restart"] > 30:
            broken.append(f"P7: noticed within {p99['detect']:.1f} s, restarted within {p99['restart']:.1f} s (p99)")
        said = ", ".join(f"{name} p50 {percentile(values, 0.5):.2f} p99 {p99[name]:.2f} s"
                         for name, values in times.items())
        return broken, f"{done} kills, {len(jobs)} jobs; {said}"


# ---- an absent coordinator ---------------------------------------------------------------------------------

def check_findings(cluster, job):
    """Every finding that a trainer reported is in the job's events, once."""
    made = [f"finding {run.job[2:]}-{run.term} {step}"
            for run in runs(cluster, job) for step in run.steps("checkpoint")]
    events, after = [], 0
    while True:
        page = cluster.must("GET", f"/v1/jobs/{job}/events?limit=1000&after={after}")
        events += page.get("events", [])
        if not page.get("events"):
            break
        after = page["events"][-1]["number"]
    got = [event["message"] for event in events if event["kind"] == "seen"]
    lost = sorted(set(made) - set(got))
    broken = [f"P14: {job}: {len(lost)} of {len(made)} reports are lost, such as {lost[0]}"] if lost else []
    return broken + [f"P14: {job}: the report \"{it}\" was taken {got.count(it)} times" for it in set(got)
                     if got.count(it) > 1]


def away(cluster, jobs, number, seconds):
    """Kills the coordinator, brings it back after so long, and waits until it knows again what runs. Every second
    time it dies with a report in its hands, not committed, or committed and not acknowledged."""
    if number % 2 == 0:
        cluster.arm(("records_commit:1:kill", "records_committed:1:kill")[number // 2 % 2])
        until(lambda: not cluster.coordinator.alive(), "a report comes, and tailord dies of it")
    cluster.coordinator.kill()
    time.sleep(seconds)
    back = time.time()
    cluster.start_armed()
    want = {job for job in jobs if cluster.worker_of(job)}

    def adopted():
        there = {it["id"] for it in cluster.look() if it["state"] in ("running", *FINAL)}
        heard = [it["last_seen_ms"] > 1000 * back for it in cluster.must("GET", "/v1/workers")["workers"]]
        return want <= there and sum(heard) == len(cluster.workers)
    until(adopted, f"what runs ({want}) is adopted", 30)
    return time.time() - back


def p14(build, kills, seed):
    """A coordinator that is away stops no training, knows soon what runs, and loses no report."""
    with Cluster(build, workers=2, slots=2, step_ms=15, lease_s=3.0, seed=seed) as cluster:
        jobs, broken, adopted, number = [], [], [], 0
        cluster.coordinator.kill()
        cluster.start_armed()

        def two_run():
            nonlocal number
            while sum(it["state"] not in FINAL for it in cluster.look()) < 4:
                number += 1
                jobs.append(cluster.submit(f"away-{number}", steps=600, every=10))
            return sum(it["state"] == "running" for it in cluster.look()) >= 2
        for i in range(kills + 1):
            until(two_run, "jobs run")
            # the last absence is longer than a lease, and shorter than stop_after
            adopted.append(away(cluster, jobs, i, 2 * cluster.lease_s if i == kills else cluster.random.uniform(0.0, 0.8)))
        ended = cluster.finish(seconds=180)
        broken += cluster.history.check(ended)
        for job in ended:
            broken += check_job(cluster, job) + check_findings(cluster, job["id"])
            if job["state"] != "succeeded" or job["term"] != 1 or len(runs(cluster, job["id"])) != 1:
                broken.append(f"P14: {job['id']} is {job['state']} in term {job['term']}, after "
                              f"{len(runs(cluster, job['id']))} starts")
        if max(adopted) > RETURN_S:
            broken.append(f"P14: it took {max(adopted):.1f} s until what runs was adopted")
        return broken, f"{kills} kills and one long absence, {len(ended)} jobs; adopted within {max(adopted):.2f} s"
