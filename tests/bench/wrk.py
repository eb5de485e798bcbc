# SPDX-License-Identifier: Apache-2.0
"""wrk (Debian) as a function: requests from so many connections, and what they waited."""
import json
import os
import subprocess

# Every request its own key, as a client makes one for each job.
SUBMIT = """
local n = 0
request = function()
  n = n + 1
  wrk.headers["Idempotency-Key"] = KEY .. n
  return wrk.format("POST", "/v1/jobs", wrk.headers, BODY)
end
"""
DONE = """
done = function(summary, latency, requests)
  io.write(string.format('\\nFIGURES {"count": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "errors": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout))
end
"""


def headers(token):
    return f'wrk.headers["Authorization"] = "Bearer {token}"\nwrk.headers["Content-Type"] = "application/json"\n'


def submits(token, body, key):
    """A script that submits this body again and again; `key` begins all its keys."""
    return headers(token) + f"KEY = '{key}-'\nBODY = [[{body}]]\n" + SUBMIT


def wrk(server, path, connections, seconds, script, work):
    """Runs wrk with one thread; returns its figures. server: an api.Server."""
    name = os.path.join(work, "wrk.lua")
    with open(name, "w") as f:
        f.write(script + DONE)
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", name,
                          f"http://{server.host}:{server.port}{path}"], capture_output=True, text=True, check=True)
    figures = next(line for line in out.stdout.splitlines() if line.startswith("FIGURES "))
    return json.loads(figures[8:])
