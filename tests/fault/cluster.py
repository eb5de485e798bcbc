# SPDX-License-Identifier: Apache-2.0
"""One cluster of real programs (tailord, tailor-worker, fake or real trainers) on ports and a directory of its own,
with short timers, and the faults that can be done to it. Every call to the API goes into the cluster's history.

    with Cluster(build, workers=2) as cluster:
        cluster.submit("key-1", steps=20)
        cluster.coordinator.kill()
        cluster.start_coordinator()
"""
import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from history import History
from relay import Relay

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WAIT_S = 60  # a busy machine is slow; a promise about time has its own limit
LEASE_S = 0.8
FINAL = ("succeeded", "failed", "cancelled")


class Unanswered(Exception):
    """No answer came: whether the request took effect is not known."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(condition, what, seconds=WAIT_S):
    end = time.time() + seconds
    while time.time() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise TimeoutError(f"waited {seconds} s for: {what}")


class Program:
    """A process of ours and its log."""

    def __init__(self, words, log, **environment):
        self.log = log
        environment = {k: v for k, v in environment.items() if v is not None}
        with open(log, "ab") as out:
            self.process = subprocess.Popen(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **environment})
        self.pid = self.process.pid

    def alive(self):
        return self.process.poll() is None

    def crashed(self):
        """It ended by a fault of its own: what nobody here does to it."""
        return self.process.poll() in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE)

    def signal(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def kill(self):
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        return self.process.wait(WAIT_S)


class Worker:
    def __init__(self, cluster, number, slots):
        self.cluster, self.slots = cluster, slots
        self.name = f"host-{number}"
        self.data = os.path.join(cluster.dir, f"worker-{number}")
        self.relay = None
        self.program = None

    def start(self, join=None, fail=None):
        words = [os.path.join(self.cluster.build, "tailor-worker"), "--data", self.data, "--slots", str(self.slots),
                 "--name", self.name, "--trainer", self.cluster.trainer, "--grace", "5s", "--address", "127.0.0.1"]
        self.program = Program(words + (["--join", join] if join else []), self.data + ".log",
                               FAULT_LEDGER=self.cluster.ledger, FAULT_STEP_MS=str(self.cluster.step_ms),
                               TAILOR_FAIL=fail)

    def join(self):
        self.start(self.cluster.call("POST", "/v1/workers:join-token", {})[1]["token"])
        credential = os.path.join(self.data, "credential.json")

        def joined():
            if not os.path.exists(credential):
                return False
            with open(credential) as f:
                return json.load(f)["worker"] > 0
        until(joined, f"{self.name} joins")
        if self.cluster.relays:
            self.through_a_relay(credential)

    def through_a_relay(self, credential):
        self.program.kill()
        self.relay = Relay(self.cluster.workers_port)
        with open(credential) as f:
            card = json.load(f)
        card["address"] = f"127.0.0.1:{self.relay.port}"
        with open(credential, "w") as f:
            json.dump(card, f)
        self.start()

    def trainers(self):
        """{(job, term): [pid, …]} of what trains here now."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                where = os.readlink(f"/proc/{pid}/cwd")
            except OSError:
                continue
            if where.startswith(os.path.join(self.data, "runs") + "/"):
                job, term = os.path.basename(where).split("-")
                found.setdefault((f"j-{job}", int(term)), []).append(int(pid))
        return found


