# SPDX-License-Identifier: Apache-2.0
"""One line of steps.sh: steps.py NAME METRICS.jsonl LOG CONFIG.json PEERS.json (LOG ends with watch.py's line)."""
import json
import os
import statistics
import sys

GIB = 2 ** 30


def weights_of(config):
    """Weights that a token meets in products: the last layer is computed in full only where a reward is read."""
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    keys_values = 2 * config["hidden_size"] * head * config["num_key_value_heads"]
    layer = keys_values + 2 * config["hidden_size"] * head * config["num_attention_heads"] + \
        3 * config["hidden_size"] * config["intermediate_size"]
    return (config["num_hidden_layers"] - 1) * layer + keys_values


def main():
    name, metrics, log, config, peers = sys.argv[1:]
    memory = json.loads(open(log, encoding="utf-8").read().strip().splitlines()[-1])
    rows = [json.loads(line) for line in open(metrics, encoding="utf-8")]
    rows = [row for row in rows if "step_seconds" in row]
    for before, row in zip(rows, rows[1:]):
        tokens = row["num_tokens"] - before["num_tokens"]
        row["seconds"] = tokens / row["tokens_per_second"]  # of the whole step
        row["computed"] = tokens * (1 - row["shared_token_ratio"])
    rows = rows[1:]  # the first step warms up
    per_weight = 4 if "LoRA" in name else 6
    weights = weights_of(json.load(open(config, encoding="utf-8")))
    gflops = statistics.median(per_weight * weights * row["computed"] / row["seconds"] / 1e9 for row in rows)
    seconds = sum(row["seconds"] for row in rows)
    phases = {k: sum(row["step_seconds"][k] for row in rows) / seconds for k in rows[0]["step_seconds"]}
    share = ""
    if os.path.exists(peers):
        rates, threads = json.load(open(peers, encoding="utf-8")), min(2, os.cpu_count())
        best = rates[f"{'lora' if 'LoRA' in name else 'full'}_{threads}"]
        share = f" = {100 * gflops / best:.0f} % of {best:.0f}"
        if f"peak_{threads}" in rates:
            share += f", {100 * gflops / rates[f'peak_{threads}']:.1f} % of the peak of {rates[f'peak_{threads}']}"
    print(f"{name:18} {statistics.median(r['tokens_per_second'] for r in rows):7.0f} tokens/s  "
          f"{statistics.median(r['pairs_per_second'] for r in rows):6.2f} pairs/s  "
          f"{memory['peak_rss'] / GIB:5.2f} GiB ({memory['peak_anonymous'] / GIB:.2f})  {gflops:5.0f} GFLOP/s{share}  "
          + "  ".join(f"{k} {100 * v:.0f} %" for k, v in phases.items()), flush=True)


main()
