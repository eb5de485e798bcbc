#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of a real tailord: every route with every kind of token, bad requests byte by byte, idempotency,
cursors, uploads, references, streams. Standard library only.

    tests/e2e/http_test.py BUILD_DIR [WORD]     runs the tests whose names contain WORD
"""
import hashlib
import json
import os
import re
import shutil
import socket
import time

import api
from api import expect, expect_in, failures, must, open_stream, read_events, spec, submit, tokens, upload

# ---- routes and roles -------------------------------------------------------------------------------------

RANK = {"viewer": 1, "submitter": 2, "tenant_admin": 3, "admin": 4}


def routes():
    """(method, path, role) of each row of the table, with things in its path that are not there."""
    with open(os.path.join(api.ROOT, "proto", "routes.def")) as f:
        rows = re.findall(r'^ROUTE\((\w+), (\w+), "([^"]+)", \w+, \w+, (\w+), (\w+)', f.read(), re.M)
    for name, method, path, role, body in rows:
        path = path.replace("/ui/{name}", "/ui/app.js").replace("{tenant}", "acme").replace("{name}", "nothing").replace("{version}", "9")
        path = path.replace("{digest}", "0" * 64)
        path = re.sub(r"\{id\}", {"JOB": "j-999", "BAT": "b-999", "TOK": "t-999", "WOR": "w-999"}.get(name[:3], "1"),
                      path)
        yield name, method, path, role, body


def test_every_route_refuses_who_has_no_token_or_too_little_of_one():
    seen = 0
    for name, method, path, role, body in routes():
        if role == "NONE":
            code, body = (401, {}) if name == "LOGIN" else (200, None)  # a code stands in the place of a token
            expect(code, api.server.call(method, path, body=body)[0], f"{name} without a token")
            continue
        code, headers, reply = api.server.call(method, path)
        if code == 501:
            continue
        seen += 1
        expect(401, code, f"{name} without a token")
        expect("Bearer", headers.get("WWW-Authenticate"), f"{name}'s WWW-Authenticate")
        expect("unauthenticated", reply["error"]["code"], f"{name} without a token")
        expect(401, api.server.call(method, path, "tlr_" + "0" * 64)[0], f"{name} with a wrong token")
        for holder, rank in RANK.items():
            if rank < RANK[role.lower()]:
                code, _, reply = api.server.call(method, path, tokens[holder])
                expect(403, code, f"{name} as {holder}")
                expect_in(role.lower(), reply, f"{name} as {holder} names the role")
    if seen < 50:
        failures.append(f"only {seen} routes were tried")


def test_other_methods_are_405_and_say_which_there_are():
    for path, method in (("/v1/jobs", "PUT"), ("/v1/cluster", "POST"), ("/healthz", "DELETE"), ("/v1/jobs", "PATCH")):
        code, headers, reply = api.server.call(method, path, tokens["admin"])
        expect(405, code, f"{method} {path}")
        expect_in("GET", headers.get("Allow"), f"{method} {path}: Allow")
        expect("method_not_allowed", reply["error"]["code"], f"{method} {path}")


def test_a_body_is_never_taken_for_the_next_request():
    inner = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for method in ("HEAD", "TRACE", "QUERY", "PROPFIND", "GET", "OPTIONS", "PATCH", "DELETE", "POST"):
        with socket.create_connection((api.server.host, api.server.port), timeout=api.WAIT_S) as s:
            s.sendall(f"{method} /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(inner)}\r\n\r\n".encode()
                      + inner + b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answers = b"".join(iter(lambda: s.recv(65536), b""))
        expect(False, b"200 OK" in answers, f"{method}: its body was answered like a request")


def test_head_has_the_length_and_no_body():
    code, headers, text = api.server.call("HEAD", "/v1/cluster", tokens["viewer"])
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
        code, _, reply = api.server.call(method, path, foreign)
        expect(404, code, f"{method} {path} of another tenant")
    listed = must("GET", "/v1/jobs?limit=1000", foreign)["jobs"]
    expect([], [j for j in listed if j["tenant"] != "globex"], "acme's jobs in globex's list")
    mine = api.server.call("GET", f"/v1/jobs/{job}", foreign)[2]["error"]["message"].replace(job, "ID")
    none = api.server.call("GET", "/v1/jobs/j-99999", foreign)[2]["error"]["message"].replace("j-99999", "ID")
    expect(none, mine, "the sentence for a foreign id and an unknown one")
    expect("queued", must("GET", f"/v1/jobs/{job}", tokens["viewer"])["state"], "the job, untouched")


# ---- bad requests ------------------------------------------------------------------------------------------

def test_paths_and_queries_that_no_client_of_good_will_sends():
    for path, code in (("/v1/jobs/j-1%2fevents", 400), ("/v1/jobs/%00", 400), ("/v1/jobs/..", 400),
                       ("/v1//jobs", 400), ("/v1/jobs/%zz", 400), ("/v1/jobs/" + "a" * 2000, 400),
                       ("/nothing", 404), ("/v1/jobs/17x", 400), ("/v1/jobs?stat=queued", 400),
                       ("/v1/jobs?limit=0", 400), ("/v1/jobs?limit=1001", 400), ("/v1/jobs?state=asleep", 400),
                       ("/v1/jobs?limit=1&limit=2", 400), ("/v1/jobs?label=x", 400), ("/v1/jobs/j-1/logs?format=csv", 422)):
        got, _, reply = api.server.call("GET", path, tokens["viewer"])
        expect(code, got, f"GET {path[:60]}")
        expect(True, bool(reply["error"]["request_id"]), f"GET {path[:60]} has a request id")
    expect_in("state", api.server.call("GET", "/v1/jobs?stat=queued", tokens["viewer"])[2], "the nearest right name")


def test_bodies_that_are_no_request():
    token = tokens["submitter"]
    for body, code in (("{", 400), ("[]", 400), ("null", 400), ('{"spec":{},"spec":{}}', 400), ('{"spc":{}}', 400),
                       ("{}", 400), ("[" * 200000, 413), ('{"spec":"text"}', 400), ('{"spec_text":"a: [b"}', 400),
                       ('{"spec_text":"stage: general"}', 400), (b"\xff\xfe", 400),
                       ('{"spec_text":"' + "x" * (3 << 20) + '"}', 413)):
        got, _, reply = api.server.call("POST", "/v1/jobs", token, body)
        expect(code, got, f"POST /v1/jobs {str(body)[:40]}")
        expect(True, "message" in reply["error"], f"POST /v1/jobs {str(body)[:40]} says why")
    expect(400, api.server.call("GET", "/v1/jobs", token, "{}")[0], "a GET with a body")


def test_bytes_that_are_no_http():
    auth = f"Authorization: Bearer {tokens['viewer']}\r\n".encode()
    get = b"GET /v1/cluster HTTP/1.1\r\nHost: x\r\n"
    for data, code in ((b"\r\n\r\n", "400"), (b"hello\r\n\r\n", "400"), (b"GET / HTTP/9.9\r\n\r\n", "400"),
                       (b"GET /v1/clus\0ter HTTP/1.1\r\n\r\n", "4"),
                       (get + b"X: " + b"a" * 20000 + b"\r\n\r\n", "4"),
                       (get + b"no colon\r\n" + auth + b"\r\n", "400"),
                       (b"POST /v1/jobs HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "4"),
                       (b"POST /v1/jobs HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", "413")):
        answer = api.server.raw(data, half_close=True)
        if answer and not answer.split(" ")[1].startswith(code):
            failures.append(f"{data[:40]!r}: expected {code} or a closed connection, got {answer!r}")
    expect("HTTP/1.1 200 OK", api.server.raw(get + auth + b"\r\n"), "an ordinary request on a socket of our own")


def test_clients_that_leave_in_the_middle_harm_nobody():
    for data in (b"GET /v1/jo", b"POST /v1/jobs HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc", b""):
        for _ in range(30):
            with socket.create_connection((api.server.host, api.server.port)) as s:
                s.sendall(data)
    request = (f"GET /v1/jobs HTTP/1.1\r\nAuthorization: Bearer {tokens['viewer']}\r\n\r\n" * 3).encode()
    for _ in range(30):  # answers that nobody reads
        with socket.create_connection((api.server.host, api.server.port)) as s:
            s.sendall(request)
    expect(200, api.server.call("GET", "/healthz")[0], "afterwards")


def test_more_connections_than_the_cap_wait_and_then_get_through():
    crowd = [socket.create_connection((api.server.host, api.server.port)) for _ in range(300)]
    for s in crowd:
        s.close()
    expect(200, api.server.call("GET", "/healthz")[0], "behind a crowd")


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
    expect(201, api.server.call("POST", "/v1/jobs", tokens["submitter"], {"spec_text": yaml,
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
        got, _, reply = api.server.call("POST", "/v1/jobs", token, {"spec": spec(**more)})
        expect(code, got, f"a spec with {more}")
        expect_in(text, reply, f"a spec with {more}")
    got, _, reply = api.server.call("POST", "/v1/jobs", tokens["admin"], {"spec": spec()})
    expect(400, got, "an admin who does not say whose job it is")


def test_a_dry_run_says_the_same_and_makes_nothing():
    before = len(must("GET", "/v1/jobs?limit=1000", tokens["viewer"])["jobs"])
    reply = must("POST", "/v1/jobs", tokens["submitter"], {"spec": spec(), "dry_run": True}, code=(200,))
    expect("sha256:" + tokens["data"], reply["job"]["spec"]["data"]["train"][0]["dataset"], "a dry run's data")
    expect(False, "id" in reply["job"], "a dry run has no id")
    expect(before, len(must("GET", "/v1/jobs?limit=1000", tokens["viewer"])["jobs"]), "jobs after a dry run")


def test_a_key_makes_one_job_however_often_it_is_sent():
    key = {"Idempotency-Key": "key-1"}
    code, _, first = api.server.call("POST", "/v1/jobs", tokens["submitter"], {"spec": spec()}, key)
    expect(201, code, "the first time")
    code, _, second = api.server.call("POST", "/v1/jobs", tokens["submitter"], {"spec": spec()}, key)
    expect(200, code, "the second time")
    expect(first["job"]["id"], second["job"]["id"], "the job")
    expect([True, False], [first["created"], second["created"]], "created")
    code, _, _ = api.server.call("POST", "/v1/jobs", tokens["submitter"], {"spec": spec(name="other")}, key)
    expect(409, code, "the key for another request")
    code, _, _ = api.server.call("POST", "/v1/jobs", tokens["submitter"], {"spec": spec()}, {"Idempotency-Key": "a b"})
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
    expect(409, api.server.call("POST", f"/v1/jobs/{job}:retry", tokens["submitter"])[0], "retry of a queued job")
    expect(200, api.server.call("POST", f"/v1/jobs/{job}:priority", tokens["tenant_admin"], {"priority": 5})[0],
           "priority")
    expect("cancelled", must("POST", f"/v1/jobs/{job}:cancel", tokens["submitter"])["state"], "after cancel")
    expect("cancelled", must("POST", f"/v1/jobs/{job}:cancel", tokens["submitter"])["state"], "after another")
    expect(409, api.server.call("POST", f"/v1/jobs/{job}:pause", tokens["submitter"])[0], "pause of a cancelled job")
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
    code, headers, _ = api.server.call("PUT", f"{path}?offset=200000&bytes=300000", token, data[200000:])
    expect((409, "100000"), (code, headers.get("Upload-Offset")), "a chunk behind a hole")
    must("PUT", f"{path}?offset=100000&bytes=300000", token, data[100000:])
    expect(True, must("GET", path, token).get("complete"), "the whole")
    wrong = f"/v1/tenants/acme/blobs/{'ab' * 32}"
    expect(422, api.server.call("PUT", f"{wrong}?offset=0&bytes=3", token, b"abc")[0], "another digest")
    expect(0, must("GET", wrong, token)["offset"], "is thrown away")
    expect(400, api.server.call("PUT", f"{wrong}?offset=0", token, b"abc")[0], "a chunk without bytes=")
    expect(403, api.server.call("PUT", f"{path}?offset=0&bytes=3", tokens["viewer"], b"abc")[0], "a viewer's upload")


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
    expect(404, api.server.call("POST", "/v1/jobs", foreign, theirs)[0], "another's model")
    must("POST", "/v1/tenants/acme/shares", tokens["tenant_admin"],
         {"kind": "model", "name": "hh", "grantee": "globex", "right": "use"})
    expect(201, api.server.call("POST", "/v1/jobs", foreign, theirs)[0], "another's model, shared")
    expect(404, api.server.call("GET", path, foreign)[0], "to use is not to read")
    expect(409, api.server.call("DELETE", path, tokens["tenant_admin"])[0], "a model that jobs start from")


# ---- tokens ------------------------------------------------------------------------------------------------

def test_what_is_in_use_is_not_deleted_and_all_who_use_it_are_named():
    token, admin = tokens["submitter"], tokens["tenant_admin"]
    jobs = [submit(data={"train": "used"}, name=f"user{i}")["job"]["id"] for i in range(2)]
    code, _, reply = api.server.call("DELETE", "/v1/tenants/acme/datasets/used", admin)
    expect(409, code, "a dataset that jobs read")
    for job in jobs:
        expect_in(f"job {job}", reply, "who reads it")
    code, _, reply = api.server.call("DELETE", "/v1/bases/tiny", tokens["admin"])
    expect(409, code, "a base that jobs start from")
    expect_in(f"job {jobs[1]}", reply, "who starts from it")
    for job in jobs:
        must("POST", f"/v1/jobs/{job}:cancel", token)
    again = must("POST", f"/v1/jobs/{jobs[0]}:retry", token)["id"]
    code, _, reply = api.server.call("DELETE", "/v1/tenants/acme/datasets/used", admin)
    expect_in(f"job {again}", reply, "a job that is tried again reads it too")
    must("POST", f"/v1/jobs/{again}:cancel", token)
    expect(200, api.server.call("DELETE", "/v1/tenants/acme/datasets/used", admin)[0], "when nobody reads it any more")
    expect(404, api.server.call("GET", "/v1/tenants/acme/datasets/used", admin)[0], "it is gone")


def test_tokens_give_no_more_than_their_maker_has_and_end_when_revoked():
    boss = tokens["tenant_admin"]
    expect(403, api.server.call("POST", "/v1/tokens", boss, {"name": "x", "role": "admin"})[0], "an admin's by a tenant")
    expect(404, api.server.call("POST", "/v1/tokens", boss, {"name": "x", "role": "viewer", "tenant": "globex"})[0],
           "another tenant's")
    expect(400, api.server.call("POST", "/v1/tokens", tokens["admin"], {"name": "x", "role": "worker"})[0], "a worker's")
    made = must("POST", "/v1/tokens", boss, {"name": "temp", "role": "viewer"})
    expect(200, api.server.call("GET", "/v1/jobs", made["secret"])[0], "a new token")
    fresh = must("POST", f"/v1/tokens/{made['id']}:rotate", boss, {"grace_ms": 0})["secret"]
    expect(401, api.server.call("GET", "/v1/jobs", made["secret"])[0], "the old secret, no grace")
    expect(200, api.server.call("GET", "/v1/jobs", fresh)[0], "the new secret")
    must("DELETE", f"/v1/tokens/{made['id']}", boss)
    expect(401, api.server.call("GET", "/v1/jobs", fresh)[0], "a revoked token")
    listed = json.dumps(must("GET", "/v1/tokens", boss))
    expect(False, "tlr_" in listed or fresh in listed, "secrets in the list")


# ---- streams and the rest ----------------------------------------------------------------------------------

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
    expect(200, api.server.call("GET", "/healthz")[0], "afterwards")


def test_a_blob_comes_back_in_parts_to_its_own_tenant():
    path = f"/v1/tenants/acme/blobs/{tokens['data']}/content"
    whole = api.server.call("GET", path, tokens["viewer"])
    expect(200, whole[0], "the content of a blob")
    expect(tokens["data"], hashlib.sha256(whole[2]).hexdigest(), "its digest")
    part = api.server.call("GET", path + "?offset=3&bytes=5", tokens["viewer"])[2]
    expect(whole[2][3:8], part, "a part of it")
    expect(b"", api.server.call("GET", path + f"?offset={len(whole[2])}", tokens["viewer"])[2], "behind its end")


def test_what_nothing_refers_to_goes_by_itself():
    own = api.Server(os.path.dirname(api.server.program))
    try:
        own.stop()
        own.start("--gc-every", "0.3s", "--gc-grace", "0.3s")
        own.call("POST", "/v1/tenants", own.admin, {"name": "acme"})
        digests = []
        for data in (b"garbage", b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'):
            digests.append(hashlib.sha256(data).hexdigest())
            own.call("PUT", f"/v1/tenants/acme/blobs/{digests[-1]}?offset=0&bytes={len(data)}", own.admin, data)
            if b"prompt" in data:
                own.call("POST", "/v1/tenants/acme/datasets/kept", own.admin, {"digest": digests[-1]})
        there = lambda digest: own.call("GET", f"/v1/tenants/acme/blobs/{digest}/content", own.admin)[0]
        until = time.time() + api.WAIT_S
        while there(digests[0]) == 200 and time.time() < until:
            time.sleep(0.1)
        expect([404, 200], [there(digest) for digest in digests], "garbage, and what a dataset names")
        events = own.call("GET", "/v1/events?limit=100", own.admin)[2]["events"]
        expect(True, any(e["kind"] == "garbage_removed" and e["message"].startswith("1 blobs") for e in events), "its event")
    finally:
        own.stop()
        shutil.rmtree(own.data)


def test_a_login_code_is_worth_one_token():
    code = must("POST", "/v1/logins", tokens["admin"], {})["code"]
    secret = must("POST", "/v1/login", None, {"code": code})["secret"]
    expect(200, api.server.call("GET", "/v1/workers", secret)[0], "the token of a code")
    expect(401, api.server.call("POST", "/v1/login", body={"code": code})[0], "the same code again")
    expect(403, api.server.call("POST", "/v1/logins", tokens["tenant_admin"], {})[0], "a code by somebody else")


def test_what_needs_no_token():
    expect(b"ok\n", api.server.call("GET", "/healthz")[2], "/healthz")
    ready = api.server.call("GET", "/readyz")[2]
    expect(True, ready["ready"], "/readyz")
    expect(True, abs(ready["time_ms"] / 1000 - time.time()) < 5, "/readyz has the clock")
    expect_in("tailor_jobs{", api.server.call("GET", "/metrics")[2], "/metrics")


def walk(value, where=""):
    """Every object of a JSON value, with where it stands."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield where, value
    for key, item in items:
        yield from walk(item, f"{where}/{key}")


