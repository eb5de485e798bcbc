#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a crowd at the API costs those who train. See load.sh.

    tests/bench/load.py BUILD_DIR BASE_DIR [--seconds 30] [--jobs 10000]
"""
import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import api  # noqa: E402
import wrk  # noqa: E402

IDLE, SLOW = 500, 500


def samples():
    lines = api.server.call("GET", "/metrics")[2].decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line and line[0] != "#"}


def memory_mib():
    status = open(f"/proc/{api.server.process.pid}/status").read()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def quantile(before, after, family, share):
    """The bound of the bucket that so many of the observations between two moments are below."""
    buckets = []
    for name, count in after.items():
        found = re.fullmatch(rf'tailor_{family}_bucket{{le="([^"]+)"}}', name)
        if found:
            buckets.append((float(found.group(1).replace("+Inf", "inf")), count - before[name]))
    buckets.sort()
    return next((bound for bound, count in buckets if count >= share * buckets[-1][1]), float("nan")), buckets[-1][1]


def step_ms(before, after):
    def delta(kind, phase):
        name = f'tailor_step_seconds_{kind}{{phase="{phase}"}}'
        return after.get(name, 0) - before.get(name, 0)
    steps = delta("count", "forward")
    seconds = sum(delta("sum", phase) for phase in ("data", "forward", "backward", "optimizer"))
    return 1000 * seconds / steps if steps else float("nan")


def watch(what, during):
    before = samples()
    got = during()
    after = samples()
    late, beats = quantile(before, after, "worker_heartbeat_lateness_seconds", 0.99)
    print(f"{what}\n    step {step_ms(before, after):.1f} ms; heartbeats {beats:.0f}, 99 in 100 less than {1000 * late:g} ms late; "
          f"workers lost {sum(v for k, v in after.items() if k.startswith('tailor_worker_lost_total')):.0f}; "
          f"coordinator {memory_mib():.0f} MiB; 5xx {after.get('tailor_http_requests_total{code=' + chr(34) + '5xx' + chr(34) + '}', 0):.0f}",
          flush=True)
    return got


def told(name, got):
    print(f"    {name}: {got['count'] / got['seconds']:.0f}/s   p50 {got['p50_ms']:.2f} ms   p99 {got['p99_ms']:.2f} ms   "
          f"{got['errors']} errors", flush=True)


def start_worker(build, work):
    join = api.must("POST", "/v1/workers:join-token", api.server.admin)["token"]
    log = open(os.path.join(work, "worker.log"), "w")
    return subprocess.Popen([os.path.join(build, "tailor-worker"), "--data", os.path.join(work, "worker"), "--join", join,
                             "--slots", "1"], stdout=log, stderr=log)


def pin(pid, cores):
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), cores)


def pin_trainer(core):
    """The trainer is the agent's child: found by its name."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if open(f"/proc/{pid}/comm").read().startswith("tailor-trainer"):
                pin(pid, {core})
        except (FileNotFoundError, ProcessLookupError):
            pass


def train(token, base, work):
    """One endless job of the base, on real shapes."""
    data = os.path.join(work, "data")
    subprocess.run([sys.executable, os.path.join(api.ROOT, "deploy", "sample_data.py"), "--out", data], check=True,
                   stdout=subprocess.DEVNULL)
    api.must("POST", "/v1/bases", api.server.admin,
             {"name": "base", "manifest": api.upload_directory("cluster", base, api.server.admin)})
    digest = api.upload("acme", open(data + "/general.train.jsonl", "rb").read(), token)
    api.must("POST", "/v1/tenants/acme/datasets/train", token, {"digest": digest, "file": "general.train.jsonl", "from": "base"})
    while api.must("GET", "/v1/tenants/acme/datasets/train", token)["state"] == "admitting":
        time.sleep(0.2)
    spec = {"stage": "general", "from": "base", "data": {"train": ["train"]}, "model": {"template": "dsp"},
            "train": {"batch_groups": 4, "max_steps": 1000000}, "output": {"model": "endless"}}
    job = api.must("POST", "/v1/jobs", token, {"spec": spec})["job"]["id"]
    while api.must("GET", f"/v1/jobs/{job}", token).get("step", 0) < 2:
        time.sleep(0.5)
    return job


def crowd(stop):
    """500 connections that say nothing, 500 that send a byte of a header a second."""
    sockets = [socket.create_connection((api.server.host, api.server.port)) for _ in range(IDLE + SLOW)]
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 1000
    at = 0
    while not stop.wait(1):
        for s in sockets[IDLE:]:
            try:
                s.send(head[at:at + 1])
            except OSError:
                pass
        at += 1
    for s in sockets:
        s.close()


def beside_a_crowd(token, job, seconds, work):
    stop = threading.Event()
    thread = threading.Thread(target=crowd, args=(stop,))
    thread.start()
    time.sleep(2)
    got = wrk.wrk(api.server, f"/v1/jobs/{job}", 4, seconds, wrk.headers(token), work)
    stop.set()
    thread.join()
    return got


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("build")
    options.add_argument("base")
    options.add_argument("--seconds", type=int, default=30)
    options.add_argument("--jobs", type=int, default=10000)
    given = options.parse_args()
    last = os.cpu_count() - 1
    os.sched_setaffinity(0, set(range(last)) or {0})
    with tempfile.TemporaryDirectory() as work:
        api.server = api.Server(given.build)
        worker = None
        try:
            api.set_up()
            token = api.tokens["submitter"]
            body = json.dumps({"spec": api.spec(schedule={"queue": "later"})})
            api.must("POST", "/v1/queues/later:pause", api.server.admin, {})
            rounds = 0
            while api.must("GET", "/v1/cluster", api.tokens["admin"])["jobs_queued"] < given.jobs and rounds < 100:
                wrk.wrk(api.server, "/v1/jobs", 16, 1, wrk.submits(token, body, f"load{rounds}"), work)
                rounds += 1
            print(f"{api.must('GET', '/v1/cluster', api.tokens['admin'])['jobs_queued']} jobs are queued", flush=True)
            worker = start_worker(given.build, work)
            job = train(token, given.base, work)
            pin_trainer(last)
            time.sleep(5)
            watch(f"nobody asks, {given.seconds} s", lambda: time.sleep(given.seconds))
            for path in (f"/v1/jobs/{job}", f"/v1/jobs/{job}/metrics?limit=100", "/v1/jobs?limit=100"):
                told(path, watch(f"256 connections, {given.seconds} s",
                                 lambda: wrk.wrk(api.server, path, 256, given.seconds, wrk.headers(token), work)))
            told("4 connections alone", watch(f"4 connections, {given.seconds} s",
                                              lambda: wrk.wrk(api.server, f"/v1/jobs/{job}", 4, given.seconds, wrk.headers(token), work)))
            told("4 connections beside the crowd", watch(f"4 connections beside {IDLE} idle and {SLOW} slow ones, {given.seconds} s",
                                                         lambda: beside_a_crowd(token, job, given.seconds, work)))
            watch(f"nobody asks, {given.seconds} s", lambda: time.sleep(given.seconds))
        finally:
            if worker is not None:
                worker.terminate()
                worker.wait()
            api.server.stop()
        for failure in api.failures:
            print("FAIL", failure)
    return bool(api.failures)


sys.exit(main())
