#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of a real tailord: every route with every kind of token, bad requests byte by byte, idempotency,
cursors, uploads, references, streams. Standard library only.

    tests/e2e/http_test.py BUILD_DIR [WORD]     runs the tests whose names contain WORD
"""
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

WAIT_S = 120  # a busy machine is slow; nothing here measures time
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Server:
    def __init__(self, build):
        self.program = os.path.join(build, "tailord")
        self.data = tempfile.mkdtemp(prefix="http_test.")
        self.log = os.path.join(self.data, "log")
        self.start()

    def start(self):
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [self.program, "--data", os.path.join(self.data, "d"), "--http", "127.0.0.1:0",
                 "--workers", "127.0.0.1:0"], stdout=log, stderr=log)
        until = time.time() + WAIT_S
        while time.time() < until and self.process.poll() is None:
            with open(self.log) as log:
                found = re.search(r"listening for people on ([\d.]+):(\d+)", log.read())
            token = os.path.join(self.data, "d", "admin-token")
            if found and os.path.exists(token):
                self.host, self.port = found.group(1), int(found.group(2))
                with open(token) as f:
                    self.admin = f.read()
                return
            time.sleep(0.05)
        self.process.kill()
        raise SystemExit("tailord does not start: " + open(self.log).read())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def call(self, method, path, token=None, body=None, headers=None):
        """Returns (status, headers, parsed body or text)."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=WAIT_S)
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = "Bearer " + token
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if response.getheader("Content-Type", "").startswith("application/json") and text:
            text = json.loads(text)
        return response.status, response.headers, text

    def raw(self, data, half_close=False):
        """Sends bytes as they are; returns the first line of the answer, or '' when the server hangs up."""
        with socket.create_connection((self.host, self.port), timeout=WAIT_S) as s:
            try:
                s.sendall(data)
                if half_close:
                    s.shutdown(socket.SHUT_WR)
                answer = b""
                while b"\r\n" not in answer:
                    part = s.recv(65536)
                    if not part:
                        break
                    answer += part
            except (ConnectionResetError, BrokenPipeError):
                return ""
        return answer.split(b"\r\n")[0].decode("latin1")


server = None
tokens = {}
failures = []


def expect(expected, got, what):
    if expected != got:
        failures.append(f"{what}: expected {expected!r}, got {got!r}")


def expect_in(needle, text, what):
    if needle not in str(text):
        failures.append(f"{what}: expected something with {needle!r}, got {str(text)[:300]!r}")


def must(method, path, token, body=None, headers=None, code=(200, 201)):
    status, _, reply = server.call(method, path, token, body, headers)
    if status not in code:
        failures.append(f"{method} {path}: expected {code}, got {status} {str(reply)[:300]}")
    return reply


def upload(tenant, data, token, chunk=8 << 20):
    digest = hashlib.sha256(data).hexdigest()
    for offset in range(0, max(len(data), 1), chunk):
        must("PUT", f"/v1/tenants/{tenant}/blobs/{digest}?offset={offset}&bytes={len(data)}", token,
             data[offset:offset + chunk])
    return digest


def set_up():
    """Two tenants, a token of each role, a base, a dataset, a manifest."""
    tokens["admin"] = server.admin
    for tenant in ("acme", "globex"):
        must("POST", "/v1/tenants", server.admin, {"name": tenant})
        for role in ("viewer", "submitter", "tenant_admin"):
            reply = must("POST", "/v1/tokens", server.admin, {"name": role.replace("_", "-"), "role": role,
                                                              "tenant": tenant})
            tokens[role if tenant == "acme" else "foreign_" + role] = reply["secret"]
    weights = upload("cluster", b"weights", server.admin)
    manifest = upload("cluster", json.dumps({"kind": "files", "files": [
        {"name": "model.safetensors", "digest": weights, "bytes": 7}]}).encode(), server.admin)
    data = upload("acme", b'{"prompt":"a","chosen":"b","rejected":"c"}\n', tokens["submitter"])
    # Before there is a base, so that no worker is needed to judge them.
    for name in ("tickets", "used"):
        must("POST", f"/v1/tenants/acme/datasets/{name}", tokens["submitter"], {"digest": data, "file": "t.jsonl"})
    must("POST", "/v1/bases", server.admin, {"name": "tiny", "manifest": manifest})
    tokens["base_manifest"], tokens["data"] = manifest, data


