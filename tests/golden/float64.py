#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What float64 says of smollm2/golden.json: the losses and the norm of every gradient, by PyTorch.

    float64.py GOLDEN_DIR MODEL_DIR >tests/golden/data/smollm2_float64.json

The goldens are float32, and where PyTorch's float32 is far from the truth a test must know it: see
smollm2_golden_test.c. Rows go through one by one, so nothing is padded. Needs torch, transformers and safetensors;
10 minutes on two cores, 4 GiB. By hand: its output is in the repository.
"""
import hashlib, json, os, sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

COEFFICIENT = 0.1  # of the imitation loss in total_0.1_last


def main():
    golden_dir, model_dir = sys.argv[1:]
    with open(os.path.join(golden_dir, "smollm2", "golden.json"), "rb") as f:
        text = f.read()
    golden = json.loads(text)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager")
    model = model.train(False).double()
    embedding = model.model.embed_tokens
    embedding.padding_idx = None  # or the gradient of every EOS is dropped: it is the pad token
    head = load_file(os.path.join(golden_dir, "smollm2", "golden.safetensors"))["score_head"].double()[0]
    head.requires_grad_(True)
    rows = golden["rows"]
    scores = torch.tensor(golden["scores"], dtype=torch.float64)

    def hidden(row):
        return model.model(inputs_embeds=embedding(torch.tensor([row]))).last_hidden_state[0]

    with torch.no_grad():
        rewards = torch.stack([hidden(row)[-2] @ head for row in rows]).view(scores.shape)
    rewards.requires_grad_(True)
    pairs = [(g, i, j) for g, group in enumerate(golden["scores"])
             for i, a in enumerate(group) for j, b in enumerate(group) if a > b]
    rank = -sum(torch.nn.functional.logsigmoid(rewards[g, i] - rewards[g, j]) for g, i, j in pairs) / len(pairs)
    rank.backward()
    slopes = rewards.grad.flatten()
    imitated = (scores > golden["lm_score_thresh"]).flatten()
    lm = 0.0
    for i, row in enumerate(rows):
        h = hidden(row)
        loss = slopes[i] * (h[-2] @ head)
        if imitated[i]:
            nll = torch.nn.functional.cross_entropy(h[:-1] @ embedding.weight.T, torch.tensor(row[1:]))
            lm += nll.item() / imitated.sum().item()
            loss = loss + COEFFICIENT * nll / imitated.sum()
        loss.backward()
    norms = {name: p.grad.norm().item() for name, p in model.named_parameters()}
    norms["score.weight"] = head.grad.norm().item()
    json.dump({"golden": hashlib.sha256(text).hexdigest(), "rank_last": rank.item(), "lm": lm, "grad_norm": norms},
              sys.stdout, indent=1)
    print()


main()
