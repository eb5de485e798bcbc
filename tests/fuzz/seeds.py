#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tests/fuzz/seeds.py DIR    where each fuzz target begins: DIR/TARGET/NAME, small and valid inputs.

Mutations of something that is accepted get behind the first check; without seeds a fuzzer spends its minutes on
finding a brace. Inputs come from the goldens' small models where they have one, else they are written here.
"""
import json, os, re, struct, sys

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "data")
FORMS = (
    {"prompt": "p", "responses": ["a", "b", "c"], "scores": [1, 0.5, -2e1]},
    {"q": "p", "responses": ["a", "b"], "scores": [1, 0]},
    {"text": ["a", "b"], "score": [1, -1]},
    {"query": "q", "responses": {"a": "1", "b": "2", "c": "3"}},
    {"prompt": "p", "chosen": "a", "rejected": "b", "margin": 0.5},
    {"chosen": "p a", "rejected": "p b"},
    {"prompt": [{"role": "user", "content": "p"}], "chosen": [{"role": "assistant", "content": "a"}],
     "rejected": [{"role": "assistant", "content": "\u00e9\ud83d\ude00"}]},
    {"chosen_ids": [1, 2, 3], "rejected_ids": [1, 2, 4]},
    {"input": {"messages": [{"role": "user", "content": "p"}]},
     "preferred_output": [{"role": "assistant", "content": "a"}],
     "non_preferred_output": [{"role": "assistant", "content": "b"}]},
    {"text": "t"}, {"prompt": "p", "completion": "c"},
    {"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}]},
)
SPECS = (
    "stage: lm\nfrom: base\ndata:\n  train: texts.jsonl\ntrain:\n  epochs: 2\n  learning_rate: 1e-5\n",
    "stage: general\nfrom: base\npreset: paper-general\ndata:\n  train: [{dataset: a.jsonl, limit: 5}, b.jsonl]\n"
    "  eval: {split: 0.1, by: prompt}\n  policy: {ties_max: 0.1, min_groups: 2}\nmodel: {template: prefixes, max_length: "
    "256,\n  pooling: before_eos, prefixes: {user_prefix: 'U: ', assistant_suffix: \"\\n\"}}\n",
    "stage: customize\nfrom: m\nlabels: {team: support}\ndata:\n  train: {dataset: d, domain: law, pairs: true,\n"
    "    columns: {prompt: question}}\n  enrich: {sources: [g], share: 0.3, by: tokens}\nloss: {lm_loss_coeff: 0.1}\n"
    "adapter: {type: lora, r: 8, targets: [q_proj, v_proj]}\ncheckpoint: {every: 1h30m, keep_best: {by: accuracy}}\n",
    '{"stage": "score", "from": "m", "data": {"eval": "x.jsonl"}, "train": {"seed": 7, "dtype": "bf16"}}',
    "train.learning_rate=1e-4", "data.train=[a, b]", "adapter.targets=all-linear", "checkpoint.every=90s",
)


def read(*path):
    with open(os.path.join(DATA, *path), "rb") as f:
        return f.read()


def tensors():
    shapes = {"a": ("F32", [2, 3], 24), "b": ("BF16", [4], 8), "c": ("F16", [1, 2], 4), "empty": ("F32", [0], 0)}
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, size) in shapes.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return text, at


def tokenizers():
    """The goldens' tokenizers cut to their first tokens, whole in every other respect: short enough to mutate."""
    for name in sorted(os.listdir(os.path.join(DATA, "tokenizers"))):
        whole = read("tokenizers", name, "tokenizer.json")
        tokenizer = json.loads(whole)
        added = {token["content"] for token in tokenizer["added_tokens"]}
        model = tokenizer["model"]
        kept = {token: i for token, i in model["vocab"].items() if len(token) == 1 or len(token) == 6 or token in added}
        for merge in model["merges"][:8]:
            left, right = merge if isinstance(merge, list) else merge.split(" ")
            kept[left + right] = model["vocab"][left + right]
        renumbered = {token: i for i, token in enumerate(sorted(kept, key=kept.get))}
        model["vocab"], model["merges"] = renumbered, model["merges"][:8]
        for token in tokenizer["added_tokens"]:
            token["id"] = renumbered.get(token["content"], len(renumbered))
        yield name, whole
        yield name + ".cut", json.dumps(tokenizer, ensure_ascii=False).encode()


