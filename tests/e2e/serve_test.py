#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A serve job over one general model, adapters of two tenants, a real tailord, tailor-worker and trainer: rewards have
the bits of `tailor model score`, whoever is beside; a tenant scores with its own models only; a killed trainer, a
queue that is full and a model that nothing serves get clean answers.

    tests/e2e/serve_test.py BUILD_DIR [WORD]
"""
import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import api
from api import expect, expect_in, failures, must, tokens, upload, upload_directory

MODEL = "/v1/tenants/{}/models/{}/versions/{}:score"
state = {}


# ---- models ----------------------------------------------------------------------------------------------------------

def wait_for(job, states, token):
    until = time.time() + api.WAIT_S
    while time.time() < until:
        row = must("GET", f"/v1/jobs/{job}", token)
        if row["state"] in states:
            return row
        time.sleep(0.05)
    raise SystemExit(f"{job} is {row['state']}: {row}")


def train(tenant, spec, token):
    job = must("POST", "/v1/jobs", token, {"spec": spec, "tenant": tenant})["job"]["id"]
    row = wait_for(job, ("succeeded", "failed", "cancelled"), token)
    if row["state"] != "succeeded":
        raise SystemExit(f"{spec['stage']} of {tenant} has {row['state']}: {row.get('failure_message')}")


def add_data(tenant, name, path, token):
    with open(path, "rb") as f:
        digest = upload(tenant, f.read(), token)
    job = must("POST", f"/v1/tenants/{tenant}/datasets/{name}", token, {"digest": digest, "file": name})["job_id"]
    wait_for(job, ("succeeded",), token)


def fetch_model(manifest, into):
    """The files of a manifest, below into/DIGEST, from the store's own folder."""
    directory = os.path.join(into, manifest)
    if os.path.isdir(directory):
        return directory
    os.makedirs(directory)
    for file in json.loads(blob(manifest))["files"]:
        os.makedirs(os.path.dirname(os.path.join(directory, file["name"])), exist_ok=True)
        with open(os.path.join(directory, file["name"]), "wb") as f:
            f.write(blob(file["digest"]))
    return directory


def blob(digest):
    for tenant in ("acme", "globex", "cluster"):
        data, code = b"", 200
        while code == 200:
            code, headers, part = api.server.call(
                "GET", f"/v1/tenants/{tenant}/blobs/{digest}/content?offset={len(data)}&bytes=1000000", tokens["admin"])
            part = json.dumps(part).encode() if isinstance(part, (dict, list)) else part
            data += part if code == 200 else b""
            if code == 200 and len(part) < 1000000:
                return data
    raise SystemExit(f"no blob {digest}")


def offline(tenant, model, rows):
    """What `tailor model score` says of the rows."""
    into = os.path.join(api.server.data, "models")
    version = must("GET", f"/v1/tenants/{tenant}/models/{model}/versions/1", tokens["admin"])
    directory = fetch_model(version["manifest"], into)
    if version.get("adapter"):
        fetch_model(version["parent_digest"], into)
    path = os.path.join(api.server.data, "rows.jsonl")
    scores = []
    for row in rows:  # one form a file
        with open(path, "w") as f:
            f.write(json.dumps(row) + "\n")
        said = subprocess.run([os.path.join(sys.argv[1], "tailor-trainer"), "score", directory, path],
                              capture_output=True, text=True)
        line = json.loads(said.stdout or '{"scores": ["' + said.stderr.strip() + '"]}')
        scores += line["scores"] if "scores" in line else [line["score"]]
    return scores


# ---- a service with models in it ---------------------------------------------------------------------------------------

def customize(tenant, name, rank, data, token):
    train(tenant, {"stage": "customize", "from": "acme/general@1", "data": {"train": data, "enrich": {"share": 0}},
                   "adapter": {"type": "lora", "r": rank}, "train": {"batch_groups": 4, "max_steps": 3,
                   "learning_rate": 1e-2, "seed": rank}, "output": {"model": name}}, token)


