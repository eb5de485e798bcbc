#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Webhooks of a real tailord, with receivers that fail, are slow, say no, or go away. See webhook_test.sh."""
import base64
import hashlib
import hmac
import http.server
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import api
from api import expect, expect_in, failures, must, tokens

OPTIONS = ["--webhook-private"]
FAIL = os.path.join(tempfile.mkdtemp(prefix="webhook_test."), "fail")  # lib/failpoint.h: what is to fail from now on


class Receiver:
    """Keeps what it was told. answers: the codes of the first requests; 200 afterwards. pause_s: before each answer."""

    def __init__(self, answers=(), pause_s=0.0, certificate=None):
        self.answers, self.pause_s, self.told, self.asked = list(answers), pause_s, [], 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked += 1
                time.sleep(outer.pause_s)
                code = outer.answers.pop(0) if outer.answers else 200
                outer.told.append((code, dict(self.headers), body))
                try:
                    self.send_response(code)
                    self.send_header("Content-Length", "0")
                    if code == 302:
                        self.send_header("Location", "http://127.0.0.1:1/")
                    self.end_headers()
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.server.server_port}/hook"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.server.handle_error = lambda *_: None  # of who hangs up, since it does not trust us
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def taken(self):
        return [json.loads(body) for code, _, body in self.told if code == 200]

    def numbers(self):
        return [message["data"]["number"] for message in self.taken()]


def until(condition, what, seconds=30):
    end = time.time() + seconds
    while time.time() < end:
        if condition():
            return
        time.sleep(0.05)
    failures.append(f"waited {seconds} s for: {what}")


def add(url, token=None, **more):
    return must("POST", "/v1/webhooks", token or tokens["tenant_admin"], {"url": url, **more})


def shown(hook):
    return next((h for h in must("GET", "/v1/webhooks", tokens["tenant_admin"])["webhooks"] if h["id"] == hook["id"]), None)


def events_of(tenant_token):
    return [e["number"] for e in must("GET", "/v1/events?limit=1000", tenant_token)["events"]]


def some_events(count=3):
    """Each submit is an event, each cancel two."""
    for _ in range(count):
        job = api.submit()["job"]["id"]
        must("POST", f"/v1/jobs/{job}:cancel", tokens["submitter"])


def test_events_come_signed_in_order_each_once():
    receiver = Receiver()
    before = events_of(tokens["viewer"])
    hook = add(receiver.url)
    expect(True, hook["secret"].startswith("whsec_"), "the secret, once")
    expect(False, "secret" in json.dumps(must("GET", "/v1/webhooks", tokens["tenant_admin"])), "and never again")
    some_events()
    wanted = [n for n in events_of(tokens["viewer"]) if n not in before]
    until(lambda: receiver.numbers() == wanted, f"the events {wanted}, got {receiver.numbers()}")
    expect(wanted, receiver.numbers(), "events in order, each once")
    key = base64.b64decode(hook["secret"][6:])
    for _, headers, body in receiver.told:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        wanted_text = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        expect(wanted_text, headers["webhook-signature"], "its signature")
        expect(True, abs(int(headers["webhook-timestamp"]) - time.time()) < 60, "its time")
        message = json.loads(body)
        expect(message["data"]["kind"], message["type"], "its type")
        expect("acme", message["data"]["tenant"], "whose it is")
    until(lambda: shown(hook)["delivered"] == len(wanted), "their count is shown")
    must("DELETE", f"/v1/webhooks/{hook['id']}", tokens["tenant_admin"])


def test_only_the_kinds_that_were_asked_for_and_only_of_the_tenant():
    receiver, other = Receiver(), Receiver()
    hook, foreign = add(receiver.url, events="job_priority,nothing"), add(other.url, tokens["admin"], tenant="globex")
    some_events()
    time.sleep(1.5)
    expect([], receiver.numbers(), "none of the kinds happened")
    expect([], other.numbers(), "nothing of another tenant")
    for it in (hook, foreign):
        must("DELETE", f"/v1/webhooks/{it['id']}", tokens["admin"])


def test_a_receiver_that_fails_is_asked_again_and_misses_nothing():
    receiver = Receiver(answers=[500, 302, 503])
    before = events_of(tokens["viewer"])
    hook = add(receiver.url)
    some_events(1)
    wanted = [n for n in events_of(tokens["viewer"]) if n not in before]
    until(lambda: receiver.numbers() == wanted, f"{wanted}, behind three answers of another kind", 60)
    expect(wanted, receiver.numbers(), "in order, behind what was in vain")
    ids = [headers["webhook-id"] for _, headers, _ in receiver.told]
    expect(1, len(set(ids[:4])), "what is repeated has the same id")
    expect(False, any("127.0.0.1:1/" in str(h) for _, h, _ in receiver.told), "no redirect is followed")
    must("DELETE", f"/v1/webhooks/{hook['id']}", tokens["tenant_admin"])


