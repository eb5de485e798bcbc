# SPDX-License-Identifier: Apache-2.0
"""Clients that submit, submit again, change their minds and give up waiting, as many threads."""
import random
import threading
import time

from cluster import Unanswered


class Load:
    """Most jobs wait for ever (not_before), so that a coordinator is asked much and computes little."""

    def __init__(self, cluster, clients=4, pause_s=0.02, impatient=0.2, others=0.03, running=0.0, uploading=0.0,
                 backups=True, limit=None, seed=7):
        self.cluster, self.pause_s, self.impatient, self.others = cluster, pause_s, impatient, others
        self.running, self.uploading, self.limit, self.seed = running, uploading, limit, seed
        self.backups = backups
        self.stopping = False
        self.count = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.client, args=(i,), daemon=True) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def next_key(self, client):
        with self.lock:
            if self.limit is not None and self.count >= self.limit:
                return None
            self.count += 1
            return f"key-{self.seed}-{client}-{self.count}"

    def client(self, number):
        mind = random.Random(self.seed * 1000 + number)
        while not self.stopping:
            key = self.next_key(number)
            if key is None:
                return
            self.one(key, mind)
            time.sleep(self.pause_s)

    def one(self, key, mind):
        """Until it is acknowledged; then, sometimes, again, with another body, or cancelled."""
        what = {"steps": 4, "every": 2, "later": mind.random() >= self.running}
        job = None
        while job is None and not self.stopping:
            # An answer within 3 ms is rare: the request is on its way when the client leaves.
            job = self.cluster.submit(key, timeout=0.003 if mind.random() < self.impatient else 10.0, **what)
            if job is None:
                time.sleep(0.01)
        chance = mind.random()
        if job is None:
            return
        if mind.random() < self.uploading:
            self.upload(key.encode() * 300)
        if chance < self.others:
            self.cluster.submit(key, **{**what, "steps": 5})
        elif chance < 0.2:
            self.cluster.submit(key, **what)
        elif chance < 0.5 and what["later"]:
            self.cluster.cancel(job)

    def upload(self, data):
        """A blob, a join token, a backup: what becomes a file."""
        try:
            self.cluster.history.uploaded[self.cluster.upload("acme", data)] = data
            self.cluster.call("POST", "/v1/workers:join-token", {})
            if self.backups:
                self.cluster.call("POST", "/v1/cluster:backup", {})
        except (Unanswered, AssertionError):
            pass

    def stop(self):
        self.stopping = True
        self.join()

    def join(self):
        for thread in self.threads:
            thread.join()


class Watcher:
    """Looks at all jobs again and again, and keeps when each state was seen: times[id] = [(when, state, term), …]."""

    def __init__(self, cluster, pause_s=0.05):
        self.cluster, self.pause_s = cluster, pause_s
        self.times = {}
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping:
            for job in self.cluster.look():
                line = self.times.setdefault(job["id"], [])
                now = (job["state"], job.get("term", 0))
                if not line or line[-1][1:] != now:
                    line.append((time.time(), *now))
            time.sleep(self.pause_s)

    def stop(self):
        self.stopping = True
        self.thread.join()

    def first(self, job, since, condition):
        """When the condition was first seen to hold after `since`; None: never."""
        for when, state, term in self.times.get(job, []):
            if when >= since and condition(state, term):
                return when
        return None


def sees(cluster, job):
    """Is the acknowledged job there? True, False, or None when nobody answers."""
    try:
        return cluster.call("GET", f"/v1/jobs/{job}")[0] == 200
    except Unanswered:
        return None
