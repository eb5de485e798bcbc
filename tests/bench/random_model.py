#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A model directory of a named shape with random bf16 weights, and a few pairs of random words to train it on.

    random_model.py SHAPE TINY OUT     SHAPE: a key of SHAPES; TINY: a model directory of that family, whose
                                       config.json and tokenizer are taken over with the sizes changed
"""
import json
import os
import random
import shutil
import struct
import sys

SHAPES = {
    "smollm2-135m": {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
                     "intermediate_size": 1536, "vocab_size": 49152, "max_position_embeddings": 8192},
    "test-30m": {"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 2,
                 "intermediate_size": 1408, "vocab_size": 24000},
    "qwen2.5-0.5b": {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
                     "intermediate_size": 4864, "vocab_size": 151936, "max_position_embeddings": 32768},
    "llama-3.2-1b": {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
                     "intermediate_size": 8192, "vocab_size": 128256, "max_position_embeddings": 131072,
                     "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                                      "original_max_position_embeddings": 8192, "rope_type": "llama3"}},
}
# The high byte of a bf16: sign, and magnitudes of 0.008 … 0.031 with the low byte at random.
HIGH = bytes(0xBC if i & 1 else 0x3C for i in range(256))


def tensors(c):
    head, C, F = c["hidden_size"] // c["num_attention_heads"], c["hidden_size"], c["intermediate_size"]
    q, kv = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", [c["vocab_size"], C]
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", [C]
        for name, rows in (("q", q), ("k", kv), ("v", kv)):
            yield f"{layer}self_attn.{name}_proj.weight", [rows, C]
            if c["model_type"] == "qwen2":
                yield f"{layer}self_attn.{name}_proj.bias", [rows]
        yield layer + "self_attn.o_proj.weight", [C, q]
        yield layer + "post_attention_layernorm.weight", [C]
        yield layer + "mlp.gate_proj.weight", [F, C]
        yield layer + "mlp.up_proj.weight", [F, C]
        yield layer + "mlp.down_proj.weight", [C, F]
    yield "model.norm.weight", [C]


def values(name, elements):
    if "norm" in name:
        yield b"\x80\x3f" * elements  # 1.0
        return
    while elements > 0:
        count = min(elements, 1 << 20)
        block = bytearray(os.urandom(2 * count))
        block[1::2] = bytes(block[1::2]).translate(HIGH)
        yield bytes(block)
        elements -= count


def model_write(config, path):
    header, position, listed = {"__metadata__": {"format": "pt"}}, 0, []
    for name, shape in tensors(config):
        elements = shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [position, position + 2 * elements]}
        position += 2 * elements
        listed.append((name, elements))
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 64)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, elements in listed:
            for block in values(name, elements):
                file.write(block)


def pairs_write(path, count=8):
    words = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu".split()
    draw = random.Random(1)
    sentence = lambda n: " ".join(draw.choice(words) for _ in range(n))
    with open(path, "w") as file:
        for _ in range(count):
            file.write(json.dumps({"prompt": sentence(12), "chosen": sentence(8), "rejected": sentence(8)}) + "\n")


def main():
    shape, tiny, out = sys.argv[1:]
    os.makedirs(out)
    config = json.load(open(os.path.join(tiny, "config.json")))
    config.update(SHAPES[shape], torch_dtype="bfloat16")
    json.dump(config, open(os.path.join(out, "config.json"), "w"), indent=1)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(tiny, name), out)
    model_write(config, os.path.join(out, "model.safetensors"))
    pairs_write(os.path.join(out, "pairs.jsonl"))


main()
