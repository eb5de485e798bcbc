#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""run.py BUILD_DIR [OPTION…]: what tests/schemathesis.sh does, with the Python that has schemathesis."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import api  # noqa: E402
from api import must, submit, tokens, upload_files  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
# Not asked: whether what a schema does not forbid is always taken (what a name refers to has to be there), and whether
# all that it forbids is refused (an id may be written without its letter, a number as a text, and null means "not set").
CHECKS_LEFT_OUT = "negative_data_rejection,positive_data_acceptance"


def fill():
    """Something of every kind, so that answers have something in them. Returns values for the parts of paths."""
    admin, own = tokens["admin"], tokens["tenant_admin"]
    jobs = [submit(labels={"team": "support"}, name=f"job-{i}")["job"]["id"] for i in range(4)]
    must("POST", f"/v1/jobs/{jobs[3]}:cancel", own)
    batch = must("POST", "/v1/batches", own, {
        "name": "sweep", "recipe": "stage: general\nfrom: tiny\ndata: {train: tickets}\noutput: {model: '${m}'}\n",
        "rows": [{"m": "a"}, {"m": "b"}, {"m": "not a name"}]})["batch"]["id"]
    manifest = upload_files("acme", {"model.safetensors": b"weights"}, own)
    for _ in range(2):
        must("POST", "/v1/tenants/acme/models/support", own, {"manifest": manifest})
    must("POST", "/v1/tenants/acme/models/support/versions/1:promote", own, {"alias": "prod"})
    must("POST", "/v1/tenants/acme/shares", own, {"kind": "model", "name": "support", "grantee": "globex",
                                                  "right": "use"})
    must("POST", "/v1/queues/default:resume", admin, {})
    spare = [must("POST", "/v1/tokens", own, {"name": f"spare-{i}", "role": "viewer"})["id"] for i in range(8)]
    hook = must("POST", "/v1/webhooks", api.server.admin, {"url": "https://example.com/", "tenant": "acme"})["id"]
    return {"jobs": jobs, "webhooks": [hook], "file": ["file-tickets", "file-used"], "job": ["ftjob-1", "ftjob-2"], "batches": [batch], "tokens": spare, "workers": ["w-1"], "tenant": ["acme", "globex"],
            "names": ["tickets", "used", "support", "tiny", "acme", "default", "app.js"], "version": ["1", "2", "prod"],
            "digest": [tokens["data"], manifest]}


def ask(role, options, values):
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": HERE, "TAILOR_VALUES": values}
    return subprocess.call(
        [os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run",
         f"http://{api.server.host}:{api.server.port}/v1/openapi.json", "--header",
         f"Authorization: Bearer {tokens[role]}", "--exclude-checks", CHECKS_LEFT_OUT, "--phases",
         "examples,coverage,fuzzing", "--suppress-health-check", "all", "--continue-on-failure", "--warnings", "off",
         "--exclude-operation-id", "stream", *options], env=env, cwd=api.server.data)


def main():
    options = sys.argv[2:] or ["-n", "30", "--seed", "1"]
    api.server = api.Server(sys.argv[1])
    failed = []
    try:
        api.set_up()
        with tempfile.NamedTemporaryFile("w", suffix=".json") as values:
            json.dump(fill(), values)
            values.flush()
            document = os.path.join(api.server.data, "openapi.json")
            with open(document, "w") as f:
                json.dump(api.server.call("GET", "/v1/openapi.json")[2], f)
            validator = os.path.join(os.path.dirname(sys.executable), "openapi-spec-validator")
            failed += ["the document"] if subprocess.call([validator, document]) else []
            for role in ("viewer", "submitter", "tenant_admin", "admin"):
                print(f"\n== {role}", flush=True)
                failed += [role] if ask(role, options, values.name) else []
                if api.server.process.poll() is not None:
                    print(open(api.server.log).read()[-3000:])
                    raise SystemExit(f"tailord died, asked as {role}")
        failed += api.failures
    finally:
        api.server.process.kill()
        api.shutil.rmtree(api.server.data, ignore_errors=True)
    print(f"\n{5 - len(failed)} passed, {len(failed)} failed: {', '.join(failed) or 'none'}")
    sys.exit(1 if failed else 0)


main()