def spec(**more):
    return {"stage": "general", "from": "tiny", "data": {"train": "tickets"}, "output": {"model": "support"},
            **more}


def submit(token=None, code=(200, 201), headers=None, **more):
    return must("POST", "/v1/jobs", token or tokens["submitter"], {"spec": spec(**more)}, headers, code)


# ---- routes and roles -------------------------------------------------------------------------------------

RANK = {"viewer": 1, "submitter": 2, "tenant_admin": 3, "admin": 4}


def routes():
    """(method, path, role) of each row of the table, with things in its path that are not there."""
    with open(os.path.join(ROOT, "proto", "routes.def")) as f:
        rows = re.findall(r'^ROUTE\((\w+), (\w+), "([^"]+)", \w+, \w+, (\w+), (\w+)', f.read(), re.M)
    for name, method, path, role, body in rows:
        path = path.replace("{tenant}", "acme").replace("{name}", "nothing").replace("{version}", "9")
        path = path.replace("{digest}", "0" * 64)
        path = re.sub(r"\{id\}", {"JOB": "j-999", "BAT": "b-999", "TOK": "t-999", "WOR": "w-999"}.get(name[:3], "1"),
                      path)
        yield name, method, path, role, body


def test_every_route_refuses_who_has_no_token_or_too_little_of_one():
    seen = 0
    for name, method, path, role, body in routes():
        if role == "NONE":
            code, body = (401, {}) if name == "LOGIN" else (200, None)  # a code stands in the place of a token
            expect(code, server.call(method, path, body=body)[0], f"{name} without a token")
            continue
        code, headers, reply = server.call(method, path)
        if code == 501:
            continue
        seen += 1
        expect(401, code, f"{name} without a token")
        expect("Bearer", headers.get("WWW-Authenticate"), f"{name}'s WWW-Authenticate")
        expect("unauthenticated", reply["error"]["code"], f"{name} without a token")
        expect(401, server.call(method, path, "tlr_" + "0" * 64)[0], f"{name} with a wrong token")
        for holder, rank in RANK.items():
            if rank < RANK[role.lower()]:
                code, _, reply = server.call(method, path, tokens[holder])
                expect(403, code, f"{name} as {holder}")
                expect_in(role.lower(), reply, f"{name} as {holder} names the role")
    if seen < 50:
        failures.append(f"only {seen} routes were tried")


def test_other_methods_are_405_and_say_which_there_are():
    for path, method in (("/v1/jobs", "PUT"), ("/v1/cluster", "POST"), ("/healthz", "DELETE"), ("/v1/jobs", "PATCH")):
        code, headers, reply = server.call(method, path, tokens["admin"])
        expect(405, code, f"{method} {path}")
        expect_in("GET", headers.get("Allow"), f"{method} {path}: Allow")
        expect("method_not_allowed", reply["error"]["code"], f"{method} {path}")


def test_head_has_the_length_and_no_body():
    code, headers, text = server.call("HEAD", "/v1/cluster", tokens["viewer"])
    expect(200, code, "HEAD")
    expect(b"", text, "HEAD's body")
    expect(True, int(headers["Content-Length"]) > 2, "HEAD's length")