def gguf():
    """A header, every kind of field, and two tensors: what opens, though no whole model."""
    def string(text):
        return struct.pack("<Q", len(text)) + text.encode()
    fields = [string("general.architecture") + struct.pack("<I", 8) + string("llama")]
    for key in ("block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
                "attention.head_count_kv"):
        fields.append(string("llama." + key) + struct.pack("<II", 4, 32))
    fields.append(string("llama.rope.freq_base") + struct.pack("<If", 6, 1e4))
    fields.append(string("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + string("a") + string("b"))
    fields.append(string("tokenizer.ggml.token_type") + struct.pack("<IIQii", 9, 5, 2, 1, 3))
    infos = string("token_embd.weight") + struct.pack("<IQQIQ", 2, 32, 2, 0, 0)
    infos += string("blk.0.attn_q.weight") + struct.pack("<IQQIQ", 2, 32, 2, 3, 256)
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, len(fields)) + b"".join(fields) + infos
    yield "small", head + bytes(-len(head) % 32) + bytes(range(256)) + bytes(64)


def requests():
    """One of each route, with a token (http_fuzz.c: 1 the admin's, 2 a tenant's), and some that are odd."""
    with open(os.path.join(DATA, "..", "..", "..", "proto", "routes.def")) as f:
        rows = re.findall(r'^ROUTE\((\w+), (\w+), "([^"]+)", \w+, \w+, \w+, (\w+)', f.read(), re.M)
    spec = {"spec": {"stage": "general", "from": "tiny", "data": {"train": "x"}, "output": {"model": "m"}}}
    for name, method, path, kind in rows:
        path = path.replace("{tenant}", "acme").replace("{digest}", "0" * 64).replace("{version}", "1")
        path = path.replace("{name}", "acme").replace("{id}", {"JOB": "j-1", "BAT": "b-1", "TOK": "t-1",
                                                               "WOR": "w-1"}.get(name[:3], "1"))
        body = {"JSON": json.dumps(spec if name == "JOB_SUBMIT" else {"name": "acme"}), "BYTES": "abc"}.get(kind, "")
        query = "?offset=0&bytes=3" if kind == "BYTES" else "?limit=5&after=1&follow=true" if method == "GET" else ""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        for who in (b"", b"\1", b"\2"):
            head = f"{method} {path}{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}".encode()
            yield f"{name}.{len(who) and who[0]}", head + who + b"\r\n" + body.encode()
    for i, odd in enumerate((b"Transfer-Encoding: chunked\r\n\1\r\n3\r\nabc\r\n0\r\n\r\n", b"Content-Length: 1\r\n"
                             b"Content-Length: 2\r\n\1\r\nab", b"Expect: 100-continue\r\nContent-Length: 2\r\n\1\r\n{}",
                             b"X:\r\n folded\r\n\1\r\n")):
        yield f"odd{i}", b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n" + odd


def rows_of(name):
    with open(os.path.join(DATA, "..", "..", "..", "proto", name)) as f:
        return re.findall(r"^(?:ROUTE|WORKER_MESSAGE)\((.+)\)$", f.read(), re.M)


def messages():
    """message_fuzz's first byte: each message of a worker, each route's request and reply as JSON, then requests."""
    stamped = b"\n\x06\x08\1\x10\1\x18\1"  # field 1: a Stamp with 1, 1, 1
    wire = rows_of("worker_messages.def")
    for i, row in enumerate(wire):
        yield f"wire{i}", bytes([i]) + (stamped if ", true," in row else b"\x08\1")
    routes = rows_of("routes.def")
    values = {"id": 1, "name": "a", "tenant": "acme", "limit": 5, "bytes": 3, "state": "queued", "manifest": "0" * 64,
              "spec": {"stage": "lm"}, "labels": {"k": "v"}}
    for i in range(2 * len(routes)):
        yield f"json{i}", bytes([len(wire) + i]) + b"{}"
        for key, value in values.items():
            yield f"json{i}.{key}", bytes([len(wire) + i]) + json.dumps({key: value}).encode()
    for i, row in enumerate(routes):
        method, path = [part.strip(' "') for part in row.split(",")[1:3]]
        number = {"GET": 0, "POST": 1, "PUT": 2, "DELETE": 3}[method]
        yield f"line{i}", bytes([255, number]) + f"{path.replace('{id}', 'j-1')}?limit=5\n{{}}".encode()


FORM = (b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b\r\nContent-Disposition: form-data; '
        b'name="file"; filename="a.jsonl"\r\nContent-Type: text/plain\r\n\r\n{}\n\r\n--b--\r\n')


def seeds():
    yield "multipart_fuzz", "form", b"multipart/form-data; boundary=b\n" + FORM
    yield "multipart_fuzz", "quoted", b'multipart/form-data; charset=x; boundary="b"\nbefore\r\n' + FORM
    for kind in ("base", "rm"):
        for model in sorted(os.listdir(os.path.join(DATA, "models"))):
            yield "config_fuzz", f"{model}.{kind}", b"\0" + read("models", model, kind, "config.json")
    yield "config_fuzz", "adapter", b"\1" + read("lora", "tiny-llama", "adapter", "adapter_config.json")
    card = {"format_version": 1, "kind": "full", "text": {"template": "prefixes", "max_length": 64,
            "overlong": "drop", "pooling": "mean", "prefixes": {"user_prefix": "U"}}}
    yield "config_fuzz", "card", b"\2" + json.dumps(card).encode()
    for options in range(8):
        lines = "".join(json.dumps(form) + "\n" for form in FORMS)
        yield "jsonl_fuzz", f"lines.{options}", bytes([options]) + lines.encode()
        yield "jsonl_fuzz", f"list.{options}", bytes([options]) + json.dumps(FORMS[:2]).encode()
        for i, form in enumerate(FORMS):
            yield "jsonl_fuzz", f"form{i}.{options}", bytes([options]) + json.dumps(form).encode()
    header, size = tensors()
    yield "safetensors_fuzz", "header", bytes([1, size]) + header
    yield "safetensors_fuzz", "file", b"\0" + struct.pack("<Q", len(header)) + header + bytes(size)
    for i, spec in enumerate(SPECS):
        yield "spec_fuzz", f"spec{i}", spec.encode()
    for name, text in tokenizers():
        yield "tokenizer_fuzz", name, text
    for name, text in gguf():
        yield "gguf_fuzz", name, text
    for name, text in messages():
        yield "message_fuzz", name, text
    for name, text in requests():
        yield "http_fuzz", name, text


def main():
    for target, name, content in seeds():
        os.makedirs(os.path.join(sys.argv[1], target), exist_ok=True)
        with open(os.path.join(sys.argv[1], target, name), "wb") as f:
            f.write(content)


main()