def test_openapi_has_every_route_with_its_needs_and_answers():
    with open(os.path.join(api.ROOT, "proto", "routes.def")) as f:
        table = f.read()
    document = api.server.call("GET", "/v1/openapi.json")[2]
    operations = {}
    for name, method, path, role, body in re.findall(
            r'^ROUTE\((\w+), (\w+), "([^"]+)", \w+, \w+, (\w+), (\w+)', table, re.M):
        operation = document["paths"].get(path, {}).get(method.lower())
        if operation is None:
            failures.append(f"{name}: {method} {path} is not in the document")
            continue
        operations[name] = operation
        expect(name.lower(), operation["operationId"], f"{name}'s operationId")
        expect(role == "NONE", operation.get("security") == [], f"{name} asks for no token")
        expect(body != "NONE", "requestBody" in operation, f"{name} has a body")
        expect(role != "NONE", role != "NONE" and "401" in operation["responses"], f"{name} answers 401")
        expect(re.findall(r"{(\w+)}", path),
               [p["name"] for part in re.findall(r"{(\w+)}", path) for p in operation["parameters"]
                if p.get("in") == "path" and p["name"] == part and p["required"]], f"{name}'s parts of the path")
    expect(len(operations), sum(len(o) for o in document["paths"].values()), "as many operations as routes")
    for name, field in re.findall(r"^ROUTE_NEEDS\((\w+), (\w+)\)", table, re.M):
        body = operations[name].get("requestBody", {}).get("content", {}).get("application/json", {})
        needed = body.get("schema", {}).get("required", []) + [
            p["name"] for p in operations[name]["parameters"] if p.get("required")]
        expect(True, field in needed, f"{name} needs {field}")
    for name, part, kind in re.findall(r"^ROUTE_PART\((\w+), (\w+), (\w+)\)", table, re.M):
        form = operations[name]["requestBody"]["content"].get("multipart/form-data", {}).get("schema", {})
        expect((True, kind == "FILE"),
               (part in form.get("required", []), form.get("properties", {}).get(part, {}).get("format") == "binary"),
               f"{name}: its form has {part}")
    for name, code, kind in re.findall(r'^ROUTE_ANSWER\((\w+), (\d+), "([^"]+)"\)', table, re.M):
        expect(True, kind in operations[name]["responses"].get(code, {}).get("content", {}), f"{name}: {code} {kind}")