def test_foreign_things_are_not_found_like_unknown_ones():
    job = submit()["job"]["id"]
    foreign = tokens["foreign_tenant_admin"]
    for method, path in (("GET", f"/v1/jobs/{job}"), ("GET", f"/v1/jobs/{job}/events"),
                         ("GET", f"/v1/jobs/{job}/logs"), ("GET", f"/v1/jobs/{job}/metrics?follow=true"),
                         ("GET", f"/v1/jobs/{job}/attempts"), ("GET", f"/v1/jobs/{job}/checkpoints"),
                         ("POST", f"/v1/jobs/{job}:cancel"), ("POST", f"/v1/jobs/{job}:retry"),
                         ("GET", "/v1/tenants/acme"), ("GET", "/v1/tenants/acme/datasets/tickets"),
                         ("DELETE", "/v1/tenants/acme/datasets/tickets"), ("GET", "/v1/tenants/acme/shares"),
                         ("GET", f"/v1/tenants/acme/blobs/{tokens['data']}"), ("GET", "/v1/jobs?tenant=acme"),
                         ("GET", f"/v1/tenants/acme/blobs/{tokens['data']}/content"),
                         ("GET", "/v1/tokens?tenant=acme"), ("GET", "/v1/usage?tenant=acme")):
        code, _, reply = server.call(method, path, foreign)
        expect(404, code, f"{method} {path} of another tenant")
    listed = must("GET", "/v1/jobs?limit=1000", foreign)["jobs"]
    expect([], [j for j in listed if j["tenant"] != "globex"], "acme's jobs in globex's list")
    mine = server.call("GET", f"/v1/jobs/{job}", foreign)[2]["error"]["message"].replace(job, "ID")
    none = server.call("GET", "/v1/jobs/j-99999", foreign)[2]["error"]["message"].replace("j-99999", "ID")
    expect(none, mine, "the sentence for a foreign id and an unknown one")
    expect("queued", must("GET", f"/v1/jobs/{job}", tokens["viewer"])["state"], "the job, untouched")


# ---- bad requests ------------------------------------------------------------------------------------------

def test_paths_and_queries_that_no_client_of_good_will_sends():
    for path, code in (("/v1/jobs/j-1%2fevents", 400), ("/v1/jobs/%00", 400), ("/v1/jobs/..", 400),
                       ("/v1//jobs", 400), ("/v1/jobs/%zz", 400), ("/v1/jobs/" + "a" * 2000, 400),
                       ("/nothing", 404), ("/v1/jobs/17x", 400), ("/v1/jobs?stat=queued", 400),
                       ("/v1/jobs?limit=0", 400), ("/v1/jobs?limit=1001", 400), ("/v1/jobs?state=asleep", 400),
                       ("/v1/jobs?limit=1&limit=2", 400), ("/v1/jobs?label=x", 400), ("/v1/jobs/j-1/logs?format=csv", 422)):
        got, _, reply = server.call("GET", path, tokens["viewer"])
        expect(code, got, f"GET {path[:60]}")
        expect(True, bool(reply["error"]["request_id"]), f"GET {path[:60]} has a request id")
    expect_in("state", server.call("GET", "/v1/jobs?stat=queued", tokens["viewer"])[2], "the nearest right name")


def test_bodies_that_are_no_request():
    token = tokens["submitter"]
    for body, code in (("{", 400), ("[]", 400), ("null", 400), ('{"spec":{},"spec":{}}', 400), ('{"spc":{}}', 400),
                       ("{}", 400), ("[" * 200000, 413), ('{"spec":"text"}', 400), ('{"spec_text":"a: [b"}', 400),
                       ('{"spec_text":"stage: general"}', 400), (b"\xff\xfe", 400),
                       ('{"spec_text":"' + "x" * (3 << 20) + '"}', 413)):
        got, _, reply = server.call("POST", "/v1/jobs", token, body)
        expect(code, got, f"POST /v1/jobs {str(body)[:40]}")
        expect(True, "message" in reply["error"], f"POST /v1/jobs {str(body)[:40]} says why")
    expect(400, server.call("GET", "/v1/jobs", token, "{}")[0], "a GET with a body")


