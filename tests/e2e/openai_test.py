#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What tests/e2e/openai_test.sh checks, in the words of the official client; `Plain` has the same calls without it."""
import json
import os
import sys
import time
import types
import urllib.error
import urllib.request
import uuid

SERVER = os.environ["SERVER"]


class Refused(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status} {body}")
        self.status_code, self.body = status, body.get("error", {})
        self.param, self.message = self.body.get("param"), self.body.get("message", "")


def objects(value):
    if isinstance(value, dict):
        return types.SimpleNamespace(**{key: objects(inner) for key, inner in value.items()})
    return [objects(inner) for inner in value] if isinstance(value, list) else value


class Plain:
    """client.files.create(…), client.fine_tuning.jobs.list(…), as the official client has them."""

    def __init__(self, token):
        self.token = token
        space = types.SimpleNamespace
        self.files = space(create=self.upload, retrieve=lambda file: self.call("GET", f"/files/{file}"),
                           list=lambda **query: self.call("GET", "/files" + self.query(query)),
                           delete=lambda file: self.call("DELETE", f"/files/{file}"),
                           content=lambda file: space(read=lambda: self.call("GET", f"/files/{file}/content", raw=True)))
        jobs = "/fine_tuning/jobs"
        self.fine_tuning = space(jobs=space(
            create=lambda **body: self.call("POST", jobs, body), retrieve=lambda job: self.call("GET", f"{jobs}/{job}"),
            cancel=lambda job: self.call("POST", f"{jobs}/{job}/cancel"),
            list=lambda **query: self.call("GET", jobs + self.query(query)),
            list_events=lambda job, **query: self.call("GET", f"{jobs}/{job}/events" + self.query(query))))

    @staticmethod
    def query(values):
        return "?" + "&".join(f"{key}={value}" for key, value in values.items())

    def call(self, method, path, body=None, kind="application/json", raw=False):
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(SERVER + "/v1" + path, data, {"Authorization": f"Bearer {self.token}"}, method=method)
        if data is not None:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            text = error.read()  # what is too large is refused before any of our code sees it
            raise Refused(error.code, json.loads(text) if text[:1] == b"{" else {}) from None
        return text if raw else objects(json.loads(text))

    def upload(self, file, purpose):
        name, data = file
        mark = uuid.uuid4().hex
        parts = [f'--{mark}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'.encode(),
                 f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
                 f'Content-Type: application/jsonl\r\n\r\n'.encode() + data + b"\r\n", f"--{mark}--\r\n".encode()]
        return self.call("POST", "/files", b"".join(parts), f"multipart/form-data; boundary={mark}")


def client_of(token):
    if "official" not in sys.argv[1:]:
        return Plain(token)
    import openai
    return openai.OpenAI(api_key=token, base_url=SERVER + "/v1", max_retries=0)


def check(name, condition, got=""):
    print(f"ok {name}" if condition else f"FAIL {name}: got {got}", flush=True)


def refused(name, code, word, call):
    try:
        got = call()
    except Exception as error:  # Refused, or one of the client's own
        if "official" in sys.argv[1:]:
            import openai
            if not isinstance(error, openai.APIStatusError):
                raise
        check(name, error.status_code == code and word in str(error), error)
        return
    check(name, False, got)


def until(what, done, limit_s=60):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        got = what()
        if done(got):
            return got
        time.sleep(0.2)
    return got


