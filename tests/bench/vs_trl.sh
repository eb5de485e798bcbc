#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/vs_trl.sh BASE DSP.json PAIRS.json [STEPS [GROUPS [SET…]]]
# TRL's RewardTrainer and tailor on the same real rows in one run: pairs/s, peak memory, time to the first step.
# Full fine-tuning and LoRA; groups of five responses (TRL gets the pairs), pairs, and pairs with a long shared prompt.
# TRL takes its best of dtype and batch, and pads as it ships. About 25 minutes on two cores (2 steps of 4 groups).
#   THREADS, CLOCK  threads of each (default: all cores); "wall" (default) or "processor" time (see contest.py)
#   SETTING         BATCH,DTYPE of the contender, instead of its best
#   ADAPTERS        "none lora" (default: both)
#   TAILOR_BUILD    build directory (default: build)
#   TAILOR_VENV     a Python venv with trl and peft; default: made under the build directory (several GB)
set -euo pipefail
exec "$(dirname "$0")/peer.sh" trl "$@"