def test_openapi_bounds_every_value_and_refers_to_what_is_there():
    document = api.server.call("GET", "/v1/openapi.json")[2]
    schemas = document["components"]["schemas"]
    for where, value in walk(document):
        for reference in [value["$ref"]] if isinstance(value.get("$ref"), str) else []:
            found = document
            for part in reference.lstrip("#/").split("/"):
                found = found.get(part, {})
            expect(True, bool(found), f"{where}: {reference}")
        if where.startswith("/components/schemas/") and value.get("type") == "string" and "enum" not in value:
            expect(True, "pattern" in value, f"{where} says what it may hold")
        if value.get("type") == "array":
            expect(True, value.get("maxItems", 0) > 0, f"{where} says how many at most")
        if value.get("type") == "integer" and value.get("format") == "int64":
            expect(True, value["minimum"] <= value["maximum"], f"{where} has its range")
    job = schemas["Job"]["properties"]
    expect({"type": "string", "maxLength": 63, "minLength": 1, "pattern": "^[a-z0-9][a-z0-9._-]*$"}, job["queue"],
           "a name")
    expect("the last lines of that rank", job["failure_log"]["description"], "api.proto's comment")
    expect_in("the row has one response, or the model no calibration",
              schemas["Score"]["properties"]["probability"]["description"], "a comment of two lines")
    limit = {p["name"]: p["schema"] for p in document["paths"]["/v1/jobs"]["get"]["parameters"]}["limit"]
    expect((1, 1000), (limit["minimum"], limit["maximum"]), "the range of limit")
    expect(["jobs"], schemas["JobList"]["required"], "a list is always there")


