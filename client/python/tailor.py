# SPDX-License-Identifier: Apache-2.0
"""tailor's service from Python: one file, no dependency, Python 3.9 or newer.

    import tailor
    client = tailor.Client()                         # the command line's profile: tailor up, or tailor login
    job = client.submit({"stage": "customize", "from": "general/hh@prod",
                         "data": {"train": ["acme/tickets"]}, "output": {"model": "support", "alias": "prod"}})
    for point in client.metrics(job["id"], follow=True):
        print(point["step"], point["values"].get("loss"))
    print(client.wait(job["id"])["state"])
    print(client.score("acme/support@prod", [{"prompt": "Hello", "response": "Good morning!"}]))

An answer is the API's JSON (GET /v1/openapi.json says what is in it). What the service refuses is a tailor.Error with its
sentence and its hint. A submit has an idempotency key of its own, so a call that was cut off is tried again without a second
job; streams come back by themselves and go on behind the last entry that they gave.
"""
from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
import time
import urllib.parse
import uuid
from typing import Any, Iterable, Iterator, Optional

FINAL_STATES = ("succeeded", "failed", "cancelled")
CHUNK_BYTES = 8 << 20
PATIENCE_S = 120.0  # how long a service may be away before a call gives up


class Error(Exception):
    """What the service has refused. status: HTTP's; code: the API's word for it; hint: what to do."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message}: {hint}" if hint else message)
        self.status, self.code, self.message, self.hint = status, code, message, hint


def profile_read(name: Optional[str] = None) -> dict:
    """The command line's profile: {"server", "token", "tenant", "ca"}."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    path = os.path.join(home, "tailor", "profiles.json")
    try:
        with open(path, encoding="utf-8") as file:
            profiles = json.load(file)
    except FileNotFoundError:
        return {}
    name = name or os.environ.get("TAILOR_PROFILE") or profiles.get("default")
    if name not in profiles.get("profiles", {}):
        raise KeyError(f"{path} has no profile {name}")
    return profiles["profiles"][name]


