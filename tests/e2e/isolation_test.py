#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two tenants on a real tailord. Everything that one can name or write has a canary in it; then every row of the
table of routes is called with every method by everybody else, and no canary may come back.

    tests/e2e/isolation_test.py BUILD_DIR
"""
import json
import os
import re
import shutil
import socket
import sys
import time

import api
from api import expect, failures, must, upload

OWNER = "canaryco"  # the tenant's own name is one too
CANARIES = ["canaryco", "canary-job", "canary-label", "canary-data", "canary-file", "canary-model", "canary-token",
            "canary-title", "canary-alias", "canary-text", "canary-hook"]
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
RANK = {"VIEWER": 1, "SUBMITTER": 2, "TENANT_ADMIN": 3, "ADMIN": 4}
tokens, things = {}, {}


def token(name, role, tenant, **more):
    return must("POST", "/v1/tokens", api.server.admin, {"name": name, "role": role, "tenant": tenant, **more})


def set_up():
    admin = api.server.admin
    must("POST", "/v1/tenants", admin, {"name": OWNER, "title": "canary-title"})
    must("POST", "/v1/tenants", admin, {"name": "globex"})
    owner = token("canary-token", "tenant_admin", OWNER)
    tokens["owner"], things["token"] = owner["secret"], owner["id"]
    for role in ("viewer", "submitter", "tenant_admin"):
        tokens["foreign " + role] = token(role.replace("_", "-"), role, "globex")["secret"]
    tokens["expired"] = token("expired", "tenant_admin", OWNER, expires_ms=int(time.time() * 1000) + 300)["secret"]
    revoked = token("revoked", "tenant_admin", OWNER)
    must("DELETE", f"/v1/tokens/{revoked['id']}", admin)
    rotated = token("rotated", "tenant_admin", OWNER)
    must("POST", f"/v1/tokens/{rotated['id']}:rotate", admin, {"grace_ms": 0})
    tokens["revoked"], tokens["rotated out"] = revoked["secret"], rotated["secret"]
    tokens["a join token"] = must("POST", "/v1/workers:join-token", admin, {})["token"]
    tokens["none"], tokens["no token of ours"] = None, "tlr_" + "0" * 64
    time.sleep(0.4)  # behind the expiry
    things["digest"] = upload(OWNER, b'{"prompt":"canary-text","chosen":"b","rejected":"c"}\n', tokens["owner"])
    # Before there is a base, so that no worker is needed to judge it.
    must("POST", f"/v1/tenants/{OWNER}/datasets/canary-data", tokens["owner"],
         {"digest": things["digest"], "file": "canary-file.jsonl"})
    base = json.dumps({"kind": "files", "files": [
        {"name": "model.safetensors", "digest": upload("cluster", b"weights", admin), "bytes": 7}]})
    must("POST", "/v1/bases", admin, {"name": "tiny", "manifest": upload("cluster", base.encode(), admin)})
    make_things(tokens["owner"])


def make_things(mine):
    manifest = json.dumps({"kind": "files", "files": [
        {"name": "adapter", "digest": upload(OWNER, b"adapter", mine), "bytes": 7}]}).encode()
    things["manifest"] = upload(OWNER, manifest, mine)
    path = f"/v1/tenants/{OWNER}/models/canary-model"
    must("POST", path, mine, {"manifest": things["manifest"]})
    must("POST", f"{path}/versions/1:promote", mine, {"alias": "canary-alias"})
    for number in range(2):
        reply = must("POST", "/v1/jobs", mine, {"spec": {
            "name": "canary-job", "labels": {"team": "canary-label"}, "stage": "general", "from": "tiny",
            "data": {"train": "canary-data"}, "output": {"model": "canary-model"}, "train": {"seed": number}}})
        things["job"] = reply["job"]["id"]
    # Its name leads nowhere (RFC 2606), so nobody is told.
    things["webhook"] = must("POST", "/v1/webhooks", mine, {"url": "https://canary-hook.invalid/"})["id"]


# ---- the table ---------------------------------------------------------------------------------------------

BODIES = {
    "JOB_PRIORITY": {"priority": 3}, "MODEL_PROMOTE": {"alias": "prod"}, "TENANT_QUOTA": {"queued_jobs_max": 1},
    "SHARE_PUT": {"kind": "model", "name": "canary-model", "grantee": "globex", "right": "read"},
    "TOKEN_CREATE": {"name": "mine", "role": "viewer", "tenant": OWNER}, "TENANT_CREATE": {"name": OWNER},
    "TOKEN_ROTATE": {"grace_ms": 0}, "QUEUE_PAUSE": {"reason": "x"},
    "OPENAI_JOB_CREATE": {"model": "tiny", "training_file": "file-canary-data"},
    "WEBHOOK_ADD": {"url": "https://example.com/", "tenant": OWNER},
}


def rows():
    """(name, method, role, path with the owner's things in it, path with nobody's, body)"""
    with open(os.path.join(api.ROOT, "proto", "routes.def")) as f:
        found = re.findall(r'^ROUTE\((\w+), (\w+), "([^"]+)", \w+, \w+, (\w+), (\w+)', f.read(), re.M)
    for name, method, path, role, kind in found:
        ids = {"JOB": (things["job"], "j-99999"), "TOK": (things["token"], "t-99999"), "BAT": ("b-1", "b-99999"),
               "WEB": (things["webhook"], "h-99999"),
               "WOR": ("w-1", "w-99999")}.get(name[:3], ("1", "99999"))
        names = {"DATASET": "canary-data", "MODEL": "canary-model", "TENANT": OWNER, "BASE": "tiny",
                 "QUEUE": "default", "PAGE": "app.js"}.get(name.split("_")[0], "x")
        own = (path.replace("{tenant}", OWNER).replace("{name}", names).replace("{version}", "1")
               .replace("{digest}", things["digest"]).replace("{id}", ids[0])
               .replace("{file}", "file-canary-data").replace("{job}", "ft" + things["job"].replace("j-", "job-")))
        none = (path.replace("{tenant}", "nobody").replace("{name}", "nobody").replace("{version}", "1")
                .replace("{digest}", things["digest"]).replace("{id}", ids[1])
                .replace("{file}", "file-nobody").replace("{job}", "ftjob-99999"))
        body = {"DATASET_ADD": {"digest": things["digest"]}, "MODEL_ADD": {"manifest": things["manifest"]},
                "BASE_ADD": {"name": "b", "manifest": things["manifest"]},
                "JOB_SUBMIT": {"spec": {"stage": "general", "from": "tiny", "tenant": OWNER,
                                        "data": {"train": f"{OWNER}/canary-data"}, "output": {"model": "m"}}},
                }.get(name, BODIES.get(name, {})) if kind == "JSON" else None
        query = {"UPLOAD_PUT": "?offset=0&bytes=1", "SHARE_REMOVE": "?kind=model&name=canary-model&grantee=globex"}
        yield name, method, role, own + query.get(name, ""), none + query.get(name, ""), body


def is_the_owners(name, path):
    return OWNER in path or any(id in path for id in ("/j-", "/t-", "/h-", "/ftjob-", "/file-"))


def leaks(asked, answer):
    """Canaries in the answer that the question did not have."""
    return [c for c in CANARIES if c in str(answer) and c not in asked]


def ask(name, method, path, holder, body=None):
    """The answer; a canary in it is a failure."""
    body = b"x" if name == "UPLOAD_PUT" and method == "PUT" else body
    code, headers, reply = api.server.call(method, path, tokens[holder], body)
    asked = path + json.dumps(body if isinstance(body, dict) else {})
    for canary in leaks(asked, (headers.items(), reply)):
        failures.append(f"{name} {method} {path} as {holder}: the answer has {canary}: {str(reply)[:200]}")
    return code, reply


OF_THE_BODY = ("JOB_SUBMIT", "TOKEN_CREATE", "WEBHOOK_ADD", "OPENAI_JOB_CREATE")  # which says whose
LISTS = ("DATASET_LIST", "MODEL_LIST", "MODEL_HISTORY", "MODEL_VERSIONS")
STRANGERS = ("none", "no token of ours", "expired", "revoked", "rotated out", "a join token")
FOREIGN = {"foreign viewer": 1, "foreign submitter": 2, "foreign tenant_admin": 3}


def test_who_has_no_good_token_learns_nothing_from_any_route():
    tried = 0
    for name, method, role, own, _, body in rows():
        for holder in STRANGERS:
            code, _ = ask(name, method, own, holder, body)
            if role == "NONE":
                expect(401 if name == "LOGIN" else 200, code, f"{name} as {holder}")  # a code is what it asks for
            elif code != 501:
                expect(401, code, f"{name} {own} as {holder}")
                tried += 1
    if tried < 250:
        failures.append(f"only {tried} calls were tried")


def test_another_tenant_finds_nothing_by_any_route():
    tried = 0
    for name, method, role, own, none, body in rows():
        for holder, rank in FOREIGN.items():
            if name in ("EVENTS", "STREAM"):
                continue  # streams: below, and in live_test
            code, reply = ask(name, method, own, holder, body)
            if code == 501 or role == "NONE":
                continue
            tried += 1
            if rank < RANK[role]:
                expect(403, code, f"{name} {own} as {holder}")
            elif name in LISTS:  # what is shared would stand here
                expect((code, reply), ask(name, method, none, holder), f"{name}: nobody's list and the owner's")
            elif is_the_owners(name, own) or name in OF_THE_BODY:
                expect(404, code, f"{name} {own} as {holder} {str(reply)[:200]}")
                same_as_nothing(name, method, own, none, holder, body, reply)
    if tried < 130:
        failures.append(f"only {tried} calls were tried")


def same_as_nothing(name, method, own, none, holder, body, reply):
    """What is another's is answered like what is not there."""
    if own == none:
        return
    code, unknown = ask(name, method, none, holder, body)
    plain = lambda text: re.sub(r"[jth]-\d+|ftjob-\d+|nobody|canaryco|canary-data|canary-model", "X", text)
    expect((404, plain(unknown["error"]["message"])), (code, plain(reply["error"]["message"])),
           f"{name}: nothing's sentence and the owner's")


