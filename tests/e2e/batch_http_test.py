#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Batches over the HTTP API of a real tailord: what becomes of each row, what a second submit does, who may see what.
No worker: jobs stay queued.

    tests/e2e/batch_http_test.py BUILD_DIR [WORD]     runs the tests whose names contain WORD
"""
import http.client
import signal
import threading

import api
from api import expect, expect_in, must, tokens

RECIPE = """stage: general
from: tiny
name: ${who}
labels: {wave: "${wave}"}
data:
  train: [tickets]
train: {seed: "${seed}"}
output: {model: "m-${who}"}
"""


def rows(*names, **more):
    return [{"who": name, "wave": "one", "seed": str(i + 1), **more} for i, name in enumerate(names)]


def batch(name, table, token=None, code=(200, 201), **more):
    body = {"name": name, "recipe": RECIPE, "rows": table, "key": "who", **more}
    return must("POST", "/v1/batches", token or tokens["submitter"], body, code=code)


def by_key(reply):
    return {row["key"]: row for row in reply["rows"]}


def jobs_of(name):
    listed = must("GET", "/v1/batches?limit=1000", tokens["viewer"])["batches"]
    number = next(b["id"] for b in listed if b["name"] == name)
    return must("GET", f"/v1/jobs?batch_id={number}&limit=1000", tokens["viewer"])["jobs"]


def test_a_row_becomes_a_job_with_its_cells_in_place():
    reply = batch("first", rows("ann", "bob"), code=(201,))
    expect(2, reply["submitted"], "submitted")
    row = by_key(reply)["bob"]
    job = must("GET", f"/v1/jobs/{row['job_id']}", tokens["viewer"])
    expect("bob", job["name"], "its name")
    expect({"wave": "one"}, job["labels"], "its labels")
    expect(2, job["spec"]["train"]["seed"], "its seed, a number")
    expect("acme/m-bob", job["output_model"], "the model it makes")
    expect([reply["batch"]["id"], 2], [job["batch_id"], job["batch_row"]], "its batch")
    shown = must("GET", f"/v1/batches/{reply['batch']['id']}", tokens["viewer"])
    expect(RECIPE, shown["batch"]["recipe"], "the recipe")
    expect([2, 2, 2], [shown["batch"][f] for f in ("rows_total", "rows_waiting", "jobs_active")], "its counts")
    expect({"who": "ann", "wave": "one", "seed": "1"}, shown["rows"][0]["values"], "a row's cells")
    expect("queued", shown["rows"][0]["job_state"], "a row's state")


def test_a_second_submit_runs_only_what_changed_wherever_the_rows_stand():
    first = by_key(batch("again", rows("ann", "bob", "cid")))
    same = batch("again", rows("ann", "bob", "cid"), code=(200,))
    expect([0, 3], [same["submitted"], same["unchanged"]], "the same table")
    table = list(reversed(rows("ann", "bob", "cid")))
    table[1]["seed"] = "77"
    table.insert(0, {"who": "dora", "wave": "one", "seed": "4"})
    reply = batch("again", table)
    now = by_key(reply)
    expect([2, 2], [reply["submitted"], reply["unchanged"]], "one row new, one changed")
    expect([first["ann"]["job_id"], first["cid"]["job_id"]], [now["ann"]["job_id"], now["cid"]["job_id"]], "the rest")
    expect(True, now["bob"]["job_id"] != first["bob"]["job_id"], "the changed row's job")
    expect([True, False], [now["ann"]["unchanged"], now["bob"]["unchanged"]], "unchanged")
    expect(5, len(jobs_of("again")), "jobs of the batch")


def test_every_bad_row_is_told_with_its_field_and_the_good_ones_go():
    table = rows("ann", "bob", "cid", "dora", "Eve!")
    table[1]["seed"] = "many"
    table[2]["extra"] = "x"
    table[3]["wave"] = "a" * 300
    reply = batch("bad", table, code=(201,), refused=[{"row": 1, "error": "no such file"}])
    now = by_key(reply)
    expect(1, reply["submitted"], "the good one")
    expect("no such file", now["ann"]["error"], "what the sender said")
    expect_in("train.seed", now["bob"]["error"], "a cell that is no number")
    expect(True, "job_id" in now["cid"], "the good one has a job")
    expect_in("labels", now["dora"]["error"], "a label that is too long")
    expect_in("name is Eve!", now["Eve!"]["error"], "a name that is none")
    expect_in("column extra", reply["warnings"], "a column that nobody names")
    counts = reply["batch"]
    expect([5, 4, 1], [counts[f] for f in ("rows_total", "rows_invalid", "jobs_active")], "the counts")
    mended = batch("bad", rows("ann", "bob", "cid", "dora", "eve"))
    expect([4, 1], [mended["submitted"], mended["unchanged"]], "mended and submitted again")
    expect(0, mended["batch"]["rows_invalid"], "what is refused after that")


def test_a_dry_run_checks_everything_and_makes_nothing():
    before = len(must("GET", "/v1/jobs?limit=1000", tokens["viewer"])["jobs"])
    table = rows("ann", "bob")
    table[0]["seed"] = "x"
    reply = batch("dry", table, code=(200,), dry_run=True)
    expect([1, 1], [reply["submitted"], sum("error" in r for r in reply["rows"])], "what would be")
    expect(False, "batch" in reply, "a batch of a dry run")
    expect(before, len(must("GET", "/v1/jobs?limit=1000", tokens["viewer"])["jobs"]), "jobs after it")
    expect([], [b for b in must("GET", "/v1/batches", tokens["viewer"])["batches"] if b["name"] == "dry"], "batches")


def test_a_table_that_makes_no_sense_is_refused_whole():
    for body, text in (({"rows": rows("ann", "ann")}, "rows 1 and 2 have the same key"),
                       ({"rows": [{"name": "x"}]}, "no column who"),
                       ({"rows": rows("")}, "row 1"), ({"rows": []}, "a row at least"),
                       ({"rows": rows("ann"), "from_models": "parent=a/b"}, "from_models"),
                       ({"rows": [{"who": "ann", "seed": [1]}]}, "column seed"),
                       ({"rows": rows("ann"), "set": ["train.seed"]}, "KEY=VALUE"),
                       ({"rows": rows("ann"), "refused": [{"row": 2, "error": "x"}]}, "refused[0]"),
                       ({"rows": rows("ann"), "name": "No Name"}, "name")):
        code, _, reply = api.server.call("POST", "/v1/batches", tokens["submitter"],
                                         {"name": "sense", "recipe": RECIPE, "key": "who", **body})
        expect(True, code in (400, 404) or text == "column seed", f"the code of {text}")
        expect_in(text, reply, f"a table where {text}")
    expect([], [b for b in must("GET", "/v1/batches", tokens["viewer"])["batches"] if b["name"] == "sense"], "batches")


def test_a_tenants_token_submits_for_its_tenant_and_sees_its_own():
    recipe = RECIPE + "tenant: ${tenant}\n"
    table = [{**row, "tenant": tenant} for row, tenant in zip(rows("ann", "bob", "cid"), ("acme", "globex", "nobody"))]
    reply = must("POST", "/v1/batches", tokens["submitter"], {"name": "own", "recipe": recipe, "rows": table, "key": "who"})
    now = by_key(reply)
    expect([True, False, False], ["job_id" in now[k] for k in ("ann", "bob", "cid")], "whose rows went")
    expect(now["cid"]["error"].replace("nobody", "X"), now["bob"]["error"].replace("globex", "X"),
           "a foreign tenant is like an unknown one")
    number = reply["batch"]["id"]
    for method, path in (("GET", ""), ("POST", ":cancel"), ("POST", ":retry")):
        expect(404, api.server.call(method, f"/v1/batches/{number}{path}", tokens["foreign_tenant_admin"])[0],
               f"{method} {path} of another tenant's batch")
    foreign = must("GET", "/v1/batches", tokens["foreign_viewer"])["batches"]
    expect([], [b for b in foreign if b["tenant"] != "globex"], "another tenant's list")
    expect(404, api.server.call("POST", "/v1/batches", tokens["foreign_submitter"],
                                {"name": "own", "tenant": "acme", "recipe": recipe, "rows": table})[0], "in its name")


def test_an_admin_submits_for_many_tenants_and_each_sees_its_own_jobs():
    recipe = RECIPE.replace("[tickets]", "[acme/tickets]") + "tenant: ${tenant}\n"
    must("POST", "/v1/tenants/acme/shares", tokens["admin"], {"kind": "dataset", "name": "tickets", "grantee": "*",
                                                             "right": "use"})
    table = [{**row, "tenant": tenant} for row, tenant in zip(rows("ann", "bob"), ("acme", "globex"))]
    reply = must("POST", "/v1/batches", tokens["admin"], {"name": "many", "tenant": "acme", "recipe": recipe,
                                                         "rows": table, "key": "who"})
    expect(2, reply["submitted"], "submitted")
    job = must("GET", f"/v1/jobs/{by_key(reply)['bob']['job_id']}", tokens["foreign_viewer"])
    expect("globex", job["tenant"], "the job's tenant")
    seen = must("GET", f"/v1/batches/{reply['batch']['id']}", tokens["viewer"])
    expect(["ann"], [row["key"] for row in seen["rows"]], "the rows that acme sees")
    expect(1, seen["batch"]["rows_total"], "the rows that acme counts")
    expect(2, must("GET", f"/v1/batches/{reply['batch']['id']}", tokens["admin"])["batch"]["rows_total"], "admin's")


def test_a_batch_is_cancelled_and_tried_again_and_both_only_once():
    reply = batch("over", rows("ann", "bob", "cid"))
    path = f"/v1/batches/{reply['batch']['id']}"
    must("POST", f"/v1/jobs/{by_key(reply)['ann']['job_id']}:cancel", tokens["submitter"])
    over = must("POST", path + ":cancel", tokens["submitter"])["batch"]
    expect([3, 0, True], [over["jobs_cancelled"], over["jobs_active"], over["cancel_requested"]], "after the cancel")
    again = must("POST", path + ":retry", tokens["submitter"])
    expect(3, again["submitted"], "tried again")
    expect([3, False], [again["batch"]["jobs_active"], again["batch"].get("cancel_requested")], "after the retry")
    expect(0, must("POST", path + ":retry", tokens["submitter"])["submitted"], "tried again at once")
    expect(0, must("POST", path + ":retry", tokens["submitter"], {"failed": "user_data"})["submitted"], "by class")
    same = batch("over", rows("ann", "bob", "cid"))
    expect([0, 3], [same["submitted"], same["unchanged"]], "the table again")
    job = by_key(same)["bob"]["job_id"]
    must("POST", f"/v1/jobs/{job}:cancel", tokens["submitter"])
    newer = must("POST", f"/v1/jobs/{job}:retry", tokens["submitter"])["id"]
    row = next(r for r in must("GET", path, tokens["viewer"])["rows"] if r["key"] == "bob")
    expect(newer, row["job_id"], "a job that is tried again stays its row's")


def test_what_happened_to_a_batch_is_an_event():
    reply = batch("told", rows("ann"))
    number = reply["batch"]["id"]
    must("POST", f"/v1/batches/{number}:cancel", tokens["submitter"])
    kinds = []
    after = 0
    while True:
        page = must("GET", f"/v1/events?after={after}&limit=1000", tokens["viewer"])
        kinds += [e["kind"] for e in page["events"] if number in e["message"]]
        if not page["events"]:
            break
        after = page["next"]
    expect(["batch_submitted", "batch_cancelled", "batch_ended"], kinds, "its events")


def test_a_quota_refuses_the_rows_above_it():
    must("PUT", "/v1/tenants/globex", tokens["admin"], {"queued_jobs_max": 2})
    recipe = RECIPE.replace("[tickets]", "[acme/tickets]")
    must("POST", "/v1/tenants/acme/shares", tokens["admin"], {"kind": "dataset", "name": "tickets", "grantee": "*",
                                                             "right": "use"})
    waiting = len(must("GET", "/v1/jobs?state=queued", tokens["foreign_viewer"])["jobs"])
    reply = must("POST", "/v1/batches", tokens["foreign_submitter"], {"name": "much", "recipe": recipe, "key": "who",
                                                                     "rows": rows("ann", "bob", "cid", "dora")})
    expect(2 - waiting, reply["submitted"], "submitted")
    refused = [row for row in reply["rows"] if "error" in row]
    expect(2 + waiting, len(refused), "refused")
    expect_in("2", refused[0]["error"], "the quota's sentence")
    shown = must("GET", f"/v1/batches/{reply['batch']['id']}", tokens["foreign_viewer"])
    expect(2 + waiting, shown["batch"]["rows_invalid"], "as it is recorded")
    must("PUT", "/v1/tenants/globex", tokens["admin"], {"queued_jobs_max": 10000})


def test_two_thousand_rows_are_taken_and_change_nothing_when_they_come_again():
    table = [{"who": f"n{i}", "wave": "big", "seed": str(i)} for i in range(2000)]
    reply = batch("big", table)
    expect(2000, reply["submitted"], "submitted")
    expect([0, 2000], [batch("big", table)[f] for f in ("submitted", "unchanged")], "again")


def test_zz_a_batch_outlives_a_kill_in_the_middle_and_is_whole_after_the_next_submit():
    table = [{"who": f"k{i}", "wave": "kill", "seed": str(i)} for i in range(600)]
    kill = threading.Timer(0.35, lambda: api.server.process.send_signal(signal.SIGKILL))
    kill.start()
    try:
        api.server.call("POST", "/v1/batches", tokens["submitter"], {"name": "kill", "recipe": RECIPE, "rows": table,
                                                                    "key": "who"})
    except (OSError, http.client.HTTPException):
        pass  # it was killed before it answered
    kill.join()
    api.server.process.wait(api.WAIT_S)
    api.server.start()
    reply = batch("kill", table)
    expect(600, reply["submitted"] + reply["unchanged"], "rows with a job")
    expect(600, reply["batch"]["rows_total"], "rows of the batch")
    jobs, after = 0, 0
    while True:
        page = must("GET", f"/v1/jobs?batch_id={reply['batch']['id']}&limit=1000" + (f"&after={after}" if after else ""),
                    tokens["viewer"])
        jobs += len(page["jobs"])
        if "next" not in page:
            break
        after = page["next"]
    expect(600, jobs, "jobs of the batch")


if __name__ == "__main__":
    api.run(globals())
