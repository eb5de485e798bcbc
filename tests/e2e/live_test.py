#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a browser's page needs of a real tailord: sessions that no other site can use, and one stream with all that is
new, told apart by tenant, across a crash. Standard library only.

    tests/e2e/live_test.py BUILD_DIR [WORD]     runs the tests whose names contain WORD
"""
import api
from api import expect, expect_in, must, open_stream, read_events, submit, tokens

# ---- sessions ----------------------------------------------------------------------------------------------


def log_in():
    """Returns (the cookie as a browser sends it back, the reply)."""
    code = must("POST", "/v1/logins", tokens["admin"], {})["code"]
    status, headers, reply = api.server.call("POST", "/v1/login", body={"code": code, "browser": True})
    expect(200, status, "a login by a browser")
    cookie = headers["Set-Cookie"]
    for part in ("HttpOnly", "SameSite=Strict", "Path=/"):
        expect_in(part, cookie, "the cookie")
    expect(False, "secret" in reply, "a secret in the answer")
    return cookie.split(";")[0], reply


def test_a_browser_has_a_session_until_it_logs_out():
    cookie, reply = log_in()
    expect(("browser", "admin"), (reply["name"], reply["role"]), "who it is")
    status, _, again = api.server.call("GET", "/v1/session", headers={"Cookie": "a=b; " + cookie})
    expect((200, reply["csrf"], reply["id"]), (status, again.get("csrf"), again.get("id")), "a page that is reloaded")
    safe = {"Cookie": cookie, "X-Tailor-CSRF": reply["csrf"]}
    expect(200, api.server.call("POST", "/v1/queues/default:resume", body={}, headers=safe)[0], "to change something")
    status, headers, _ = api.server.call("POST", "/v1/logout", body={}, headers=safe)
    expect(200, status, "logout")
    expect_in("Max-Age=0", headers["Set-Cookie"], "the cookie is taken away")
    expect(401, api.server.call("GET", "/v1/session", headers={"Cookie": cookie})[0], "afterwards")


def test_a_session_changes_nothing_without_its_csrf_text():
    cookie, reply = log_in()
    other = log_in()[1]["csrf"]
    path = "/v1/queues/default:resume"
    for csrf in (None, "", "0" * 64, reply["csrf"][:-1], other):
        headers = {"Cookie": cookie, **({} if csrf is None else {"X-Tailor-CSRF": csrf})}
        status, _, answer = api.server.call("POST", path, body={}, headers=headers)
        expect(403, status, f"with csrf {csrf!r}")
        expect_in("X-Tailor-CSRF", answer, "the hint")
    expect(200, api.server.call("GET", "/v1/workers", headers={"Cookie": cookie})[0], "to read")


def test_another_sites_page_is_refused():
    cookie, reply = log_in()
    own = f"127.0.0.1:{api.server.port}"
    safe = {"Cookie": cookie, "X-Tailor-CSRF": reply["csrf"]}
    path = "/v1/queues/default:resume"
    for origin, code in (("http://" + own, 200), ("https://" + own, 200), ("http://evil.example", 403), ("null", 403),
                         ("http://127.0.0.1:1", 403), ("http://" + own + ".evil.example", 403)):
        got = api.server.call("POST", path, body={}, headers={**safe, "Origin": origin})[0]
        expect(code, got, f"Origin {origin}")
    code = must("POST", "/v1/logins", tokens["admin"], {})["code"]
    got = api.server.call("POST", "/v1/login", body={"code": code}, headers={"Origin": "http://evil.example"})[0]
    expect(403, got, "a login from another site")


def test_a_name_that_is_not_the_servers_is_refused():
    cookie = log_in()[0]
    for host, code in ((f"localhost:{api.server.port}", 200), ("dash.localhost", 200), ("127.0.0.1", 200),
                       ("[::1]:9", 200), ("10.1.2.3:7700", 200), ("evil.example", 421), ("127.0.0.1.evil.example", 421),
                       ("localhost.evil.example:7700", 421), ("[::1", 421), ("", 421)):
        for path in ("/v1/session", "/metrics"):
            headers = {"Cookie": cookie, "Host": host}
            expect(code, api.server.call("GET", path, headers=headers)[0], f"Host {host!r}: {path}")
    status, _, answer = api.server.call("GET", "/v1/session", headers={"Cookie": cookie, "Host": "evil.example"})
    expect_in("--host", answer, "the hint")
    token = api.server.call("GET", "/v1/session", tokens["viewer"], headers={"Host": "proxy.example"})
    expect((200, "viewer", "acme"), (token[0], token[2].get("role"), token[2].get("tenant")), "a token, by a proxy's name")
    expect(False, "csrf" in token[2], "csrf for a token")
    expect(400, api.server.call("POST", "/v1/logout", tokens["viewer"], {})[0], "the logout of a token")


# ---- the stream of a tab -------------------------------------------------------------------------------------


class Tab:
    """A stream, of which what came is kept."""

    def __init__(self, token, path="/v1/stream", last=None):
        self.connection, self.response = open_stream(path, token, last)
        expect(200, self.response.status, "a stream")
        self.events, self.seen = read_events(self.response), []

    def until(self, wanted):
        """Reads until wanted(kind, data) is true; returns that data."""
        for kind, number, data in self.events:
            self.seen.append((kind, number, data))
            if wanted(kind, data):
                return data
        raise AssertionError("the stream ended after " + str(self.seen[-3:]))

    def of(self, kind):
        return [data for k, _, data in self.seen if k == kind]

    def close(self):
        self.response.close()
        self.connection.close()


def test_a_tab_is_told_what_there_is_and_then_what_changes():
    tab = Tab(tokens["admin"])
    tab.until(lambda kind, data: kind == "cluster")
    hello = tab.seen[0]
    expect("hello", hello[0], "the first event")
    for field in ("boot", "version", "time_ms", "number"):
        expect(True, field in hello[2], f"{field} of the hello")
    expect_in("jobs_queued", tab.of("cluster")[0], "the cluster")
    job = submit()["job"]["id"]
    row = tab.until(lambda kind, data: kind == "jobs" and any(j["id"] == job for j in data["jobs"]))["jobs"][-1]
    shown = must("GET", "/v1/jobs?limit=1", tokens["admin"])["jobs"][0]
    expect(sorted(set(shown) - {"waiting_detail"}), sorted(set(row) - {"waiting_detail"}), "a row as in the list")
    must("POST", f"/v1/jobs/{job}:cancel", tokens["admin"])
    tab.until(lambda kind, data: kind == "jobs" and any(
        j["id"] == job and j["state"] == "cancelled" for j in data["jobs"]))
    counted = tab.until(lambda kind, data: kind == "cluster")
    expect(True, "waiting" in counted, "queues by reason")
    told = [e["number"] for e in tab.of("event")]
    expect(sorted(set(told)), told, "events, in order and once")
    expect(True, all(n > hello[2]["number"] for n in told), "only new events")
    tab.close()


def test_a_tenants_tab_sees_nothing_of_another():
    theirs, ours = Tab(tokens["foreign_viewer"], "/v1/stream?after=0"), Tab(tokens["viewer"], "/v1/stream?after=0")
    for tab in (theirs, ours):
        tab.until(lambda kind, data: kind == "cluster")
    job = submit()["job"]["id"]
    ours.until(lambda kind, data: kind == "jobs" and any(j["id"] == job for j in data["jobs"]))
    digest = api.upload("globex", b'{"prompt":"a","chosen":"b","rejected":"c"}\n', tokens["foreign_submitter"])
    # A job too: it is judged by a worker, of which there is none.
    other = must("POST", "/v1/tenants/globex/datasets/tickets", tokens["foreign_submitter"],
                 {"digest": digest, "file": "t.jsonl"})["job_id"]
    theirs.until(lambda kind, data: kind == "jobs" and any(j["id"] == other for j in data["jobs"]))
    behind = submit()["job"]["id"]
    ours.until(lambda kind, data: kind == "jobs" and any(j["id"] == behind for j in data["jobs"]))
    expect(True, any(e.get("job_id") == other for e in theirs.of("event")), "globex's tab has its own events")
    for tab, tenant in ((theirs, "globex"), (ours, "acme")):
        rows = [j for data in tab.of("jobs") for j in data["jobs"]] + tab.of("event")
        expect([], [r for r in rows if r.get("tenant") != tenant], f"foreign rows of {tenant}'s tab")
        expect([], tab.of("workers"), f"workers in {tenant}'s tab")
        tab.close()
    got = api.server.call("GET", f"/v1/stream?job={job}", tokens["foreign_viewer"])[0]
    expect(404, got, "to follow another tenant's job")


def test_a_session_that_ends_ends_its_stream():
    cookie, reply = log_in()
    connection, response = api.open_with("/v1/stream", {"Cookie": cookie})
    events = read_events(response)
    expect("hello", next(events)[0], "the first event")
    safe = {"Cookie": cookie, "X-Tailor-CSRF": reply["csrf"]}
    expect(200, api.server.call("POST", "/v1/logout", body={}, headers=safe)[0], "logout")
    submit()
    expect([], [e for e in events if e[0] == "event"], "events after the logout, before the end")
    connection.close()


def test_more_streams_than_there_may_be_are_told_to_come_again():
    tabs = []
    status = 200
    while status == 200 and len(tabs) < 100:
        connection, response = open_stream("/v1/stream", tokens["viewer"])
        status = response.status
        tabs.append((connection, response))
    expect(503, status, "one more")
    expect(True, int(tabs[-1][1].getheader("Retry-After") or 0) > 0, "Retry-After")
    for connection, response in tabs:
        response.close()
        connection.close()


def test_versions_of_all_models_come_by_a_cursor():
    manifests = [api.upload_files("acme", {"config.json": b"%d" % i}, tokens["submitter"]) for i in range(3)]
    for i, manifest in enumerate(manifests):
        must("POST", f"/v1/tenants/acme/models/m{i % 2}", tokens["submitter"], {"manifest": manifest})
    first = must("GET", "/v1/models?limit=2", tokens["viewer"])
    rest = must("GET", f"/v1/models?limit=2&after={first['next']}", tokens["viewer"])
    names = [(v["model"], v["version"]) for v in first["versions"] + rest["versions"]]
    expect([("m0", 1), ("m1", 1), ("m0", 2)], names, "versions, oldest first")
    expect(False, "next" in rest, "a cursor behind the last page")
    expect([], must("GET", "/v1/models", tokens["foreign_viewer"])["versions"], "another tenant's")
    expect(404, api.server.call("GET", "/v1/models?tenant=acme", tokens["foreign_viewer"])[0], "another tenant by name")
    must("POST", "/v1/tenants/acme/shares", tokens["tenant_admin"],
         {"kind": "model", "name": "m1", "grantee": "globex", "right": "read"})
    shared = must("GET", "/v1/models", tokens["foreign_viewer"])["versions"]
    expect([("m1", 1)], [(v["model"], v["version"]) for v in shared], "what was shared")


def test_zx_events_are_followed_across_a_crash_without_a_gap_or_a_repeat():
    last, got = "0", []
    for turn in range(3):
        jobs = {submit()["job"]["id"] for _ in range(3)}
        tab = Tab(tokens["viewer"], last=last)
        while jobs:
            event = tab.until(lambda kind, data: kind == "event")
            last = tab.seen[-1][1]
            got.append(int(last))
            jobs.discard(event.get("job_id"))
        expect([], tab.of("gap"), "gaps")
        api.server.crash()
        tab.close()
        api.server.start()
    whole = [e["number"] for e in must("GET", "/v1/events?limit=1000", tokens["viewer"])["events"]]
    expect(whole[:len(got)], got, "what was followed, beside what there is")


def test_zz_a_gap_is_told_where_retention_has_cut():
    over = submit()["job"]["id"]
    must("POST", f"/v1/jobs/{over}:cancel", tokens["submitter"])
    kept = submit()["job"]["id"]  # is not over: its events stay
    api.server.crash()
    api.server.start("--keep-events", "0.2s")
    numbers = []
    while not numbers or min(numbers) < 2 or over in jobs:  # until the cut is made
        events = must("GET", "/v1/events?limit=1000", tokens["admin"])["events"]
        numbers, jobs = [e["number"] for e in events], [e.get("job_id") for e in events]
    for path in ("/v1/stream?after=1", "/v1/events?follow=true&after=1"):
        tab = Tab(tokens["admin"], path=path)
        event = tab.until(lambda kind, data: kind == "event" and data.get("job_id") == kept)
        told = [kind for kind, _, _ in tab.seen if kind in ("gap", "event")]
        expect(["gap"] + ["event"] * (len(told) - 1), told, f"{path}: the gap, once, and then what stayed")
        gap = (tab.of("gap") or [{"from": 0, "to": 0}])[0]
        expect((2, True), (gap["from"], gap["to"] >= 3), f"{path}: {gap}")
        tab.close()
        tab = Tab(tokens["admin"], path=path, last=str(gap["to"]))
        mark = submit()["job"]["id"]
        tab.until(lambda kind, data: kind == "event" and data.get("job_id") == mark)
        expect([], tab.of("gap"), f"{path}: gaps behind the cut")
        tab.close()


def test_zy_a_session_outlives_a_crash_and_a_name_may_be_given():
    cookie, reply = log_in()
    api.server.crash()
    api.server.start("--host", "dash.example")
    for host, code in (("dash.example:443", 200), ("other.example", 421)):
        headers = {"Cookie": cookie, "Host": host}
        status, _, session = api.server.call("GET", "/v1/session", headers=headers)
        expect(code, status, f"Host {host} after a crash")
    headers = {"Cookie": cookie, "X-Tailor-CSRF": reply["csrf"]}
    expect(200, api.server.call("POST", "/v1/logout", body={}, headers=headers)[0], "the old page goes on")


if __name__ == "__main__":
    api.run(globals())