class Client:
    """One service, as one caller. Not for several threads at once; a client for each is cheap."""

    def __init__(self, server: Optional[str] = None, token: Optional[str] = None, tenant: Optional[str] = None,
                 profile: Optional[str] = None, ca: Optional[str] = None, patience_s: float = PATIENCE_S) -> None:
        known = {} if server and token else profile_read(profile)
        self.server = (server or os.environ.get("TAILOR_SERVER") or known.get("server") or "http://127.0.0.1:7700").rstrip("/")
        if server and server.rstrip("/") != known.get("server", "").rstrip("/"):
            known = {}  # a token belongs to its server
        self.token = token or os.environ.get("TAILOR_TOKEN") or known.get("token")
        self.tenant = tenant or known.get("tenant")
        self.ca = ca or os.environ.get("TAILOR_CA") or known.get("ca")
        self.patience_s = patience_s

    # ---- jobs ----

    def submit(self, spec: dict, key: Optional[str] = None, dry_run: bool = False) -> dict:
        """The job. Files that the spec names must be in the service already: dataset_add. key: idempotency."""
        body = {"spec": spec, "tenant": self.tenant, "dry_run": dry_run or None}
        return self.call("POST", "/v1/jobs", body, {"Idempotency-Key": key or uuid.uuid4().hex})["job"]

    def job(self, job: str) -> dict:
        return self.call("GET", f"/v1/jobs/{_part(job)}")

    def jobs(self, **query: Any) -> Iterator[dict]:
        """Newest first; state=, stage=, label="team=law", tenant=, …"""
        return self._list("/v1/jobs", "jobs", {"tenant": self.tenant, **query})

    def cancel(self, job: str) -> dict:
        return self.call("POST", f"/v1/jobs/{_part(job)}:cancel", {})

    def wait(self, job: str, timeout_s: Optional[float] = None) -> dict:
        """The job when it is over. TimeoutError: it was not within timeout_s; it goes on."""
        begun, pause_s = time.monotonic(), 0.1
        while True:
            found = self.job(job)
            if found["state"] in FINAL_STATES:
                return found
            if timeout_s is not None and time.monotonic() - begun + pause_s > timeout_s:
                raise TimeoutError(f"{job} is {found['state']} after {timeout_s:g} s")
            time.sleep(pause_s)
            pause_s = min(2.0, 1.5 * pause_s)

    # ---- what is followed ----

    def events(self, job: Optional[str] = None, after: Optional[int] = None) -> Iterator[dict]:
        """Of one job, until it is over; without it of the whole cluster, for ever. after: an event's number."""
        return self._follow(f"/v1/jobs/{_part(job)}/events" if job else "/v1/events", "number", after)

    def metrics(self, job: str, follow: bool = False) -> Iterator[dict]:
        """{"step", "time_ms", "values": {"loss": …}}, by TRL's names."""
        path = f"/v1/jobs/{_part(job)}/metrics"
        return self._follow(path, None, None) if follow else self._list(path, "points", {})

    def logs(self, job: str, follow: bool = False) -> Iterator[dict]:
        path = f"/v1/jobs/{_part(job)}/logs"
        return self._follow(path, "number", None) if follow else self._list(path, "lines", {})

    # ---- data and models ----

    def upload(self, path: str, tenant: Optional[str] = None) -> str:
        """A file into the store, in chunks; what is there already is not sent. Its digest."""
        sha = hashlib.sha256()
        with open(path, "rb") as file:
            for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
                sha.update(chunk)
            digest, size = sha.hexdigest(), file.tell()
            place = f"/v1/tenants/{_part(tenant or self._own())}/blobs/{digest}"
            try:
                there = self.call("GET", place).get("offset", 0)
            except Error as error:
                if error.status != 404:
                    raise
                there = 0
            file.seek(there)
            while there < size or there == size == 0:
                chunk = file.read(CHUNK_BYTES)
                self.call("PUT", f"{place}?offset={there}&bytes={size}", chunk)
                there += len(chunk)
                if size == 0:
                    break
        return digest

    def dataset_add(self, name: str, path: str, **more: Any) -> dict:
        """The dataset's next version, judged: its state is accepted, warned or rejected, with a message."""
        body = {"digest": self.upload(path), "file": os.path.basename(path), **more}
        place = f"/v1/tenants/{_part(self._own())}/datasets/{_part(name)}"
        added = self.call("POST", place, body)
        if added.get("job_id"):
            self.wait(added["job_id"])
        return self.call("GET", place)

    def model(self, reference: str) -> dict:
        """A version: "support@prod", "acme/support@12"."""
        return self.call("GET", self._version(reference))

    def promote(self, reference: str, alias: str) -> dict:
        return self.call("POST", self._version(reference) + ":promote", {"alias": alias})

    def score(self, reference: str, rows: Iterable[Any]) -> list:
        """Rewards by a running serve job: of {"prompt", "response"}, {"messages"}, {"text"}, or of plain texts.
        [{"row", "response", "score", "probability", "truncated"}, …]"""
        rows = list(rows)
        texts = all(isinstance(row, str) for row in rows)
        return self.call("POST", self._version(reference) + ":score", {"texts" if texts else "rows": rows})["results"]

    # ---- how it is asked ----

    def call(self, method: str, path: str, body: Any = None, headers: Optional[dict] = None) -> dict:
        """Any route. Tried again while nobody answers, and when the service says when: only what may be asked twice."""
        again = method in ("GET", "PUT") or bool(headers and "Idempotency-Key" in headers)
        end = time.monotonic() + (self.patience_s if again else 0)
        while True:
            try:
                response, connection = self._ask(method, path, body, headers)
                text = response.read()
                connection.close()
            except (OSError, http.client.HTTPException):
                if time.monotonic() >= end:
                    raise
                time.sleep(0.5)
                continue
            if response.status in (429, 503) and response.getheader("Retry-After") and time.monotonic() < end:
                time.sleep(min(5.0, float(response.getheader("Retry-After"))))
                continue
            return _reply(response, text)

    def _ask(self, method: str, path: str, body: Any, headers: Optional[dict]):
        place = urllib.parse.urlsplit(self.server)
        if place.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                place.netloc, timeout=60, context=ssl.create_default_context(cafile=self.ca))
        else:
            connection = http.client.HTTPConnection(place.netloc, timeout=60)
        sent = {"Accept": "application/json", **(headers or {})}
        if self.token:
            sent["Authorization"] = "Bearer " + self.token
        if isinstance(body, dict):
            body = json.dumps({name: value for name, value in body.items() if value is not None})
            sent["Content-Type"] = "application/json"
        connection.request(method, place.path + path, body=body, headers=sent)
        return connection.getresponse(), connection

    def _list(self, path: str, field: str, query: dict) -> Iterator[dict]:
        query = {name: value for name, value in query.items() if value is not None}
        while True:
            reply = self.call("GET", f"{path}?{urllib.parse.urlencode(query, doseq=True)}")
            yield from reply[field]
            if not reply[field] or "next" not in reply:
                return
            query["after"] = reply["next"]

    def _follow(self, path: str, number: Optional[str], after: Optional[int]) -> Iterator[dict]:
        """Entries of a stream, each once, over as many connections as it takes. number None: the stream's ids count."""
        last, heard = after, time.monotonic()
        while True:
            try:
                query = "?follow=true" + (f"&after={last}" if last is not None else "")
                response, connection = self._ask("GET", path + query, None, None)
                if response.status != 200:
                    _reply(response, response.read())
                for event, entry_id, data in _server_events(response):
                    heard = time.monotonic()
                    if event == "end":
                        connection.close()
                        return
                    if event != "gap":
                        yield data
                        last = data.get(number, entry_id) if number else entry_id
                connection.close()
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() - heard > self.patience_s:
                raise ConnectionError(f"{self.server} has not answered for {self.patience_s:g} s")
            time.sleep(0.5)

    def _own(self) -> str:
        if not self.tenant:
            raise ValueError("say whose: Client(tenant=…)")
        return self.tenant

    def _version(self, reference: str) -> str:
        tenant, _, rest = reference.rpartition("/")
        name, _, version = rest.partition("@")
        if not version:
            raise ValueError(f"{reference}: say which version, as in {reference}@prod")
        return f"/v1/tenants/{_part(tenant or self._own())}/models/{_part(name)}/versions/{_part(version)}"


def _part(text: str) -> str:
    return urllib.parse.quote(str(text), safe="")


def _reply(response: http.client.HTTPResponse, text: bytes) -> dict:
    try:
        reply = json.loads(text) if text else {}
    except ValueError:
        reply = {"error": {"message": text.decode("utf-8", "replace")[:300]}}
    if response.status < 400:
        return reply
    error = reply.get("error", {})
    raise Error(response.status, error.get("code", ""), error.get("message", f"the service says {response.status}"),
                error.get("hint", ""))


def _server_events(response: http.client.HTTPResponse) -> Iterator[tuple]:
    fields: dict = {}
    for raw in response:
        line = raw.decode("utf-8").rstrip("\n")
        if line == "":
            if "event" in fields:
                yield fields["event"], fields.get("id"), json.loads(fields.get("data", "null"))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