def test_other_methods_lead_nowhere():
    table = {}
    for _, method, _, own, _, _ in rows():
        table.setdefault(own.split("?")[0], set()).add(method)
    for path, known in table.items():
        for method in METHODS:
            if method in known:
                continue
            code, _ = ask("-", method, path, "foreign tenant_admin", {} if method != "GET" else None)
            if code not in (404, 405):
                failures.append(f"{method} {path}: {code}")


def test_lists_pages_and_filters_show_ones_own():
    for path in ("/v1/jobs?limit=1000", "/v1/jobs?state=queued", "/v1/jobs?label=team%3Dcanary-label", "/v1/usage",
                 "/v1/queues", "/v1/cluster", "/v1/bases", "/v1/tokens", "/v1/tenants/globex/datasets",
                 "/v1/tenants/globex/models", "/v1/tenants/globex/shares", "/v1/tenants/globex", "/v1/batches"):
        code, reply = ask("-", "GET", path, "foreign tenant_admin")
        if code not in (200, 501):
            failures.append(f"GET {path}: {code} {str(reply)[:200]}")
    for path in ("/metrics", "/readyz", "/healthz", "/v1/openapi.json"):
        expect(200, ask("-", "GET", path, "none")[0], f"GET {path}")


def test_a_stream_of_all_events_has_ones_own_only():
    with socket.create_connection((api.server.host, api.server.port), timeout=api.WAIT_S) as s:
        s.sendall(f"GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                  f"{tokens['foreign viewer']}\r\n\r\n".encode())
        must("POST", f"/v1/jobs/{things['job']}:cancel", tokens["owner"])
        data = upload("globex", b"{}", tokens["foreign submitter"])
        theirs = {"stage": "general", "from": "tiny", "data": {"train": f"sha256:{data}"}, "output": {"model": "m"}}
        job = must("POST", "/v1/jobs", tokens["foreign submitter"], {"spec": theirs})["job"]["id"]
        text = b""
        while job.encode() not in text:  # behind the owner's
            part = s.recv(65536)
            if not part:
                failures.append(f"the stream ended: {text[-300:]}")
                return
            text += part
    for canary in leaks("", text.decode()):
        failures.append(f"the stream has {canary}")
    if f'"{things["job"]}"' in text.decode():
        failures.append("the stream has the owner's job")


def test_zz_the_owner_has_what_it_had_and_the_log_has_no_secret():
    mine = tokens["owner"]
    expect("cancelled", must("GET", f"/v1/jobs/{things['job']}", mine)["state"], "the job, as its owner left it")
    expect(1, must("GET", f"/v1/tenants/{OWNER}/models/canary-model/versions/canary-alias", mine)["version"], "the model")
    expect([things["webhook"]], [h["id"] for h in must("GET", "/v1/webhooks", mine)["webhooks"]], "the webhook")
    expect("canary-file.jsonl", must("GET", f"/v1/tenants/{OWNER}/datasets/canary-data", mine).get("file"), "the data")
    expect(None, must("GET", f"/v1/tenants/{OWNER}", mine).get("queued_jobs_max"), "the quota")
    with open(api.server.log) as f:
        log = f.read()
    for holder, secret in tokens.items():
        if secret and secret in log:
            failures.append(f"the log has the token of: {holder}")
    if api.server.admin in log or "canary-text" in log:
        failures.append("the log has the admin's token or a tenant's text")


def main():
    api.server = api.Server(sys.argv[1])
    passed = failed = 0
    try:
        set_up()
        for name, test in sorted(globals().items()):
            if not name.startswith("test_"):
                continue
            try:
                test()
            except Exception as e:  # a test that breaks is a test that failed
                failures.append(f"{type(e).__name__}: {e}")
            print(("FAIL " if failures else "ok ") + name[5:].replace("_", " "), flush=True)
            for text in failures[:20]:
                print("    " + text)
            passed, failed = passed + (not failures), failed + bool(failures)
            failures.clear()
    finally:
        api.server.process.kill()
        shutil.rmtree(api.server.data, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