def test_a_slow_receiver_holds_up_nobody_else():
    slow, quick = Receiver(pause_s=5), Receiver()
    hooks = [add(slow.url), add(quick.url)]
    some_events(2)
    until(lambda: len(quick.numbers()) >= 4, "the quick one has all", 4)
    expect(True, len(slow.numbers()) <= 1, "before the slow one has two")
    for hook in hooks:
        must("DELETE", f"/v1/webhooks/{hook['id']}", tokens["tenant_admin"])


def test_one_that_says_never_again_is_stopped_until_it_is_resumed():
    receiver = Receiver(answers=[410])
    hook = add(receiver.url)
    some_events(1)
    until(lambda: shown(hook).get("stopped_ms"), "it is stopped")
    expect_in("410", shown(hook).get("cause"), "the cause")
    expect([], receiver.numbers(), "nothing was taken")
    must("POST", f"/v1/webhooks/{hook['id']}:resume", tokens["tenant_admin"], {})
    until(lambda: len(receiver.numbers()) >= 2, "resumed, it gets what it missed")
    must("DELETE", f"/v1/webhooks/{hook['id']}", tokens["tenant_admin"])


def test_a_killed_coordinator_loses_no_event_of_a_receiver():
    receiver = Receiver(answers=[503, 503], pause_s=0.3)
    before = events_of(tokens["viewer"])
    hook = add(receiver.url)
    some_events(3)
    wanted = [n for n in events_of(tokens["viewer"]) if n not in before]
    until(lambda: len(receiver.told) >= 4, "some were told")
    api.server.crash()
    api.server.start(*OPTIONS)
    until(lambda: receiver.numbers()[-1:] == wanted[-1:], "the last of them")
    got = receiver.numbers()
    expect(wanted, sorted(set(got)), "every event")
    expect(got, sorted(got), "in order")
    expect(True, len(got) <= len(wanted) + 1, "the one that was under way at most twice")
    must("DELETE", f"/v1/webhooks/{hook['id']}", tokens["tenant_admin"])


def test_a_full_disk_repeats_nothing():
    receiver = Receiver(pause_s=2)
    before = events_of(tokens["viewer"])
    hook = add(receiver.url)
    some_events(1)
    wanted = [n for n in events_of(tokens["viewer"]) if n not in before]
    until(lambda: receiver.asked == 1, "the first is under way")
    with open(FAIL, "w") as f:
        f.write("records_commit:1+:full")
    time.sleep(6)  # it was taken, which cannot be recorded
    expect(1, receiver.asked, "times it was told with a full disk")
    os.remove(FAIL)
    until(lambda: receiver.numbers() == wanted, f"the events {wanted}, got {receiver.numbers()}")
    expect(wanted, receiver.numbers(), "each once, behind the full disk too")
    must("DELETE", f"/v1/webhooks/{hook['id']}", tokens["tenant_admin"])


def test_a_stop_does_not_wait_for_receivers():
    receiver = Receiver(pause_s=12)
    hook = add(receiver.url)
    some_events(1)
    time.sleep(0.5)
    began = time.time()
    api.server.stop()
    expect(True, time.time() - began < 10, "it ended before the receiver answered")
    api.server.start(*OPTIONS)
    must("DELETE", f"/v1/webhooks/{hook['id']}", tokens["tenant_admin"])


def test_what_is_no_receiver_is_refused():
    for url, word in (("ftp://example.com/", "ftp"), ("nonsense", "URL"), ("https://name:word@example.com/", "password"),
                      ("https://", "URL")):
        code, _, reply = api.server.call("POST", "/v1/webhooks", tokens["tenant_admin"], {"url": url})
        expect(400, code, f"{url} is refused")
        expect_in(word, reply, f"and why: {url}")
    expect(403, api.server.call("POST", "/v1/webhooks", tokens["submitter"], {"url": "https://example.com/"})[0], "by a submitter")
    expect(404, api.server.call("DELETE", "/v1/webhooks/h-999", tokens["tenant_admin"])[0], "one that is not there")
    hooks = [add("https://example.com/" + str(i)) for i in range(16)]
    code, _, reply = api.server.call("POST", "/v1/webhooks", tokens["tenant_admin"], {"url": "https://example.com/17"})
    expect(429, code, "the seventeenth")
    for hook in hooks:
        must("DELETE", f"/v1/webhooks/{hook['id']}", tokens["tenant_admin"])


