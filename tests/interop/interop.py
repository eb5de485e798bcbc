#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares tailor with Transformers and PEFT, both ways. tests/interop.sh starts it: see there.

    interop.py --work DIR --data FILE BASE…

  DIR/cases.tsv             name, template, pooling of what tailor trained and exported:
  DIR/NAME/general/model    … exported to DIR/NAME/hf (fp32) and DIR/NAME/bf16
  DIR/NAME/custom/model     … exported to DIR/NAME/merged and DIR/NAME/peft/{parent,adapter}
  BASE                      a …ForCausalLM directory, of which Transformers makes reward models for tailor

A reward of Transformers is logits[0] in float32 of a row in a padded batch, tokenized by the exported
tokenizer alone. Every line is "ok …" or "FAIL …"; exit 0 says only that all was compared.
"""
import argparse
import csv
import json
import logging
import os
import subprocess
import sys
import warnings

import torch
import transformers
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

TEXTS = 50          # of the data; then HARD
BATCH = 8
RELATIVE = FLOOR = 1e-4
ROUNDED = 0.12      # bf16 weights: of the largest reward, at least 1 (worker/model/export.h)
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
HARD = [            # what tokenizers differ in
    ("Add 1234 and 5678.", "1234 + 5678 = 6912,  not 69.12 or 6_912"),
    ("Write a loop in C.", "for (int i = 0; i < 10; i++) {\n\tputs(\"hi\");\r\n}\n\n\n// it's done, we'll stop"),
    ("Wie spät ist es?", "Zwanzig nach zwölf — fast Mittag. Cafe\u0301 und Café, ﬁn, ½, Ⅷ"),
    ("请用一句话介绍北京。", "北京是中国的首都。東京は日本の首都です。서울은 한국의 수도."),
    ("How are you?", "Great!!  😀👩‍👩‍👧‍👦 Thanks,\u00a0and\u200byou?  "),
    ("مرحبا", "नमस्ते, שלום, สวัสดี"),
    ("What does </s> mean?", "<s> opens and </s> closes; <|im_end|> and <|endoftext|> too, <unk> not."),
    ("?", "."),
]


def say(good, name, detail):
    print(("ok" if good else "FAIL") + f" {name}: {detail}", flush=True)


def responses_of(item):
    if "responses" in item:
        responses = item["responses"]
        return list(responses.values() if isinstance(responses, dict) else responses)
    return [item[key] for key in ("response", "chosen", "rejected") if key in item]


def texts_of(path):
    """(prompt, response) of ranked groups, pairs, DSP's domains and single answers; a list or lines of JSON."""
    with open(path, encoding="utf-8") as f:
        content = f.read()
    items = json.loads(content) if content.lstrip().startswith("[") else [json.loads(x) for x in content.splitlines() if x]
    texts = [(item.get("prompt", item.get("query")), r) for item in items for r in responses_of(item)]
    texts = [(p, r) for p, r in texts if isinstance(p, str) and isinstance(r, str)]
    if len(texts) < TEXTS:
        sys.exit(f"{path}: {len(texts)} texts of the form prompt and response; {TEXTS} are needed")
    return texts[:TEXTS] + HARD


class Tailor:
    """Rewards of `tailor model score` for the texts, and how many tokens each has."""

    def __init__(self, work, texts):
        self.file = os.path.join(work, "texts.jsonl")
        with open(self.file, "w", encoding="utf-8") as f:
            for prompt, response in texts:
                f.write(json.dumps({"prompt": prompt, "response": response}) + "\n")

    def score(self, model, *options):
        run = subprocess.run(["tailor", "model", "score", model, self.file, *options], capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(f"tailor model score {model}: {run.stderr.strip()}")
        rows = [json.loads(line) for line in run.stdout.splitlines()]
        return [row["score"] for row in rows], [row["tokens"] for row in rows]


def rewards_of(model, tokenizer, rows):
    """Right-padded batches, longest first. Without a pad token: one row at a time."""
    size = BATCH if tokenizer.pad_token_id is not None else 1
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
    rewards = [0.0] * len(rows)
    for start in range(0, len(order), size):
        some = order[start:start + size]
        batch = tokenizer.pad({"input_ids": [rows[i] for i in some]}, padding_side="right", return_tensors="pt") \
            if size > 1 else {"input_ids": torch.tensor([rows[some[0]]])}
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch.get("attention_mask")).logits
        for i, value in zip(some, logits[:, 0].tolist()):
            rewards[i] = value
    return rewards