class Cluster:
    def __init__(self, build, workers=2, slots=1, step_ms=10, relays=False, trainer=None, seed=1, lease_s=LEASE_S,
                 disk_mib=None, inputs=None):
        """inputs: a function of the cluster that gives it more data, as long as there is no base to judge them with."""
        self.build, self.step_ms, self.relays, self.lease_s = build, step_ms, relays, lease_s
        self.random = random.Random(seed)
        self.inputs = inputs
        self.trainer = trainer or os.path.join(ROOT, "tests", "fault", "fake_trainer.py")
        self.dir = tempfile.mkdtemp(prefix="fault.")
        self.data = os.path.join(self.dir, "d")
        self.mounted = disk_mib is not None
        if self.mounted:
            os.mkdir(self.data)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={disk_mib}m", "tmpfs", self.data], check=True)
        self.ledger = os.path.join(self.dir, "ledger")
        os.mkdir(self.ledger)
        self.http_port, self.workers_port = free_port(), free_port()
        self.history = History()
        self.looking = threading.Lock()
        self.workers = []
        self.coordinator = self.admin = None
        self.boots = 0
        if not self.start_coordinator():
            with open(self.coordinator.log) as log:
                said = log.read()[-2000:]
            self.__exit__(None)
            raise RuntimeError("tailord does not start: " + said)
        self.set_up()
        for i in range(workers):
            self.add_worker(slots)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        programs = [self.coordinator] + [worker.program for worker in self.workers]
        crashed = [f"{program.log} ended with {program.process.returncode}" for program in programs if program.crashed()]
        for worker in self.workers:
            worker.program.kill()
            if worker.relay:
                worker.relay.close()
        if self.coordinator.alive():
            self.coordinator.kill()
        if self.mounted:
            subprocess.run(["umount", self.data], check=True)
        if crashed or kind is not None or "FAULT_KEEP" in os.environ:
            print(f"# what the programs wrote: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        if crashed:
            raise AssertionError("; ".join(crashed))

    def add_worker(self, slots):
        worker = Worker(self, len(self.workers) + 1, slots)
        self.workers.append(worker)
        worker.join()
        return worker

    def start_coordinator(self, fail=None, wait=True):
        """False: it died before it listened."""
        words = [os.path.join(self.build, "tailord"), "--data", self.data, "--http",
                 f"127.0.0.1:{self.http_port}", "--workers", f"127.0.0.1:{self.workers_port}", "--heartbeat", "0.1s",
                 "--lost-after", f"{self.lease_s}s", "--backoff", "0.05s",
                 "--start-after", "30s", "--yield-after", "10s"]
        self.coordinator = Program(words, os.path.join(self.dir, "tailord.log"), TAILOR_FAIL=fail)
        self.boots += 1
        if not wait:
            return True
        end = time.time() + WAIT_S
        while time.time() < end and self.coordinator.alive():
            try:
                if self.request("GET", "/healthz", timeout=2)[0] == 200:
                    self.read_admin()
                    return True
            except Unanswered:
                time.sleep(0.01)
        if self.coordinator.alive():
            raise TimeoutError("tailord does not listen")
        return False

    def start_armed(self):
        """A coordinator whose failpoint is what arm() said last."""
        self.arm("")
        self.start_coordinator(fail="@" + os.path.join(self.dir, "fail"))

    def arm(self, text):
        with open(os.path.join(self.dir, "fail"), "w") as f:
            f.write(text)

    def read_admin(self):
        path = os.path.join(self.data, "admin-token")
        if self.admin is None:
            until(lambda: os.path.exists(path) and os.path.getsize(path) > 0, "the admin's token")
            with open(path) as f:
                self.admin = f.read().strip()

    # ---- the API
    def request(self, method, path, body=None, token=None, headers=None, timeout=10.0):
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)
        headers = {**({"Authorization": "Bearer " + token} if token else {}), **(headers or {})}
        if isinstance(body, dict):
            body = json.dumps(body)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            text = response.read()
            kind = response.getheader("Content-Type", "")
        except (OSError, http.client.HTTPException) as e:
            raise Unanswered(str(e)) from e
        finally:
            connection.close()
        return response.status, json.loads(text) if kind.startswith("application/json") else text

    def call(self, method, path, body=None, **more):
        return self.request(method, path, body, token=self.admin, **more)

    def must(self, method, path, body=None, **more):
        code, reply = self.call(method, path, body, **more)
        if code not in (200, 201):
            raise AssertionError(f"{method} {path}: {code} {str(reply)[:300]}")
        return reply

    def upload(self, tenant, data):
        digest = hashlib.sha256(data).hexdigest()
        self.must("PUT", f"/v1/tenants/{tenant}/blobs/{digest}?offset=0&bytes={len(data)}", data)
        return digest

    def set_up(self):
        self.must("POST", "/v1/tenants", {"name": "acme"})
        data = self.upload("acme", b'{"prompt":"a","chosen":"b","rejected":"c"}\n')
        self.must("POST", "/v1/tenants/acme/datasets/tickets", {"digest": data, "file": "t.jsonl"})
        if self.inputs:
            self.inputs(self)
        weights = self.upload("cluster", b"weights")
        base = {"kind": "files", "files": [{"name": "model.safetensors", "digest": weights, "bytes": 7}]}
        self.must("POST", "/v1/bases", {"name": "tiny", "manifest": self.upload("cluster", json.dumps(base).encode())})

    def spec(self, name, steps=10, every=5, ranks=1, later=False, attempts=100, **more):
        """`more`: sections of the spec that replace these."""
        spec = {"name": name, "tenant": "acme", "stage": "general", "from": "tiny", "data": {"train": "tickets"},
                "output": {"model": name}, "train": {"max_steps": steps}, "checkpoint": {"every_steps": every},
                "retry": {"max_attempts": attempts}, **more}
        if ranks > 1:
            spec["resources"] = {"ranks": ranks, "min_ranks": ranks}
        if later:  # waits for ever
            spec["schedule"] = {"not_before": "2099-01-01T00:00:00Z"}
        return spec

    def submit(self, key, timeout=10.0, **what):
        """The id, or None when no answer came or it was refused. The job's name is its key."""
        body = {"spec": self.spec(key, **what), "idempotency_key": key}
        asked = self.history.submit_begins(key, body)
        try:
            code, reply = self.call("POST", "/v1/jobs", body, timeout=timeout)
        except Unanswered:
            return None
        return self.history.submit_answered(asked, code, reply)

    def cancel(self, job):
        try:
            code, _ = self.call("POST", f"/v1/jobs/{job}:cancel", {})
        except Unanswered:
            return
        self.history.cancel_answered(job, code)

    def job(self, job):
        return self.must("GET", f"/v1/jobs/{job}")

    def jobs(self):
        """All there are, oldest first; also noted as seen. One look after the other: an answer that is older than
        one that was noted would seem to go back in time."""
        with self.looking:
            return self.look_through()

    def look_through(self):
        found, after = [], 0
        while True:
            page = self.must("GET", f"/v1/jobs?limit=1000{f'&after={after}' if after else ''}", timeout=30.0)
            found += page.get("jobs", [])
            after = page.get("next", 0)
            if not after or not page.get("jobs"):
                break
        self.history.seen(found)
        return sorted(found, key=lambda job: int(job["id"][2:]))

    def look(self):
        """As a watcher does: what it gets is noted, a coordinator that is away is no news."""
        try:
            return self.jobs()
        except (Unanswered, AssertionError):
            return []

    def metric(self, name):
        for line in self.request("GET", "/metrics")[1].decode().split("\n"):
            if line.startswith(name + " "):
                return float(line.split()[1])
        return 0.0

    def worker_of(self, job):
        """Who runs it now; None: nobody."""
        for worker in self.workers:
            for (name, term), pids in worker.trainers().items():
                if name == job:
                    return worker, term, pids
        return None

    def blob(self, digest, tenant="acme"):
        path = os.path.join(self.data, "store", tenant, digest[:2], digest)
        if not os.path.exists(path):
            return None
        with open(path, "rb") as f:
            return f.read()

    def restart_dead(self):
        for worker in self.workers:
            if not worker.program.alive():
                worker.start()
        if not self.coordinator.alive():
            self.start_coordinator()

    def finish(self, what="every job ends", seconds=WAIT_S):
        """Everything heals; waits until nothing that may run is unfinished."""
        self.coordinator.signal(signal.SIGCONT)
        for worker in self.workers:
            worker.program.signal(signal.SIGCONT)
            if worker.relay:
                worker.relay.heal()

        def over():
            self.restart_dead()  # one may run into its failpoint as late as now
            jobs = self.look()
            return jobs if all(j["state"] in FINAL or j.get("not_before_ms") for j in jobs) else None
        return until(over, what, seconds)