def start_worker(join=True):
    words = ["--join", must("POST", "/v1/workers:join-token", tokens["admin"])["token"]] if join else []
    with open(os.path.join(api.server.data, "worker.log"), "a") as log:
        state["worker"] = subprocess.Popen(
            [os.path.join(sys.argv[1], "tailor-worker"), "--data", os.path.join(api.server.data, "worker"), *words,
             "--slots", "2"], stdout=log, stderr=log)


def test_a_models_are_made():
    start_worker()
    data = os.path.join(api.server.data, "sample")
    subprocess.run([sys.executable, os.path.join(api.ROOT, "deploy", "sample_data.py"), "--out", data], check=True,
                   stdout=subprocess.DEVNULL)
    base = os.path.join(api.ROOT, "tests/golden/data/models/tiny-llama/base")
    must("POST", "/v1/bases", tokens["admin"],
         {"name": "llama", "manifest": upload_directory("cluster", base, tokens["admin"])})
    add_data("acme", "hh", os.path.join(data, "general.train.jsonl"), tokens["submitter"])
    add_data("acme", "law", os.path.join(data, "lawyers.train.jsonl"), tokens["submitter"])
    add_data("globex", "law", os.path.join(data, "lawyers.train.jsonl"), tokens["foreign_submitter"])
    train("acme", {"stage": "general", "from": "llama", "data": {"train": "hh", "eval": [{"split": 0.2}]},
                   "train": {"batch_groups": 4, "max_steps": 4, "learning_rate": 1e-3},
                   "model": {"template": "dsp", "max_length": 160, "overlong": "truncate_left"},
                   "output": {"model": "general"}}, tokens["submitter"])
    must("POST", "/v1/tenants/acme/shares", tokens["tenant_admin"],
         {"kind": "model", "name": "general", "grantee": "globex", "right": "use"})
    customize("acme", "support", 4, "law", tokens["submitter"])
    customize("globex", "sales", 2, "law", tokens["foreign_submitter"])


def score(tenant, model, body, token, version="1"):
    return api.server.call("POST", MODEL.format(tenant, model, version), tokens[token], body)


ROWS = [{"prompt": "May I open the letter?", "response": "No. It is not yours."},
        {"prompt": "May I open the letter?", "response": "Of course, go ahead, nobody will mind at all."},
        {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]},
        {"text": "## Human:\nHow?\n\n## Assistant:\nSo."},
        {"prompt": "Which is better?", "chosen": "This one.", "rejected": "That one, " + "really " * 400}]


# ---- the tests ---------------------------------------------------------------------------------------------------------

def test_b_what_nothing_serves_says_which_command_starts_it():
    code, _, reply = score("acme", "support", {"texts": ["x"]}, "submitter")
    expect(409, code, "a model that nothing serves")
    expect("tailor serve acme/general@1", reply["error"].get("hint"), "what to type")
    expect_in("acme/support@1, an adapter over acme/general@1", reply["error"]["message"], "the sentence")


def test_c_a_serve_job_starts_and_runs():
    job = must("POST", "/v1/jobs", tokens["submitter"], {"spec": {"stage": "serve", "from": "general@1"}})["job"]["id"]
    state["job"] = job
    expect("running", wait_for(job, ("running", "failed"), tokens["submitter"])["state"], "the serve job")


def test_d_rewards_have_the_bits_of_model_score():
    for tenant, model, token in (("acme", "support", "submitter"), ("globex", "sales", "foreign_submitter"),
                                 ("acme", "general", "submitter")):
        code, _, reply = score(tenant, model, {"rows": ROWS}, token)
        expect(200, code, f"{model}: {reply}")
        expect(offline(tenant, model, ROWS), [r.get("score") for r in reply["results"]], f"rewards of {model}")
        expect(f"{tenant}/{model}@1", reply["model"], "the version that was meant")
        expect([False, False, False, False, False, True], [r["truncated"] for r in reply["results"]], "truncated")
        expect([0, 1, 2, 3, 4, 4], [r["row"] for r in reply["results"]], "whose row")


