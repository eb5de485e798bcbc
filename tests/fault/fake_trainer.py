#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A trainer for the fault harness: tailor-trainer's command line, files, reports and exit codes, and a chain of
hashes in place of a model. A state that was lost, repeated or mixed up is another chain.

    FAULT_LEDGER=DIR   what it did is appended to DIR/JOB-TERM-RANK.PID, line by line
    FAULT_STEP_MS=N    how long a step takes

The spec says how many steps (train.max_steps) and how far checkpoints are apart (checkpoint.every_steps). Each
checkpoint is announced by a finding of its own, so that a report that is lost is a number that is missing.
"""
import hashlib
import json
import os
import signal
import sys
import time

STOPPED, LOST_OTHERS = 8, 6
stopping = []


def chain(steps, seed="0"):
    """The state behind so many steps; the harness computes it too."""
    state = seed
    for step in range(1, steps + 1):
        state = advance(state, step)
    return state


def advance(state, step):
    return hashlib.sha256(f"{state} {step}".encode()).hexdigest()


def write(path, data):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path + ".tmp", "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    os.rename(path + ".tmp", path)


def write_checkpoint(step, state):
    """As storage/files/checkpoint.h has it: blobs, then the manifest with its own digest."""
    part = json.dumps({"step": step, "state": state}).encode() + b" " * 3000
    digest = hashlib.sha256(part).hexdigest()
    write(f"store/{digest[:2]}/{digest}", part)
    manifest = {"format_version": 1, "kind": "checkpoint", "step": step, "state": {},
                "parts": [{"name": "state", "offset": 0, "size": len(part), "sha256": digest}]}
    write(f"checkpoints/step-{step:09d}.json", json.dumps(manifest).encode())


def read_checkpoint():
    names = sorted(n for n in os.listdir("checkpoints") if n.endswith(".json")) if os.path.isdir("checkpoints") else []
    if not names:
        return 0, "0"
    with open("checkpoints/" + names[-1]) as f:
        digest = json.load(f)["parts"][0]["sha256"]
    with open(f"store/{digest[:2]}/{digest}", "rb") as f:
        part = f.read()
    if hashlib.sha256(part).hexdigest() != digest:
        raise SystemExit("a damaged checkpoint came back from the store")
    part = json.loads(part)
    return part["step"], part["state"]


class Run:
    def __init__(self, options):
        self.rank = int(options.get("--rank", "0"))
        self.reports = os.fdopen(int(options["--report-fd"]), "w", buffering=1)
        with open(options["--spec"]) as f:
            spec = json.load(f)
        self.steps = int(spec["train"]["max_steps"])
        self.every = int(spec["checkpoint"]["every_steps"])
        self.sources = spec.get("data", {}).get("train", [])
        self.name = os.path.basename(os.getcwd())
        ledger = os.environ["FAULT_LEDGER"]
        self.ledger = open(os.path.join(ledger, f"{self.name}-{self.rank}.{os.getpid()}"), "a", buffering=1)

    def note(self, what, step, state=""):
        self.ledger.write(f"{time.time():.6f} {what} {step} {state}\n")

    def report(self, kind, **fields):
        try:
            self.reports.write(json.dumps({"type": kind, **fields}) + "\n")
        except BrokenPipeError:
            pass

    def others_live(self):
        """A rank that loses another one notices by its sockets; here by its process."""
        for name in os.listdir("ranks"):
            if not os.path.exists("/proc/" + name) and os.path.exists("ranks/" + name):
                return False
        return True

    def quote(self):
        """The first row of its data, as the trainer prints it before step 1."""
        for source in self.sources[:1]:
            with open(source["dataset"], encoding="utf-8") as f:
                print("the first row:", f.readline(), flush=True)

    def save(self, step, state):
        if self.rank != 0:
            return
        write_checkpoint(step, state)
        self.note("checkpoint", step, state)
        self.report("checkpoint", step=step, seconds=0.01)
        self.report("event", event="seen", step=step, text=f"finding {self.name} {step}")

    def train(self):
        step, state = read_checkpoint()
        pause = float(os.environ.get("FAULT_STEP_MS", "10")) / 1000
        os.makedirs("ranks", exist_ok=True)
        open(f"ranks/{os.getpid()}", "w").close()
        self.note("start", step, state)
        self.quote()
        self.report("running", step=step, steps=self.steps)
        while step < self.steps and not stopping:
            time.sleep(pause)
            if not self.others_live():
                self.report("failure", **{"class": "communication", "message": "another rank is gone"})
                sys.exit(LOST_OTHERS)
            step += 1
            state = advance(state, step)
            self.note("step", step, state)
            self.report("metrics", step=step, loss=1.0 / step)
            if step % self.every == 0 or step == self.steps:
                self.save(step, state)
        if step < self.steps:
            self.save(step, state)
            self.note("stopped", step)
            self.report("failure", **{"class": "stopped", "message": "it was told to stop"})
            sys.exit(STOPPED)
        if self.rank == 0:
            write("model/model.safetensors", state.encode())
            write("model/tailor.json", json.dumps({"kind": "full", "steps": step}).encode())
            write("result.json", json.dumps({"steps": step}).encode())
        os.unlink(f"ranks/{os.getpid()}")
        self.note("finish", step, state)


def main():
    words = sys.argv[2:]
    options = {words[i]: words[i + 1] for i in range(len(words) - 1) if words[i].startswith("--")}
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    Run(options).train()


if __name__ == "__main__":
    main()