def test_bytes_that_are_no_http():
    auth = f"Authorization: Bearer {tokens['viewer']}\r\n".encode()
    get = b"GET /v1/cluster HTTP/1.1\r\nHost: x\r\n"
    for data, code in ((b"\r\n\r\n", "400"), (b"hello\r\n\r\n", "400"), (b"GET / HTTP/9.9\r\n\r\n", "400"),
                       (b"GET /v1/clus\0ter HTTP/1.1\r\n\r\n", "4"),
                       (get + b"X: " + b"a" * 20000 + b"\r\n\r\n", "4"),
                       (get + b"no colon\r\n" + auth + b"\r\n", "400"),
                       (b"POST /v1/jobs HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "4"),
                       (b"POST /v1/jobs HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", "413")):
        answer = server.raw(data, half_close=True)
        if answer and not answer.split(" ")[1].startswith(code):
            failures.append(f"{data[:40]!r}: expected {code} or a closed connection, got {answer!r}")
    expect("HTTP/1.1 200 OK", server.raw(get + auth + b"\r\n"), "an ordinary request on a socket of our own")


def test_clients_that_leave_in_the_middle_harm_nobody():
    for data in (b"GET /v1/jo", b"POST /v1/jobs HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc", b""):
        for _ in range(30):
            with socket.create_connection((server.host, server.port)) as s:
                s.sendall(data)
    request = (f"GET /v1/jobs HTTP/1.1\r\nAuthorization: Bearer {tokens['viewer']}\r\n\r\n" * 3).encode()
    for _ in range(30):  # answers that nobody reads
        with socket.create_connection((server.host, server.port)) as s:
            s.sendall(request)
    expect(200, server.call("GET", "/healthz")[0], "afterwards")


def test_more_connections_than_the_cap_wait_and_then_get_through():
    crowd = [socket.create_connection((server.host, server.port)) for _ in range(300)]
    for s in crowd:
        s.close()
    expect(200, server.call("GET", "/healthz")[0], "behind a crowd")


# ---- jobs --------------------------------------------------------------------------------------------------

def test_a_spec_becomes_a_job_with_digests_in_place_of_names():
    reply = submit(labels={"team": "support"}, name="first")
    job = must("GET", f"/v1/jobs/{reply['job']['id']}", tokens["viewer"])
    expect("queued", job["state"], "its state")
    expect("acme", job["tenant"], "its tenant")
    expect("tiny", job["from"], "where it starts")
    expect("sha256:" + tokens["base_manifest"], job["spec"]["from"], "from, resolved")
    expect("sha256:" + tokens["data"], job["spec"]["data"]["train"][0]["dataset"], "the data, resolved")
    expect("acme/support", job["output_model"], "the model it makes")
    expect({"team": "support"}, job["labels"], "its labels")
    expect("submitter", job["submitter"], "who submitted it")
    expect(True, reply["queue_position"] >= 1, "its place in the queue")
    yaml = "stage: general\nfrom: tiny\ndata: {train: acme/tickets@1}\noutput: {model: support}\n"
    expect(201, server.call("POST", "/v1/jobs", tokens["submitter"], {"spec_text": yaml,
                                                                      "set": ["train.seed=9"]})[0], "as YAML")


def test_a_spec_that_cannot_run_is_refused_with_the_field():
    token = tokens["submitter"]
    for more, code, text in (({"from": "huge"}, 404, "from: there is no base huge"),
                             ({"from": "globex/m"}, 404, "from"),
                             ({"data": {"train": "globex/tickets"}}, 404, "data.train[0].dataset"),
                             ({"data": {"train": "./file.jsonl"}}, 400, "path"),
                             ({"data": {"train": "sha256:" + "1" * 64}}, 404, "upload it"),
                             ({"output": {}}, 400, "output.model"),
                             ({"output": {"model": "globex/x"}}, 400, "globex"),
                             ({"output": {"model": "x@3"}}, 400, "output.model"),
                             ({"tenant": "globex"}, 404, "globex"),
                             ({"train": {"lerning_rate": 1}}, 400, "learning_rate"),
                             ({"schedule": {"after": ["j-99999"]}}, 404, "")):
        got, _, reply = server.call("POST", "/v1/jobs", token, {"spec": spec(**more)})
        expect(code, got, f"a spec with {more}")
        expect_in(text, reply, f"a spec with {more}")
    got, _, reply = server.call("POST", "/v1/jobs", tokens["admin"], {"spec": spec()})
    expect(400, got, "an admin who does not say whose job it is")


def test_a_dry_run_says_the_same_and_makes_nothing():
    before = len(must("GET", "/v1/jobs?limit=1000", tokens["viewer"])["jobs"])
    reply = must("POST", "/v1/jobs", tokens["submitter"], {"spec": spec(), "dry_run": True}, code=(200,))
    expect("sha256:" + tokens["data"], reply["job"]["spec"]["data"]["train"][0]["dataset"], "a dry run's data")
    expect(False, "id" in reply["job"], "a dry run has no id")
    expect(before, len(must("GET", "/v1/jobs?limit=1000", tokens["viewer"])["jobs"]), "jobs after a dry run")


def test_a_key_makes_one_job_however_often_it_is_sent():
    key = {"Idempotency-Key": "key-1"}
    code, _, first = server.call("POST", "/v1/jobs", tokens["submitter"], {"spec": spec()}, key)
    expect(201, code, "the first time")
    code, _, second = server.call("POST", "/v1/jobs", tokens["submitter"], {"spec": spec()}, key)
    expect(200, code, "the second time")
    expect(first["job"]["id"], second["job"]["id"], "the job")
    expect([True, False], [first["created"], second["created"]], "created")
    code, _, _ = server.call("POST", "/v1/jobs", tokens["submitter"], {"spec": spec(name="other")}, key)
    expect(409, code, "the key for another request")
    code, _, _ = server.call("POST", "/v1/jobs", tokens["submitter"], {"spec": spec()}, {"Idempotency-Key": "a b"})
    expect(400, code, "a key with a blank")
    must("POST", "/v1/tenants/globex/shares", tokens["admin"], {"kind": "dataset", "name": "none", "grantee": "acme",
                                                                "right": "use"})


def test_pages_are_read_by_cursor_and_filters_select():
    ids = [submit(labels={"page": "yes"})["job"]["id"] for _ in range(5)]
    seen, after = [], ""
    while True:
        page = must("GET", f"/v1/jobs?label=page%3Dyes&limit=2{after}", tokens["viewer"])
        seen += [job["id"] for job in page["jobs"]]
        if "next" not in page:
            break
        after = f"&after={page['next']}"
    expect(list(reversed(ids)), seen, "all pages, newest first")
    expect([], must("GET", "/v1/jobs?state=running", tokens["viewer"])["jobs"], "running jobs")


def test_jobs_are_cancelled_and_tried_again():
    job = submit()["job"]["id"]
    expect(409, server.call("POST", f"/v1/jobs/{job}:retry", tokens["submitter"])[0], "retry of a queued job")
    expect(200, server.call("POST", f"/v1/jobs/{job}:priority", tokens["tenant_admin"], {"priority": 5})[0],
           "priority")
    expect("cancelled", must("POST", f"/v1/jobs/{job}:cancel", tokens["submitter"])["state"], "after cancel")
    expect("cancelled", must("POST", f"/v1/jobs/{job}:cancel", tokens["submitter"])["state"], "after another")
    expect(409, server.call("POST", f"/v1/jobs/{job}:pause", tokens["submitter"])[0], "pause of a cancelled job")
    again = must("POST", f"/v1/jobs/{job}:retry", tokens["submitter"], code=(201,))
    expect("queued", again["state"], "the new job")
    old, new = (must("GET", f"/v1/jobs/{i}", tokens["viewer"]) for i in (job, again["id"]))
    expect(old["spec"], new["spec"], "its spec")
    expect(old["from_digest"], new["from_digest"], "where it starts")


# ---- uploads, data, models ---------------------------------------------------------------------------------

def test_an_upload_goes_on_where_it_stopped_and_its_digest_is_checked():
    data, token = os.urandom(300000), tokens["submitter"]
    digest = hashlib.sha256(data).hexdigest()
    path = f"/v1/tenants/acme/blobs/{digest}"
    must("PUT", f"{path}?offset=0&bytes=300000", token, data[:100000])
    expect(100000, must("GET", path, token)["offset"], "what is there")
    code, headers, _ = server.call("PUT", f"{path}?offset=200000&bytes=300000", token, data[200000:])
    expect((409, "100000"), (code, headers.get("Upload-Offset")), "a chunk behind a hole")
    must("PUT", f"{path}?offset=100000&bytes=300000", token, data[100000:])
    expect(True, must("GET", path, token).get("complete"), "the whole")
    wrong = f"/v1/tenants/acme/blobs/{'ab' * 32}"
    expect(422, server.call("PUT", f"{wrong}?offset=0&bytes=3", token, b"abc")[0], "another digest")
    expect(0, must("GET", wrong, token)["offset"], "is thrown away")
    expect(400, server.call("PUT", f"{wrong}?offset=0", token, b"abc")[0], "a chunk without bytes=")
    expect(403, server.call("PUT", f"{path}?offset=0&bytes=3", tokens["viewer"], b"abc")[0], "a viewer's upload")


def test_a_model_is_registered_promoted_shared_and_resolved():
    part = upload("acme", b"adapter", tokens["submitter"])
    manifest = upload("acme", json.dumps({"kind": "files", "files": [
        {"name": "adapter", "digest": part, "bytes": 7}]}).encode(), tokens["submitter"])
    path = "/v1/tenants/acme/models/hh"
    for version in (1, 2):
        expect(version, must("POST", path, tokens["submitter"], {"manifest": manifest})["version"], "a version")
    must("POST", f"{path}/versions/1:promote", tokens["tenant_admin"], {"alias": "prod"})
    expect(1, must("GET", f"{path}/versions/prod", tokens["viewer"])["version"], "by its alias")
    customize = {"stage": "customize", "from": "acme/hh@prod", "train": {"seed": 3}}
    job = submit(**customize)["job"]
    expect("acme/hh@1", job["from"], "the alias, resolved at submit")
    must("POST", f"{path}/versions/2:promote", tokens["tenant_admin"], {"alias": "prod"})
    expect("acme/hh@1", must("GET", f"/v1/jobs/{job['id']}", tokens["viewer"])["from"], "after the alias moved")
    expect("acme/hh@2", submit(**customize)["job"]["from"], "a job of now")
    expect(2, len(must("GET", f"{path}/history", tokens["viewer"])["moves"]), "its moves")
    foreign = tokens["foreign_submitter"]
    data = upload("globex", b'{"prompt":"a","chosen":"b","rejected":"c"}\n', foreign)
    theirs = {"spec": {"stage": "customize", "from": "acme/hh", "data": {"train": f"sha256:{data}"},
                       "output": {"model": "ours"}}}
    expect(404, server.call("POST", "/v1/jobs", foreign, theirs)[0], "another's model")
    must("POST", "/v1/tenants/acme/shares", tokens["tenant_admin"],
         {"kind": "model", "name": "hh", "grantee": "globex", "right": "use"})
    expect(201, server.call("POST", "/v1/jobs", foreign, theirs)[0], "another's model, shared")
    expect(404, server.call("GET", path, foreign)[0], "to use is not to read")
    expect(409, server.call("DELETE", path, tokens["tenant_admin"])[0], "a model that jobs start from")


# ---- tokens ------------------------------------------------------------------------------------------------

def test_what_is_in_use_is_not_deleted_and_all_who_use_it_are_named():
    token, admin = tokens["submitter"], tokens["tenant_admin"]
    jobs = [submit(data={"train": "used"}, name=f"user{i}")["job"]["id"] for i in range(2)]
    code, _, reply = server.call("DELETE", "/v1/tenants/acme/datasets/used", admin)
    expect(409, code, "a dataset that jobs read")
    for job in jobs:
        expect_in(f"job {job}", reply, "who reads it")
    code, _, reply = server.call("DELETE", "/v1/bases/tiny", tokens["admin"])
    expect(409, code, "a base that jobs start from")
    expect_in(f"job {jobs[1]}", reply, "who starts from it")
    for job in jobs:
        must("POST", f"/v1/jobs/{job}:cancel", token)
    again = must("POST", f"/v1/jobs/{jobs[0]}:retry", token)["id"]
    code, _, reply = server.call("DELETE", "/v1/tenants/acme/datasets/used", admin)
    expect_in(f"job {again}", reply, "a job that is tried again reads it too")
    must("POST", f"/v1/jobs/{again}:cancel", token)
    expect(200, server.call("DELETE", "/v1/tenants/acme/datasets/used", admin)[0], "when nobody reads it any more")
    expect(404, server.call("GET", "/v1/tenants/acme/datasets/used", admin)[0], "it is gone")


def test_tokens_give_no_more_than_their_maker_has_and_end_when_revoked():
    boss = tokens["tenant_admin"]
    expect(403, server.call("POST", "/v1/tokens", boss, {"name": "x", "role": "admin"})[0], "an admin's by a tenant")
    expect(404, server.call("POST", "/v1/tokens", boss, {"name": "x", "role": "viewer", "tenant": "globex"})[0],
           "another tenant's")
    expect(400, server.call("POST", "/v1/tokens", tokens["admin"], {"name": "x", "role": "worker"})[0], "a worker's")
    made = must("POST", "/v1/tokens", boss, {"name": "temp", "role": "viewer"})
    expect(200, server.call("GET", "/v1/jobs", made["secret"])[0], "a new token")
    fresh = must("POST", f"/v1/tokens/{made['id']}:rotate", boss, {"grace_ms": 0})["secret"]
    expect(401, server.call("GET", "/v1/jobs", made["secret"])[0], "the old secret, no grace")
    expect(200, server.call("GET", "/v1/jobs", fresh)[0], "the new secret")
    must("DELETE", f"/v1/tokens/{made['id']}", boss)
    expect(401, server.call("GET", "/v1/jobs", fresh)[0], "a revoked token")
    listed = json.dumps(must("GET", "/v1/tokens", boss))
    expect(False, "tlr_" in listed or fresh in listed, "secrets in the list")


# ---- streams and the rest ----------------------------------------------------------------------------------

def read_events(response):
    """Server-sent events as (event, id, data), until the stream ends."""
    event = {}
    for line in response:
        line = line.decode().rstrip("\n")
        if line == "" and event:
            yield event.get("event"), event.get("id"), json.loads(event.get("data", "null"))
            event = {}
        elif not line.startswith(":") and ": " in line:
            name, value = line.split(": ", 1)
            event[name] = value


def open_stream(path, token, last=None):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=WAIT_S)
    headers = {"Authorization": "Bearer " + token, **({"Last-Event-ID": last} if last else {})}
    connection.request("GET", path, headers=headers)
    return connection, connection.getresponse()