def test_zy_what_retention_cut_is_told_as_a_gap():
    receiver = Receiver(answers=[410])
    hook = add(receiver.url)
    some_events(1)
    until(lambda: shown(hook).get("stopped_ms"), "it is stopped")
    cut = max(events_of(tokens["viewer"]))
    api.server.stop()
    api.server.start(*OPTIONS, "--keep-events", "0.2s")
    until(lambda: cut not in events_of(tokens["viewer"]), "retention has cut")
    must("POST", f"/v1/webhooks/{hook['id']}:resume", tokens["tenant_admin"], {})
    some_events(1)
    until(lambda: len(receiver.numbers()) >= 2, "resumed, it gets what there is")
    first, second = receiver.taken()[:2]
    expect(True, first["gap"]["from"] <= cut <= first["gap"]["to"] < first["data"]["number"], f"the gap: {first}")
    expect(None, second.get("gap"), "of what follows")
    must("DELETE", f"/v1/webhooks/{hook['id']}", tokens["tenant_admin"])
    api.server.stop()
    api.server.start(*OPTIONS)


def certificate_of(name):
    """A key and a certificate that it has signed itself, in one file."""
    path = os.path.join(os.path.dirname(FAIL), name + ".pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path + ".key", "-out", path, "-days", "2",
                    "-subj", "/CN=" + name, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
    with open(path, "a") as both, open(path + ".key") as key:
        both.write(key.read())
    return path


def test_zx_https_is_spoken_with_whom_the_authority_has_signed():
    ours, strange = certificate_of("ours"), certificate_of("strange")
    trusted, stranger = Receiver(certificate=ours), Receiver(certificate=strange)
    api.server.stop()
    api.server.start(*OPTIONS, "--webhook-ca", ours)
    hooks = [add(receiver.url) for receiver in (trusted, stranger)]
    some_events(1)
    until(lambda: len(trusted.numbers()) >= 2, "who is trusted is told")
    until(lambda: shown(hooks[1]).get("failed_attempts", 0) > 0, "the other is tried in vain")
    expect_in("certificate", shown(hooks[1]).get("cause"), "the cause")
    expect([], stranger.told, "what it was told")
    for hook in hooks:
        must("DELETE", f"/v1/webhooks/{hook['id']}", tokens["tenant_admin"])
    api.server.stop()
    api.server.start(*OPTIONS)


def test_zz_the_coordinators_own_network_is_closed_unless_it_is_opened():
    receiver = Receiver()
    hook = add(receiver.url)
    api.server.stop()
    api.server.start()  # without --webhook-private
    for url in (receiver.url, "https://127.0.0.1/", "https://localhost/", "https://10.1.2.3/", "https://[::1]/", "https://169.254.169.254/",
                "http://example.com/", "https://0x7f000001/", "https://[::ffff:127.0.0.1]/"):
        code, _, reply = api.server.call("POST", "/v1/webhooks", tokens["tenant_admin"], {"url": url})
        expect(422, code, f"{url} is refused: {reply}")
    some_events(1)
    until(lambda: shown(hook).get("failed_attempts", 0) > 0, "one that was added before is tried in vain")
    expect([], receiver.told, "and nobody knocks at its door")


def main():
    os.environ["TAILOR_FAIL"] = "@" + FAIL
    api.server = api.Server(sys.argv[1])
    api.server.stop()
    api.server.start(*OPTIONS)
    passed = failed = 0
    try:
        api.set_up()
        for name, test in sorted((n, t) for n, t in globals().items() if n.startswith("test_")):
            failures.clear()
            try:
                test()
            except Exception as error:  # pylint: disable=broad-except
                failures.append(f"{type(error).__name__}: {error}")
            passed, failed = passed + (not failures), failed + bool(failures)
            print(("FAIL " if failures else "ok ") + name[5:].replace("_", " "), flush=True)
            for failure in failures:
                print("    " + failure)
    finally:
        api.server.stop()
        shutil.rmtree(api.server.data)
        shutil.rmtree(os.path.dirname(FAIL))
    print(f"{passed} passed, {failed} failed")
    return bool(failed)


sys.exit(main())
