#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a browser's page needs of a real tailord: sessions that no other site can use, and one stream with all that is
new, told apart by tenant, across a crash. Standard library only.

    tests/e2e/live_test.py BUILD_DIR [WORD]     runs the tests whose names contain WORD
"""
import re
import time

import api
from api import expect, expect_in, must, tokens

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