def test_a_stream_follows_a_job_to_its_end_and_goes_on_from_an_id():
    job = submit()["job"]["id"]
    connection, response = open_stream(f"/v1/jobs/{job}/events?follow=true", tokens["viewer"])
    expect("text/event-stream", response.getheader("Content-Type"), "its type")
    stream = read_events(response)
    kind, first, data = next(stream)
    expect(("event", job), (kind, data.get("job_id")), "the first event")
    must("POST", f"/v1/jobs/{job}:cancel", tokens["submitter"])
    rest = list(stream)
    expect("end", rest[-1][0], "the last event")
    expect(True, any("cancelled" in json.dumps(e[2]) for e in rest), "the cancellation was seen")
    connection.close()
    connection, response = open_stream(f"/v1/jobs/{job}/events?follow=true", tokens["viewer"], last=first)
    expect([e[1] for e in rest], [e[1] for e in read_events(response)], "from the first id on")
    connection.close()
    for what in ("logs", "metrics"):
        connection, response = open_stream(f"/v1/jobs/{job}/{what}?follow=true", tokens["viewer"])
        expect([("end", None, {})], list(read_events(response)), f"{what} of a job that never ran")
        connection.close()


def test_streams_that_are_left_are_forgotten():
    for _ in range(70):  # more than may be open at once
        connection, response = open_stream("/v1/events?follow=true", tokens["viewer"])
        expect(200, response.status, "a stream")
        response.close()
        connection.close()
        time.sleep(0.02)
    expect(200, server.call("GET", "/healthz")[0], "afterwards")


