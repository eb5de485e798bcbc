#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many tenants' adapters over one base in one process: the bits of one model alone, requests/s and p99; beside that,
one process a model. Requests go over the trainer's own pipe, as a worker sends them.

    tests/bench/serve.py BUILD_DIR BASE_DIR [--models 100] [--seconds 20] [--open 16] [--processes 4] [--alone 100] [--adapters-mib 1024]
        [--check]

--check: the bits alone, no figures. The first adapter is trained for a step; the others are it with the numbers of
every B rotated, which makes other models of the same cost.
"""
import argparse
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

WORDS = "the customer asked whether a letter may be opened and we said that nobody minds if it is yours to read".split()


def sample(path, rows):
    draw = random.Random(1)
    with open(path, "w") as f:
        for _ in range(rows):
            say = lambda: " ".join(draw.choice(WORDS) for _ in range(draw.randint(8, 24)))
            f.write(json.dumps({"prompt": say(), "chosen": say(), "rejected": say()}) + "\n")


def train(build, base, work):
    """An adapter over the base; returns its directory."""
    data, out = os.path.join(work, "train.jsonl"), os.path.join(work, "first")
    sample(data, 16)
    subprocess.run([os.path.join(build, "tailor"), "run", "general", "--from", base, "--train", data, "--out", out,
                    "--set", "adapter.type=lora", "--set", "adapter.r=8", "--set", "train.max_steps=1", "--set",
                    "train.learning_rate=1e-2", "--set", "train.dtype=fp32", "--set", "model.template=dsp",
                    "-q"], check=True, stdout=subprocess.DEVNULL)
    return os.path.join(out, "model")


def rotated(path, by, out):
    """The same safetensors file with the numbers of each lora_B moved on."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    (length,) = struct.unpack("<Q", data[:8])
    for name, tensor in json.loads(data[8:8 + length]).items():
        if "lora_B" in name:
            begin, end = (8 + length + at for at in tensor["data_offsets"])
            shift = 4 * by % (end - begin)
            data[begin:end] = data[end - shift:end] + data[begin:end - shift]
    with open(out, "wb") as f:
        f.write(data)


def make_models(first, base, count, work):
    """Directories work/MODEL, each over work/base as the card of the first says."""
    names = [f"{i:064x}" for i in range(count)]
    with open(os.path.join(first, "tailor.json")) as f:
        card = json.load(f)
    card["parent"]["path"] = base
    for i, name in enumerate(names):
        directory = os.path.join(work, name)
        os.makedirs(directory)
        for file in os.listdir(first):
            if file == "adapter_model.safetensors":
                rotated(os.path.join(first, file), 13 * i, os.path.join(directory, file))
            elif file == "tailor.json":
                with open(os.path.join(directory, file), "w") as f:
                    json.dump(card, f)
            elif os.path.isfile(os.path.join(first, file)):
                shutil.copy(os.path.join(first, file), directory)
    return names


class Trainer:
    """`tailor-trainer serve` with its two pipes."""

    def __init__(self, build, base, work, threads, adapters_mib=1024):
        spec = os.path.join(work, "serve.json")
        with open(spec, "w") as f:
            json.dump({"stage": "serve", "from": base, "train": {"dtype": "fp32"},
                       "serve": {"adapters_mib": adapters_mib}}, f)
        reports, self.write_end = os.pipe()
        self.process = subprocess.Popen(
            [os.path.join(build, "tailor-trainer"), "serve", "--spec", spec, "--out", work, "--report-fd",
             str(self.write_end), "--threads", str(threads)], cwd=work, stdin=subprocess.PIPE,
            pass_fds=[self.write_end])
        os.close(self.write_end)
        self.reports = os.fdopen(reports)
        self.next, self.waiting, self.lock = 0, {}, threading.Lock()
        line = json.loads(self.reports.readline())
        if line["type"] != "running":
            raise SystemExit(f"it does not serve: {line}")
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self):
        for line in self.reports:
            reply = json.loads(line)
            if reply["type"] == "scores":
                with self.lock:
                    place = self.waiting.pop(reply["id"])
                place.append(reply)
                place[0].set()

    def ask(self, adapter, rows):
        place = [threading.Event()]
        with self.lock:
            self.next += 1
            number = self.next
            self.waiting[number] = place
            self.process.stdin.write((json.dumps({"id": number, "adapter": adapter, "rows": rows}) + "\n").encode())
            self.process.stdin.flush()
        place[0].wait(120)
        if len(place) < 2 or "results" not in place[1]:
            raise SystemExit(f"no answer: {place[1:]}")
        return [r["score"] for r in place[1]["results"]]

    def memory_mib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(next(line for line in f if line.startswith("VmRSS")).split()[1]) // 1024

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)


