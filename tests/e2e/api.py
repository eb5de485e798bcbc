# SPDX-License-Identifier: Apache-2.0
"""A real tailord for the tests that speak HTTP to it: started, asked, and two tenants with a token of each role in it.
Used as a module: api.server is the one that runs, api.failures what the present test found. Standard library only."""
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

    def start(self, *options):
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [self.program, "--data", os.path.join(self.data, "d"), "--http", "127.0.0.1:0",
                 "--workers", "127.0.0.1:0", *options], stdout=log, stderr=log)
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

    def crash(self):
        self.process.kill()
        self.process.wait(WAIT_S)

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


def upload_files(tenant, contents, token):
    """Files by name, and their manifest; returns the manifest's digest."""
    files = [{"name": name, "digest": upload(tenant, data, token), "bytes": len(data)}
             for name, data in sorted(contents.items())]
    return upload(tenant, json.dumps({"kind": "files", "files": files}).encode(), token)


def upload_directory(tenant, directory, token):
    contents = {}
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), "rb") as f:
            contents[name] = f.read()
    return upload_files(tenant, contents, token)


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


def open_with(path, headers):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=WAIT_S)
    connection.request("GET", path, headers=headers)
    return connection, connection.getresponse()


def open_stream(path, token, last=None):
    return open_with(path, {"Authorization": "Bearer " + token, **({"Last-Event-ID": last} if last else {})})


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
