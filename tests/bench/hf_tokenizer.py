# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's tokenizers on the files and the hostile texts of tokenizer_bench, on one core.

    hf_tokenizer.py DIR FILE        lines one by one, then as one batch; then texts at doubling sizes
"""
import os
import sys
import time

os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
import tokenizers  # noqa: E402

PASSES = 3
HOSTILE = {"letter a": "a", "blanks": " ", "digits": "7", "letters ab": "ab", "family of emoji": "\U0001f468\u200d\U0001f469\u200d",
           "han": "\u7684"}


def best_rate(size, call):
    best = 0.0
    for _ in range(PASSES):
        begun = time.process_time()
        call()
        best = max(best, size / (time.process_time() - begun) / 2 ** 20)
    return best


def main():
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(sys.argv[1], "tokenizer.json"))
    text = open(sys.argv[2], encoding="utf-8", newline="").read()
    lines = text.splitlines(keepends=True)
    size = len(text.encode())
    one_by_one = best_rate(size, lambda: [tokenizer.encode(line, add_special_tokens=False) for line in lines])
    batch = best_rate(size, lambda: tokenizer.encode_batch_fast(lines, add_special_tokens=False))
    print(f"tokenizers {tokenizers.__version__}: {one_by_one:.1f} MiB/s line by line, {batch:.1f} MiB/s as one batch")
    print(f"{'ns/byte at KiB:':20}" + "".join(f"{64 << i:8}" for i in range(3)))
    for name, unit in HOSTILE.items():
        shown = f"{name:20}"
        for kib in (64, 128, 256):
            hostile = unit * (kib * 1024 // len(unit.encode()))
            begun = time.process_time()
            tokenizer.encode(hostile, add_special_tokens=False)
            shown += f"{1e9 * (time.process_time() - begun) / len(hostile.encode()):8.1f}"
        print(shown, flush=True)


main()