def row(model, i):
    draw = random.Random(1000 * model + i)
    say = lambda: " ".join(draw.choice(WORDS) for _ in range(draw.randint(8, 40)))
    return {"prompt": say(), "response": say()}


def load(trainers, names, seconds, at_once):
    """Asks one row at a time from `at_once` threads; model i goes to its trainer. Seconds of each answer."""
    times, until = [], time.monotonic() + seconds

    def run(k):
        draw = random.Random(k)
        while time.monotonic() < until:
            model = draw.randrange(len(names))
            begun = time.monotonic()
            trainers[model % len(trainers)].ask(names[model], [row(model, draw.randrange(1000))])
            times.append(time.monotonic() - begun)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(times)


def report(what, times, seconds, trainers):
    print(f"| {what} | {len(times) / seconds:.1f} | {1e3 * times[len(times) // 2]:.0f} | "
          f"{1e3 * times[len(times) * 99 // 100]:.0f} | {sum(t.memory_mib() for t in trainers)} |", flush=True)


def check(build, trainer, names, alone_count, work):
    """All models at once; the first of them against each alone."""
    served, threads = {}, []
    for m, name in enumerate(names):
        threads.append(threading.Thread(
            target=lambda m=m, name=name: served.update({m: trainer.ask(name, [row(m, i) for i in range(3)])})))
        threads[-1].start()
    for thread in threads:
        thread.join()
    wrong, kinds = 0, set()
    for m, name in enumerate(names[:alone_count]):
        path = os.path.join(work, "rows.jsonl")
        with open(path, "w") as f:
            f.writelines(json.dumps(row(m, i)) + "\n" for i in range(3))
        said = subprocess.run([os.path.join(build, "tailor-trainer"), "score", os.path.join(work, name), path],
                              check=True, capture_output=True, text=True).stdout
        alone = [json.loads(line)["score"] for line in said.splitlines()]
        kinds.add(alone[0])
        if alone != served[m]:
            wrong += 1
            print(f"model {m}: expected {alone}, got {served[m]}")
    print(f"{len(names)} models in one process, {3 * len(names)} texts: of {alone_count} that were asked alone too, "
          f"{wrong} with other bits; {len(kinds)} different first rewards")
    return wrong == 0 and len(kinds) > alone_count // 2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("base")
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--open", type=int, default=16)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--alone", type=int, default=100, help="so many models are asked alone too")
    parser.add_argument("--adapters-mib", type=int, default=1024)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    base, build = os.path.abspath(given.base), os.path.abspath(given.build)
    work, trainers = tempfile.mkdtemp(prefix="serve_bench."), []
    try:
        names = make_models(train(build, base, work), base, given.models, work)
        size = os.path.getsize(os.path.join(work, names[0], "adapter_model.safetensors"))
        print(f"room for {given.adapters_mib * 2**20 // size} adapters of {size >> 10} KiB", flush=True)
        trainers = [Trainer(build, base, work, os.cpu_count(), given.adapters_mib)]
        good = check(build, trainers[0], names, min(given.alone, given.models), work)
        if not given.check:
            print(f"| {given.models} models, {given.open} requests of one text open | requests/s | p50 ms | p99 ms | "
                  "MiB |\n|---|---|---|---|---|")
            report("one process, all models", load(trainers, names, given.seconds, given.open), given.seconds, trainers)
            trainers.pop().end()
            count = given.processes
            trainers = [Trainer(build, base, work, 1) for _ in range(count)]
            report(f"one model a process, {count} models in {count} processes",
                   load(trainers, names[:count], given.seconds, given.open), given.seconds, trainers)
        sys.exit(0 if good else 1)
    finally:
        for trainer in trainers:
            trainer.end()
        shutil.rmtree(work, ignore_errors=True)


main()