def test_what_has_to_be_given_is_asked_for_by_name_after_the_role():
    for method, path, holder, body, field in (
            ("POST", "/v1/tokens", "tenant_admin", {"role": "viewer"}, "name"),
            ("POST", "/v1/tokens", "tenant_admin", {"name": "x"}, "role"),
            ("POST", "/v1/tenants", "admin", {}, "name"), ("POST", "/v1/bases", "admin", {"manifest": "0" * 64}, "name"),
            ("POST", "/v1/jobs/j-1:priority", "tenant_admin", {}, "priority"),
            ("POST", "/v1/tenants/acme/models/x/versions/1:promote", "tenant_admin", {}, "alias"),
            ("DELETE", "/v1/tenants/acme/shares?name=x&grantee=globex", "tenant_admin", None, "kind"),
            ("PUT", f"/v1/tenants/acme/blobs/{'0' * 64}?offset=0", "submitter", b"x", "bytes"),
            ("POST", "/v1/batches", "submitter", {"recipe": "x"}, "name")):
        code, _, reply = api.server.call(method, path, tokens[holder], body)
        expect((400, f"{field}: say which"), (code, reply["error"]["message"]), f"{method} {path} without {field}")
    expect(403, api.server.call("POST", "/v1/tenants", tokens["viewer"], {})[0], "who may not is not asked for a name")


def test_workers_queues_cluster_and_audit_answer():
    admin = tokens["admin"]
    expect([], must("GET", "/v1/workers", admin)["workers"], "workers")
    expect(404, api.server.call("GET", "/v1/workers/w-9", admin)[0], "a worker that is not there")
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
    expect(0, api.server.stop(), "the exit code")
    expect([], [e for e in read_events(response) if e[0] == "end"], "ends of a stream that is not over")
    connection.close()
    before = api.server.admin
    api.server.start()
    expect(before, api.server.admin, "the admin's token")
    expect("queued", must("GET", f"/v1/jobs/{job}", tokens["viewer"])["state"], "the job")
    expect(0, api.server.stop(), "the exit code")


if __name__ == "__main__":
    api.run(globals())
