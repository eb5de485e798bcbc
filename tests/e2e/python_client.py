# SPDX-License-Identifier: Apache-2.0
"""What python_client_test.sh runs: asserts, in the order in which a program would do it."""
import os
import signal
import subprocess
import sys
import threading
import time

import tailor

service = sys.argv[1]
client = tailor.Client()
assert client.tenant == "local" and client.token.startswith("tlr_"), "the command line's profile"

added = client.dataset_add("general", "data/general.train.jsonl")
assert added["state"] == "accepted", added
client.dataset_add("general-test", "data/general.test.jsonl")
assert client.upload("data/general.train.jsonl") == added["digest"], "a second upload sends nothing and has the digest"
open("empty.jsonl", "w").close()
assert client.upload("empty.jsonl").startswith("e3b0c442"), "an empty file"

spec = {"stage": "general", "from": "tiny", "data": {"train": ["general"], "eval": ["general-test"]}, "output": {"model": "hh"},
        "train": {"batch_groups": 4, "max_steps": 30, "learning_rate": 1e-3}, "model": {"template": "dsp", "max_length": 160},
        "evaluate": {"every_steps": 10, "max_pairs": 40}}
first = client.submit(spec, key="once")
assert client.submit(spec, key="once")["id"] == first["id"], "a key makes one job"
steps = [point["step"] for point in client.metrics(first["id"], follow=True) if "loss" in point["values"]]
assert steps == list(range(1, 31)), f"each point once, in order: {steps}"
done = client.wait(first["id"])
assert done["state"] == "succeeded", done
assert [p["step"] for p in client.metrics(first["id"]) if "loss" in p["values"]] == steps, "the same as a list"
assert any("30 steps" in line["text"] for line in client.logs(first["id"])), "its log"
assert client.model("hh@1")["job_id"] == first["id"], "its model"
assert client.promote("hh@1", "prod")["aliases"][0]["name"] == "prod", "an alias"
assert first["id"] in [job["id"] for job in client.jobs(state="succeeded", stage="general")], "jobs by state"

# A wait and a stream go on over a coordinator that is killed.
long = client.submit({**spec, "train": {**spec["train"], "max_steps": 400}})
numbers = []
reader = threading.Thread(target=lambda: numbers.extend(e["number"] for e in tailor.Client().events(job=long["id"])))
reader.start()
time.sleep(1)
with open(os.path.join(service, "tailord.pid")) as file:
    os.kill(int(file.read()), signal.SIGKILL)
subprocess.run(["tailor", "up", "--workers", "2", "--data", service, "-q"], check=True, stdout=subprocess.DEVNULL)
assert client.wait(long["id"])["state"] == "succeeded", "the job ends as if nothing had been"
reader.join()
assert numbers == [e["number"] for e in client._list(f"/v1/jobs/{long['id']}/events", "events", {})], "no event lost or repeated"

# Scores.
serve = client.submit({"stage": "serve", "from": "hh@prod"})
rows = [{"prompt": "Help me.", "response": "Gladly."}, {"prompt": "Help me.", "chosen": "Yes.", "rejected": "No."}]
end = time.monotonic() + 60
while True:
    try:
        scores = client.score("hh@prod", rows)
        break
    except tailor.Error as error:
        assert error.status in (409, 503) and time.monotonic() < end, error
        time.sleep(0.3)
assert [(s["row"], s["response"]) for s in scores] == [(0, 0), (1, 0), (1, 1)], scores
assert all(isinstance(s["score"], float) for s in scores), scores
assert client.cancel(serve["id"])["id"] == serve["id"]

# Mistakes.
for what, status, words in ((lambda: client.job("j-999"), 404, "no job"), (lambda: client.submit({**spec, "stag": 1}), 400, "stage"),
                            (lambda: client.model("nothing@1"), 404, "no model")):
    try:
        what()
        raise SystemExit(f"{words}: it was taken")
    except tailor.Error as error:
        assert error.status == status and words in str(error), (status, words, error.status, str(error))
try:
    client.wait(client.submit({**spec, "train": {**spec["train"], "max_steps": 1000000}})["id"], timeout_s=1)
    raise SystemExit("a wait that cannot end has ended")
except TimeoutError:
    pass
print("ok", len(steps), "points,", len(numbers), "events")