def compare(name, theirs, ours, relative=RELATIVE, floor=FLOOR):
    """Rows that tailor drops for their length have no score here."""
    pairs = [(t, o) for t, o in zip(theirs, ours) if o is not None]
    worst = max((abs(t - o) / max(floor, relative * abs(t)) for t, o in pairs), default=float("inf"))
    furthest = max((abs(t - o) for t, o in pairs), default=float("inf"))
    spread = max((o for _, o in pairs), default=0) - min((o for _, o in pairs), default=0)
    good = worst <= 1 and len(pairs) >= TEXTS // 2 and spread > floor
    say(good, name, f"{len(pairs)} rewards over a span of {spread:.3g}, at most {furthest:.2g} apart")


def load(path):
    return AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()


# ---- from tailor ------------------------------------------------------------------------------------

def framed_text(template, prompt, response):
    """The text of a row where the tokenizer itself adds BOS and EOS; None for chat templates."""
    if template == "dsp":
        return f"## Human:\n{prompt}\n\n## Assistant:\n{response}"
    return prompt + response if template == "plain" else None


def exported_rows(tokenizer, template, texts):
    """By tokenizer(text) where there is such a text, else by the chat template; and by the chat template again."""
    talks = [[{"role": "user", "content": p}, {"role": "assistant", "content": r}] for p, r in texts]
    by_chat = [tokenizer.apply_chat_template(talk, tokenize=True, return_dict=False) for talk in talks]
    framed = [framed_text(template, p, r) for p, r in texts]
    if framed[0] is None:
        rendered = [tokenizer.apply_chat_template(talk, tokenize=False) for talk in talks]
        return [tokenizer(text)["input_ids"] for text in rendered], by_chat
    return [tokenizer(text)["input_ids"] for text in framed], by_chat


def check_probes(name, path, model, tokenizer):
    with open(os.path.join(path, "scoring.json"), encoding="utf-8") as f:
        probes = json.load(f)["probes"]
    rows = [tokenizer(probe["text"])["input_ids"] for probe in probes]
    wrong = [i for i, probe in enumerate(probes) if probe["ids"] != rows[i]]
    theirs = rewards_of(model, tokenizer, rows)
    far = [i for i, p in enumerate(probes) if abs(p["score"] - theirs[i]) > max(FLOOR, RELATIVE * abs(theirs[i]))]
    say(not wrong and not far, f"{name}, scoring.json", f"{len(probes)} probes; other tokens {wrong}, other scores {far}")


def check_export(tailor, name, case, source, kind, texts):
    """One exported directory against the model it was made of, and, read by tailor again, against itself."""
    whole = os.path.join(case["dir"], kind)
    path = os.path.join(whole, "parent") if kind == "peft" else whole
    tokenizers = [path] + ([os.path.join(whole, "adapter")] if kind == "peft" else [])
    model = load(path)
    if kind == "peft":
        parent = PeftConfig.from_pretrained(os.path.join(whole, "adapter")).base_model_name_or_path
        say(os.path.samefile(parent, path), f"{name}, parent", "adapter_config.json names it")
        model = PeftModel.from_pretrained(model, os.path.join(whole, "adapter")).eval()
    ours, counts = tailor.score(os.path.join(case["dir"], source, "model"))
    for tokenizer_path in tokenizers:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
        rows, by_chat = exported_rows(tokenizer, case["template"], texts)
        # before_eos drops the EOS that dsp and plain would add, so that the last token is the one in front of it
        dropped = case["pooling"] == "before_eos" and framed_text(case["template"], "", "") is not None
        wrong = [i for i, row in enumerate(rows) if len(row) + dropped != counts[i]]
        other = [i for i, row in enumerate(rows) if row != by_chat[i]]
        say(not wrong and not other, f"{name}, tokens",
            f"{len(rows)} texts; other lengths {wrong}, apply_chat_template differs {other}")
    theirs = rewards_of(model, tokenizer, rows)
    again, _ = tailor.score(os.path.join(whole, "adapter") if kind == "peft" else whole)
    if kind == "bf16":
        largest = max([1.0] + [abs(x) for x in ours if x is not None])
        compare(f"{name}, rounded", theirs, ours, 0, ROUNDED * largest)
        compare(f"{name}, what was rounded", theirs, again)
    else:
        compare(name, theirs, ours)
        say(again == ours, f"{name}, read by tailor again", "the same bits" if again == ours else "other rewards")
    check_probes(name, whole, model, tokenizer)


def check_exports(tailor, work, texts):
    with open(os.path.join(work, "cases.tsv"), encoding="utf-8") as f:
        cases = [{"dir": os.path.join(work, n), "name": n, "template": t, "pooling": p} for n, t, p in csv.reader(f, delimiter="\t")]
    for case in cases:
        for kind, source in (("hf", "general"), ("bf16", "general"), ("merged", "custom"), ("peft", "custom")):
            attempt(check_export, tailor, f"{case['name']} {kind}", case, source, kind, texts)


# ---- to tailor --------------------------------------------------------------------------------------

def training_rows(tokenizer, texts):
    """As tailor makes the rows of template dsp: BOS where there is one, the text, EOS."""
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return [bos + tokenizer.encode(framed_text("dsp", p, r), add_special_tokens=False) + [tokenizer.eos_token_id] for p, r in texts]