def test_e_whoever_is_beside_changes_no_bit():
    alone = {m: offline(t, m, ROWS) for t, m in (("acme", "support"), ("globex", "sales"))}
    expect(True, alone["support"] != alone["sales"], "two models differ")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        asked = [("acme", "support", "submitter"), ("globex", "sales", "foreign_submitter")] * 40
        for (tenant, model, _), (code, _, reply) in zip(
                asked, pool.map(lambda a: score(a[0], a[1], {"rows": ROWS}, a[2]), asked)):
            expect(200, code, f"{model}: {str(reply)[:200]}")
            if code == 200:
                expect(alone[model], [r["score"] for r in reply["results"]], f"rewards of {model} beside others")


def test_f_openrlhf_and_texts_are_answered_in_their_form():
    texts = [ROWS[3]["text"], ROWS[3]["text"] + " Not."]
    code, _, reply = score("acme", "support", {"query": texts, "prompts": ["a", "b"]}, "submitter")
    expect(200, code, reply)
    expect(offline("acme", "support", [{"text": t} for t in texts]), reply["rewards"], "rewards")
    expect(reply["rewards"], [r["score"] for r in score("acme", "support", {"texts": texts}, "submitter")[2]["results"]],
           "the same as texts")


def client(token, *words, code=0):
    environment = {**os.environ, "TAILOR_SERVER": f"http://{api.server.host}:{api.server.port}",
                   "TAILOR_TOKEN": tokens[token], "HOME": api.server.data}
    said = subprocess.run([os.path.join(sys.argv[1], "tailor"), *words], capture_output=True, text=True,
                          env=environment)
    expect(code, said.returncode, f"tailor {' '.join(words)}: {said.stderr}")
    return said.stdout + said.stderr


def test_f_the_command_line_prints_what_it_prints_of_a_directory():
    path = os.path.join(api.server.data, "answers.jsonl")
    lines = [{"prompt": f"May I, {i}?", "response": "No. " * (1 + i)} for i in range(150)]
    with open(path, "w") as f:
        f.writelines(json.dumps(line) + "\n" for line in lines)
    version = must("GET", "/v1/tenants/acme/models/support/versions/1", tokens["submitter"])
    directory = fetch_model(version["manifest"], os.path.join(api.server.data, "models"))
    of_directory = client("submitter", "model", "score", directory, path)
    of_service = client("submitter", "model", "score", "acme/support@1", path)
    expect(150, len(of_directory.splitlines()), "its lines")
    numbers = lambda text: [json.loads(line) for line in text.splitlines()]
    expect(numbers(of_directory), numbers(of_service), "the lines of the service")
    expect_in("tailor model score", client("submitter", "serve", "--help"), "the help of tailor serve")
    expect_in("there is no model", client("foreign_submitter", "model", "score", "acme/support@1", path, code=3),
              "another tenant's model")
    expect_in("the service would take this job", client("submitter", "serve", "general@1", "--dry-run", "--tenant",
                                                        "acme"), "a dry run")


def test_g_a_calibrated_probability_is_of_the_responses_of_a_row():
    results = score("acme", "general", {"rows": ROWS}, "submitter")[2]
    expect(True, results["temperature"] > 0, "the general model was evaluated")
    expect([False] * 4 + [True] * 2, ["probability" in r for r in results["results"]], "which have one")
    expect(1.0, round(sum(r.get("probability", 0) for r in results["results"]), 12), "their sum")
    manifest = must("GET", "/v1/tenants/acme/models/general/versions/1", tokens["submitter"])["manifest"]
    must("POST", "/v1/tenants/acme/models/bought", tokens["submitter"], {"manifest": manifest})
    bought = score("acme", "bought", {"rows": ROWS}, "submitter")[2]
    expect([r["score"] for r in results["results"]], [r["score"] for r in bought["results"]], "the same weights")
    expect(False, "temperature" in bought or any("probability" in r for r in bought["results"]),
           "a model without evaluation has no calibration")


def test_h_a_tenant_scores_with_its_own_models_and_what_it_may_use():
    for token, tenant, model, code in (
            ("submitter", "globex", "sales", 404), ("foreign_submitter", "acme", "support", 404),
            ("foreign_submitter", "acme", "nothing", 404), ("foreign_submitter", "acme", "general", 200),
            ("viewer", "acme", "support", 403), ("admin", "globex", "sales", 200)):
        got, _, reply = score(tenant, model, {"texts": ["x"]}, token)
        expect(code, got, f"{model} of {tenant} as {token}: {reply}")
    theirs = score("acme", "support", {"texts": ["x"]}, "foreign_submitter")[2]["error"]["message"]
    nothing = score("acme", "nothing", {"texts": ["x"]}, "foreign_submitter")[2]["error"]["message"]
    expect(nothing.replace("nothing", "support"), theirs, "another's model and none")