def test_a_blob_comes_back_in_parts_to_its_own_tenant():
    path = f"/v1/tenants/acme/blobs/{tokens['data']}/content"
    whole = server.call("GET", path, tokens["viewer"])
    expect(200, whole[0], "the content of a blob")
    expect(tokens["data"], hashlib.sha256(whole[2]).hexdigest(), "its digest")
    part = server.call("GET", path + "?offset=3&bytes=5", tokens["viewer"])[2]
    expect(whole[2][3:8], part, "a part of it")
    expect(b"", server.call("GET", path + f"?offset={len(whole[2])}", tokens["viewer"])[2], "behind its end")


def test_a_login_code_is_worth_one_token():
    code = must("POST", "/v1/logins", tokens["admin"], {})["code"]
    secret = must("POST", "/v1/login", None, {"code": code})["secret"]
    expect(200, server.call("GET", "/v1/workers", secret)[0], "the token of a code")
    expect(401, server.call("POST", "/v1/login", body={"code": code})[0], "the same code again")
    expect(403, server.call("POST", "/v1/logins", tokens["tenant_admin"], {})[0], "a code by somebody else")


def test_what_needs_no_token():
    expect(b"ok\n", server.call("GET", "/healthz")[2], "/healthz")
    ready = server.call("GET", "/readyz")[2]
    expect(True, ready["ready"], "/readyz")
    expect(True, abs(ready["time_ms"] / 1000 - time.time()) < 5, "/readyz has the clock")
    expect_in("tailor_jobs{", server.call("GET", "/metrics")[2], "/metrics")
    api = server.call("GET", "/v1/openapi.json")[2]
    for path, operations in api["paths"].items():
        for operation in operations.values():
            name = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
            expect(True, name in api["components"]["schemas"], f"the schema of {path}")
    expect(True, "/v1/jobs/{id}:cancel" in api["paths"], "a path of the document")