def main():
    client, stranger, nobody = client_of(os.environ["OWN"]), client_of(os.environ["STRANGER"]), client_of("wrong")
    jobs = client.fine_tuning.jobs
    train, test = (open(f"general.{part}.openai.jsonl", "rb").read() for part in ("train", "test"))

    file = client.files.create(file=("train.jsonl", train), purpose="fine-tune")
    check("a file is uploaded", file.id.startswith("file-") and file.bytes == len(train) and file.filename == "train.jsonl", file)
    again = client.files.create(file=("other.jsonl", train), purpose="fine-tune")
    check("the same bytes again are the same file", again.id == file.id and again.filename == "train.jsonl", again)
    held_out = client.files.create(file=("test.jsonl", test), purpose="fine-tune")
    ready = [until(lambda: client.files.retrieve(f.id), lambda f: f.status != "uploaded") for f in (file, held_out)]
    check("files are judged", [f.status for f in ready] == ["processed", "processed"], ready)
    broken = client.files.create(file=("broken.jsonl", b'{"input": {"messages": []}, "preferred_output": 3}\n'), purpose="fine-tune")
    broken = until(lambda: client.files.retrieve(broken.id), lambda f: f.status != "uploaded")
    check("one that cannot be read is an error that says where", broken.status == "error" and ":1" in broken.status_details, broken)
    listed = client.files.list(purpose="fine-tune", limit=2)
    check("files are listed, a page at a time", [f.id for f in listed.data] == [file.id, held_out.id] and listed.has_more, listed)
    rest = client.files.list(purpose="fine-tune", after=held_out.id)
    check("and the page behind it", [f.id for f in rest.data] == [broken.id] and not rest.has_more, rest)
    check("a file's bytes come back", client.files.content(file.id).read() == train)

    general = jobs.create(model="tiny", training_file=file.id, suffix="hh",
                          method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 1, "batch_size": 8, "beta": "auto"}}})
    check("a job is created", general.id.startswith("ftjob-") and general.status == "queued" and general.model == "tiny", general)
    done = until(lambda: jobs.retrieve(general.id), lambda j: j.status in ("succeeded", "failed"))
    check("it is polled to its end, and names its model", done.status == "succeeded" and done.fine_tuned_model == "local/hh@1"
          and done.training_file == file.id and done.finished_at >= done.created_at, done)
    custom = jobs.create(model="hh@1", training_file=file.id, validation_file=held_out.id, suffix="law", seed=5,
                         hyperparameters={"n_epochs": 1, "batch_size": "auto"}, metadata={"team": "law"})
    custom = until(lambda: jobs.retrieve(custom.id), lambda j: j.status in ("succeeded", "failed"))
    metadata = custom.metadata if isinstance(custom.metadata, dict) else vars(custom.metadata)
    check("a customized model, from that one", custom.status == "succeeded" and custom.fine_tuned_model == "local/law@1"
          and custom.validation_file == held_out.id and custom.seed == 5 and metadata == {"team": "law"}, custom)
    events = jobs.list_events(general.id, limit=2)
    check("events, the newest first", len(events.data) == 2 and events.has_more and events.data[0].message == "succeeded"
          and events.data[0].id.startswith("ftevent-"), events)
    older = jobs.list_events(general.id, after=events.data[-1].id)
    check("and those before", older.data and not older.has_more and events.data[0].id not in [e.id for e in older.data], older)
    endless = jobs.create(model="tiny", training_file=file.id, suffix="endless", hyperparameters={"n_epochs": 1000})
    cancelled = jobs.cancel(endless.id)
    cancelled = until(lambda: jobs.retrieve(endless.id), lambda j: j.status == "cancelled")
    check("a job is cancelled", cancelled.status == "cancelled", cancelled)
    page = jobs.list(limit=2)
    check("jobs are listed, the newest first, admissions left out", [j.id for j in page.data] == [endless.id, custom.id]
          and page.has_more, page)
    page = jobs.list(limit=2, after=custom.id)
    check("and the page behind it", [j.id for j in page.data] == [general.id] and not page.has_more, page)

    refused("an unknown token", 401, "token", lambda: nobody.files.list())
    refused("another tenant's file is not there", 404, "dataset", lambda: stranger.files.retrieve(file.id))
    refused("nor is its job", 404, "job", lambda: stranger.fine_tuning.jobs.retrieve(general.id))
    refused("a token of no tenant", 400, "tenant", lambda: client_of(os.environ["TOKEN"]).files.list())
    refused("another purpose", 400, "purpose", lambda: client.files.create(file=("a.jsonl", train), purpose="batch"))
    refused("an id of another form", 404, "file-NAME", lambda: client.files.retrieve("abc"))
    refused("a file that was rejected", 409, "accepted", lambda: jobs.create(model="tiny", training_file=broken.id))
    refused("beta, which a reward model has not", 400, "beta", lambda: jobs.create(
        model="tiny", training_file=file.id, method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}}))
    refused("another method", 400, "dpo", lambda: jobs.create(model="tiny", training_file=file.id, method={"type": "supervised"}))
    refused("a model that is not there", 404, "nothing", lambda: jobs.create(model="nothing@prod", training_file=file.id))
    if "official" not in sys.argv[1:]:
        for name, kind, body in (("no form at all", "application/json", b"{}"), ("a form without its end", "multipart/form-data; boundary=x",
                                 b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc'),
                                 ("a part without a name", "multipart/form-data; boundary=x", b"--x\r\nContent-Type: a\r\n\r\nabc\r\n--x--"),
                                 ("an empty body", "multipart/form-data; boundary=x", b"")):
            refused(name, 400, "", lambda: client.call("POST", "/files", body, kind))
        refused("more than a body may hold", 413, "", lambda: client.upload(("big.jsonl", b" " * (9 << 20)), "fine-tune"))
    deleted = client.files.delete(broken.id)
    check("a file is deleted", deleted.deleted and deleted.id == broken.id, deleted)
    refused("and is not there any more", 404, "", lambda: client.files.retrieve(broken.id))
    print("end")


main()