def test_h_an_adapter_from_outside_is_served_and_started_from():
    into = os.path.join(api.server.data, "models")
    version = must("GET", "/v1/tenants/acme/models/support/versions/1", tokens["submitter"])
    directory = os.path.join(api.server.data, "outside")
    shutil.copytree(fetch_model(version["manifest"], into), directory)
    for name, named in (("tailor.json", lambda card: card["parent"].update(path="/where/it/was/trained")),
                        ("adapter_config.json", lambda card: card.update(base_model_name_or_path="/where/it/was/trained"))):
        with open(os.path.join(directory, name), "r+") as f:
            card = json.load(f)
            named(card)
            f.seek(0)
            f.truncate()
            json.dump(card, f)
    expect_in("--parent NAME@VERSION", client("submitter", "model", "add", "adopted", directory, "--tenant", "acme",
                                              code=2), "an adapter alone")
    expect_in("--parent: there is no model", client("submitter", "model", "add", "adopted", directory, "--tenant", "acme", "--parent",
                                 "acme/none@1", code=3), "a parent that is not there")
    code, _, reply = api.server.call("POST", "/v1/tenants/acme/models/adopted", tokens["submitter"],
                                     {"manifest": version["manifest"], "parent": "globex/sales@1"})
    expect((404, True), (code, "parent: there is no model" in str(reply)), f"a parent of another tenant: {reply}")
    client("submitter", "model", "add", "adopted", directory, "--tenant", "acme", "--parent", "general@1")
    row = must("GET", "/v1/tenants/acme/models/adopted/versions/1", tokens["submitter"])
    expect(("acme/general@1", True), (row.get("parent"), row.get("adapter")), "what is recorded")
    code, _, reply = score("acme", "adopted", {"rows": ROWS}, "submitter")
    expect(200, code, reply)
    expect(offline("acme", "support", ROWS), [r.get("score") for r in reply["results"]], "the bits of where it is from")
    train("acme", {"stage": "evaluate", "from": "adopted", "data": {"eval": "law"}}, tokens["submitter"])
    train("acme", {"stage": "customize", "from": "adopted", "data": {"train": "law", "enrich": {"share": 0}},
                   "adapter": {"type": "lora", "r": 2}, "train": {"batch_groups": 4, "max_steps": 1},
                   "output": {"model": "further"}}, tokens["submitter"])
    expect(409, api.server.call("DELETE", "/v1/tenants/acme/models/general", tokens["tenant_admin"])[0],
           "the parent goes while adapters stand on it")


def test_i_mistakes_are_named():
    for body, code, words in (({}, 400, "give one of them"), ({"texts": ["a"], "rows": ROWS}, 400, "give one of them"),
                              ({"rows": [{"prompt": "a"}]}, 400, "row 0: no known form"),
                              ({"texts": ["x"] * 257}, 400, "256"), ({"texts": ["y" * 1100000]}, 413, "")):
        got, _, reply = score("acme", "support", body, "submitter")
        expect(code, got, f"{str(body)[:40]}: {reply}")
        expect_in(words, reply["error"]["message"], str(body)[:40])


def trainer_pid():
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
            if len(words) > 1 and words[1] == b"serve" and os.readlink(f"/proc/{pid}/cwd").startswith(api.server.data):
                return int(pid)
        except OSError:
            pass
    raise SystemExit("no trainer serves")