def test_workers_queues_cluster_and_audit_answer():
    admin = tokens["admin"]
    expect([], must("GET", "/v1/workers", admin)["workers"], "workers")
    expect(404, server.call("GET", "/v1/workers/w-9", admin)[0], "a worker that is not there")
    expect_in("tj1-", must("POST", "/v1/workers:join-token", admin)["token"], "a join token")
    must("POST", "/v1/queues/default:pause", admin, {"reason": "maintenance"})
    queues = {q["name"]: q for q in must("GET", "/v1/queues", admin)["queues"]}
    expect(True, queues["default"]["paused"], "the paused queue")
    must("POST", "/v1/queues/default:resume", admin)
    expect(True, "jobs_queued" in must("GET", "/v1/cluster", tokens["viewer"]), "the cluster")
    must("POST", "/v1/cluster:gc", admin, {"dry_run": True})
    expect(True, must("POST", "/v1/cluster:backup", admin)["bytes"] > 0, "a backup")
    must("PUT", "/v1/tenants/acme", admin, {"queued_jobs_max": 10000})
    expect(10000, must("GET", "/v1/tenants/acme", tokens["viewer"])["queued_jobs_max"], "a quota")
    actions = [e["action"] for e in must("GET", "/v1/audit?limit=1000", admin)["entries"]]
    for action in ("TENANT_CREATE", "TOKEN_CREATE", "JOB_SUBMIT", "QUEUE_PAUSE"):
        expect(True, action in actions, f"{action} in the audit")


