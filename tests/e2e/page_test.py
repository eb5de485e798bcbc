#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard's files as a real tailord serves them. (In a browser: tests/browser.sh.) Standard library only.

    tests/e2e/page_test.py BUILD_DIR [WORD]     runs the tests whose names contain WORD
"""
import os
import re

import api
from api import expect, expect_in

FILES = sorted(os.listdir(os.path.join(api.ROOT, "coordinator", "dashboard")))


def test_every_file_of_the_dashboard_is_served_as_what_it_is():
    for name in FILES + ["chart.min.js"]:
        status, headers, text = api.server.call("GET", f"/ui/{name}")
        kind = {"html": "text/html", "css": "text/css", "js": "text/javascript"}[name.rsplit(".", 1)[1]]
        expect((200, f"{kind}; charset=utf-8"), (status, headers["Content-Type"]), name)
        expect("nosniff", headers["X-Content-Type-Options"], f"{name}: X-Content-Type-Options")
        if name in FILES:
            with open(os.path.join(api.ROOT, "coordinator", "dashboard", name), "rb") as f:
                expect(f.read(), text, f"{name}: its bytes")


def test_the_page_asks_for_no_token_and_allows_nothing_from_elsewhere():
    status, headers, text = api.server.call("GET", "/")
    expect(200, status, "the page")
    policy = headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        expect_in(part, policy, "its policy")
    expect(False, "unsafe" in policy, "what the policy must not allow")
    expect([], re.findall(rb"<script(?![^>]*src=)[^>]*>|style=|onclick=", text), "scripts and styles inside the page")
    for name in FILES:
        text = api.server.call("GET", f"/ui/{name}")[2]
        expect([], re.findall(rb"https?://[^\s\"'`)]+|innerHTML|insertAdjacentHTML|document\.write|\beval\(", text), name)


def test_what_is_not_there_is_said_to_be_missing():
    for path, code in (("/ui/nothing.js", 404), ("/ui/..%2findex.html", 400), ("/ui/", 400), ("/ui", 404), ("/index.html", 404)):
        expect(code, api.server.call("GET", path)[0], path)
    status, headers, text = api.server.call("HEAD", "/")
    expect((200, b""), (status, text), "HEAD")
    expect(405, api.server.call("POST", "/", body={})[0], "POST")


def test_a_browser_that_has_a_file_is_told_so_and_the_page_is_asked_for_anew():
    for name in ("style.css", "chart.min.js"):
        first = api.server.call("GET", f"/ui/{name}")
        expect("no-cache", first[1]["Cache-Control"], f"{name}: Cache-Control")
        status, headers, text = api.server.call("GET", f"/ui/{name}", headers={"If-None-Match": first[1]["ETag"]})
        expect((304, b"", first[1]["ETag"]), (status, text, headers["ETag"]), f"{name}, kept")
        expect(None, headers["Content-Length"], f"{name}, kept: a length")
        status, _, text = api.server.call("GET", f"/ui/{name}", headers={"If-None-Match": '"of another build"'})
        expect((200, first[2]), (status, text), f"{name}, kept from another build")
    tags = [api.server.call("GET", f"/ui/{name}")[1]["ETag"] for name in FILES]
    expect(len(FILES), len(set(tags)), "different files with a tag of their own")
    _, headers, _ = api.server.call("GET", "/")
    expect(("no-store", None), (headers["Cache-Control"], headers["ETag"]), "the page")


api.run(globals())