def test_j_a_queue_that_is_full_says_429_and_when_to_come_again():
    os.kill(trainer_pid(), signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        asked = [pool.submit(score, "acme", "support", {"texts": ["x"]}, "submitter") for _ in range(48)]
        time.sleep(1)
        early = [a.result() for a in asked if a.done()]
        os.kill(trainer_pid(), signal.SIGCONT)
        all_codes = sorted(a.result()[0] for a in asked)
    expect({429}, {code for code, _, _ in early}, "what is answered while nothing is computed")
    expect([200] * 32 + [429] * 16, all_codes, "as many as may wait for a tenant, and the rest")
    expect({"1"}, {headers.get("Retry-After") for _, headers, _ in early}, "Retry-After")


def test_k_a_killed_trainer_costs_a_clean_503_and_comes_back():
    os.kill(trainer_pid(), signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(score, "acme", "support", {"texts": ["x"]}, "submitter") for _ in range(8)]
        time.sleep(0.5)
        os.kill(trainer_pid(), signal.SIGKILL)
        replies = [a.result() for a in asked]
    expect({503}, {code for code, _, _ in replies}, "those that were on their way")
    expect(True, all(headers.get("Retry-After") for _, headers, _ in replies), "Retry-After of each")
    expect_in("lost its process", replies[0][2], "the sentence")
    until, code = time.time() + api.WAIT_S, 503
    while code == 503 and time.time() < until:
        code, _, reply = score("acme", "support", {"rows": ROWS}, "submitter")
        time.sleep(0.1)
    expect(200, code, f"after the restart: {reply}")
    expect(offline("acme", "support", ROWS), [r["score"] for r in reply["results"]], "the same bits")


def test_l_a_serve_job_leaves_a_worker_that_drains():
    worker = must("GET", "/v1/workers", tokens["admin"])["workers"][0]["id"]
    must("POST", f"/v1/workers/{worker}:drain", tokens["admin"])
    expect("queued", wait_for(state["job"], ("queued",), tokens["submitter"])["state"], "the serve job")
    code, headers, reply = score("acme", "support", {"texts": ["x"]}, "submitter")
    expect((503, "5"), (code, headers.get("Retry-After")), f"meanwhile: {reply}")
    must("POST", f"/v1/workers/{worker}:undrain", tokens["admin"])
    wait_for(state["job"], ("running",), tokens["submitter"])
    expect(200, score("acme", "support", {"texts": ["x"]}, "submitter")[0], "and comes back")


def test_m_a_killed_worker_is_noticed_before_the_patience_is_over():
    os.kill(trainer_pid(), signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        begun = time.monotonic()
        asked = [pool.submit(score, "acme", "support", {"texts": ["x"]}, "submitter") for _ in range(4)]
        time.sleep(0.5)
        state["worker"].kill()
        state["worker"].wait()
        replies = [a.result() for a in asked]
        seconds = time.monotonic() - begun
    expect({503}, {code for code, _, _ in replies}, "those that were on their way")
    expect(True, seconds < 25, f"answered after {seconds:.0f} s, a worker is lost after 10, the patience is 30")
    start_worker(join=False)
    wait_for(state["job"], ("running",), tokens["submitter"])
    expect(200, score("acme", "support", {"texts": ["x"]}, "submitter")[0], "after the worker's restart")


def test_n_it_ends_when_it_is_cancelled():
    must("POST", f"/v1/jobs/{state['job']}:cancel", tokens["submitter"])
    wait_for(state["job"], ("cancelled",), tokens["submitter"])
    expect(409, score("acme", "support", {"texts": ["x"]}, "submitter")[0], "nothing serves it again")
    state["worker"].send_signal(signal.SIGTERM)
    expect(0, state["worker"].wait(api.WAIT_S), "the worker's exit code")


def test_zz_a_coordinator_that_stops_answers_what_is_on_its_way():
    start_worker(join=False)
    job = must("POST", "/v1/jobs", tokens["submitter"], {"spec": {"stage": "serve", "from": "general@1"}})["job"]["id"]
    wait_for(job, ("running",), tokens["submitter"])
    os.kill(trainer_pid(), signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(score, "acme", "support", {"texts": ["x"]}, "submitter") for _ in range(4)]
        time.sleep(0.5)
        expect(0, api.server.stop(), "the coordinator's exit code")
        expect({503}, {a.result()[0] for a in asked}, "those that were on their way")


try:
    api.run(globals())
finally:
    if "worker" in state:
        state["worker"].kill()
