# SPDX-License-Identifier: Apache-2.0
"""Attention beside FlashAttention-2, as PyTorch ships it, on the same rows of the same heads.

    attention_bench cuda bf16 | flash.py

Reads a line of JSON for each pack and times the rows as a PyTorch program has them: one after the other in a batch, each
with its own prompt, all of one length (so nothing is padded), in bf16 already. Only FlashAttention's kernel is allowed.
"""
import json
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

RUNS = 15


def median_ms(run):
    run()
    times = []
    for _ in range(RUNS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[RUNS // 2]


def flash_ms(pack):
    """Forward alone, and backward as what both take less the forward."""
    length = pack["prompt"] + pack["response"]
    draw = lambda heads: torch.randn(pack["rows"], heads, length, pack["D"], device="cuda", dtype=torch.bfloat16)
    q, k, v, grad = draw(pack["H"]), draw(pack["G"]), draw(pack["G"]), draw(pack["H"])
    for t in (q, k, v):
        t.requires_grad_()

    def forward():
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    def both():
        torch.autograd.grad(forward(), (q, k, v), grad)

    with torch.no_grad():
        alone = median_ms(forward)
    return alone, median_ms(both) - median_ms(forward)


def main():
    print(f"    torch {torch.__version__}, {torch.cuda.get_device_name()}; ms, forward + backward")
    for line in sys.stdin:
        pack = json.loads(line)
        forward, backward = flash_ms(pack)
        ours, theirs = pack["forward_ms"] + pack["backward_ms"], forward + backward
        print(f"    {pack['name']} ({pack['rows']} of {pack['prompt']} + {pack['response']}): tailor "
              f"{pack['forward_ms']:.3f} + {pack['backward_ms']:.3f}, FlashAttention {forward:.3f} + {backward:.3f}: "
              f"{theirs / ours:.2f} x", flush=True)


main()
