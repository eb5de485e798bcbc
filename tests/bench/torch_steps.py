# SPDX-License-Identifier: Apache-2.0
"""The same K-way groups in a plain PyTorch loop: one padded row a response, ranking loss, AdamW.

    torch_steps.py BASE ROWS BATCH_GROUPS BATCH DTYPE ADAPTER

BATCH groups go through the model at once, BATCH_GROUPS make a step. What a careful person writes in an afternoon: no
pair computes a response twice, but the prompt is computed once a response, and rows are padded to the longest.
DEVICE=cuda runs it on a GPU. Prints one JSON object, its figures, as the last line.
"""
import json
import os
import sys
import time

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
import torch  # noqa: E402
from torch.nn.functional import softplus  # noqa: E402
from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: E402

DEVICE = os.environ.get("DEVICE", "cpu")
clock = time.process_time if os.environ["CLOCK"] == "processor" else time.perf_counter


def model_open(base, adapter, pad):
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    model.config.pad_token_id = pad
    if adapter == "lora":
        from peft import get_peft_model
        from lora import lora_config
        model = get_peft_model(model, lora_config())
    return model.to(DEVICE).train()


def ranking_loss(rewards, scores):
    """Sum over the ordered pairs of -log sigmoid(better - worse)."""
    better = scores[:, None] > scores[None, :]
    return softplus(rewards[None, :] - rewards[:, None])[better].sum()


def main():
    base, rows, batch_groups, batch, dtype, adapter = sys.argv[1:]
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.padding_side = "right"
    model = model_open(base, adapter, tokenizer.pad_token_id)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)
    groups = [json.loads(line) for line in open(rows, encoding="utf-8")]
    report = {"first_step_at": time.time(), "steps": [], "pairs": 0, "tokens": 0, "computed": 0}
    for at in range(0, len(groups), int(batch_groups)):
        begun = clock()
        step = groups[at:at + int(batch_groups)]
        pairs = sum(a > b for g in step for a in g["scores"] for b in g["scores"])
        for micro in range(0, len(step), int(batch)):
            some = step[micro:micro + int(batch)]
            texts = [g["prompt"] + r + tokenizer.eos_token for g in some for r in g["responses"]]
            inputs = tokenizer(texts, padding=True, return_tensors="pt").to(DEVICE)
            report["tokens"] += int(inputs["attention_mask"].sum())
            report["computed"] += inputs["attention_mask"].numel()
            with torch.autocast(DEVICE, torch.bfloat16, enabled=dtype == "bf16"):
                rewards = model(**inputs).logits.float().squeeze(-1)
            loss, row = 0.0, 0
            for g in some:
                count = len(g["scores"])
                part = ranking_loss(rewards[row:row + count], torch.tensor(g["scores"], device=DEVICE))
                loss, row = loss + part / pairs, row + count
            loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        report["pairs"] += pairs
        report["steps"].append(clock() - begun)
    print(json.dumps(report))


main()