def test_zz_a_restart_keeps_everything_and_makes_no_second_token():
    job = submit()["job"]["id"]
    connection, response = open_stream("/v1/events?follow=true", tokens["viewer"])
    expect(0, server.stop(), "the exit code")
    expect([], [e for e in read_events(response) if e[0] == "end"], "ends of a stream that is not over")
    connection.close()
    before = server.admin
    server.start()
    expect(before, server.admin, "the admin's token")
    expect("queued", must("GET", f"/v1/jobs/{job}", tokens["viewer"])["state"], "the job")
    expect(0, server.stop(), "the exit code")


def run(tests):
    """Runs the functions test_… of a module's globals, against a server of their own."""
    global server
    server = Server(sys.argv[1])
    word = sys.argv[2] if len(sys.argv) > 2 else ""
    passed = failed = 0
    try:
        set_up()
        for name, test in sorted(tests.items()):
            if not name.startswith("test_") or word not in name:
                continue
            try:
                test()
            except Exception as e:  # a test that breaks is a test that failed
                failures.append(f"{type(e).__name__}: {e}")
            print(("FAIL " if failures else "ok ") + name[5:].replace("_", " "), flush=True)
            for text in failures:
                print("    " + text)
            passed, failed = passed + (not failures), failed + bool(failures)
            failures.clear()
            if server.process.poll() is not None and not name.startswith("test_zz"):
                print(open(server.log).read()[-2000:])
                raise SystemExit(f"tailord died in {name}")
    finally:
        server.process.kill()
        shutil.rmtree(server.data, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    run(globals())