def new_classifier(base, seed):
    """What people do: a head over a base, drawn anew."""
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32).eval()
    with torch.no_grad():
        model.score.weight.copy_(0.15 * torch.randn_like(model.score.weight))
    return model


def new_adapter(base, seed, **options):
    """A LoRA with modules_to_save score, as PEFT makes it for SEQ_CLS; B and the score moved off their start."""
    model = new_classifier(base, seed)
    config = LoraConfig(task_type="SEQ_CLS", lora_alpha=16, lora_dropout=0.0, **options)
    model = get_peft_model(model, config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                p.add_(0.05 * torch.randn_like(p))
    return model


def check_made(tailor, name, model, tokenizer, path, texts, **saving):
    """Transformers reads the last token that is not pad: where pad is EOS, that is the one in front of EOS."""
    model.save_pretrained(path, **saving)
    tokenizer.save_pretrained(path)
    ours, _ = tailor.score(path, "--template", "dsp", "--pooling",
                           "before_eos" if tokenizer.pad_token_id == tokenizer.eos_token_id else "last_token")
    compare(name, rewards_of(model, tokenizer, training_rows(tokenizer, texts)), ours)


def check_sharded(tailor, name, base, tokenizer, out, texts):
    path = os.path.join(out, "sharded")
    model = new_classifier(base, 3)
    size = sum(p.numel() for p in model.parameters())
    check_made(tailor, name, model, tokenizer, path, texts, max_shard_size=size)  # bytes: at least four files
    shards = [f for f in os.listdir(path) if f.startswith("model-") and f.endswith(".safetensors")]
    say(len(shards) > 1, f"{name}, files", f"{len(shards)} shards")


def check_rounded(tailor, name, base, tokenizer, out, texts):
    """Saved in bf16; both sides then compute in float32 from the rounded weights."""
    path = os.path.join(out, "bf16")
    new_classifier(base, 4).to(torch.bfloat16).save_pretrained(path)
    check_made(tailor, name, load(path).to(torch.float32), tokenizer, os.path.join(out, "bf16-again"), texts)
    tokenizer.save_pretrained(path)
    first, _ = tailor.score(path, "--template", "dsp")
    second, _ = tailor.score(os.path.join(out, "bf16-again"), "--template", "dsp")
    say(first == second, f"{name}, stored", "the same bits" if first == second else "other rewards than as float32")


def check_base(tailor, base, out, texts):
    name = os.path.basename(os.path.dirname(os.path.abspath(base)))
    tokenizer = AutoTokenizer.from_pretrained(base)
    classifier = os.path.join(out, "classifier")
    attempt(lambda t, n: check_made(t, n, new_classifier(base, 1), tokenizer, classifier, texts), tailor,
            f"{name}: a classifier of Transformers")
    attempt(check_sharded, tailor, f"{name}: sharded", base, tokenizer, out, texts)
    attempt(check_rounded, tailor, f"{name}: bf16", base, tokenizer, out, texts)
    attempt(lambda t, n: check_made(t, n, new_adapter(classifier, 5, r=8, target_modules=EVERY), tokenizer,
                                    os.path.join(out, "adapter"), texts), tailor, f"{name}: PEFT over a classifier")
    attempt(lambda t, n: check_made(t, n, new_adapter(base, 6, r=4, target_modules=["q_proj", "v_proj"], use_rslora=True),
                                    tokenizer, os.path.join(out, "adapter-lm"), texts), tailor,
            f"{name}: PEFT over a base, q and v, rslora")
    attempt(check_bare_adapter, tailor, f"{name}: PEFT without a tokenizer of its own", out)


def check_bare_adapter(tailor, name, out):
    """PEFT's save_pretrained writes no tokenizer: the parent's is meant."""
    path = os.path.join(out, "adapter")
    first, _ = tailor.score(path, "--template", "dsp")
    for file in os.listdir(path):
        if not file.startswith("adapter_"):
            os.remove(os.path.join(path, file))
    second, _ = tailor.score(path, "--template", "dsp")
    say(first == second, name, "the same bits" if first == second else "other rewards")


def attempt(check, tailor, name, *rest):
    """An exception is a failure of this check alone."""
    try:
        check(tailor, name, *rest)
    except Exception as error:  # whatever any of the three programs makes of the files
        say(False, name, f"{type(error).__name__}: {error}".replace("\n", " ")[:400])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("bases", nargs="+")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger().setLevel(logging.ERROR)
    texts = texts_of(args.data)
    tailor = Tailor(args.work, texts)
    check_exports(tailor, args.work, texts)
    for i, base in enumerate(args.bases):
        check_base(tailor, base, os.path.join(args.work, f"made{i}"), texts)


if __name__ == "__main__":
    main()
