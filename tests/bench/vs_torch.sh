#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/vs_torch.sh BASE DSP.json PAIRS.json [STEPS [GROUPS [SET…]]]
# The same K-way groups in a hand-written PyTorch loop (torch_steps.py) and in tailor, in one run. As vs_trl.sh.
set -euo pipefail
exec "$(dirname "$0")/peer.sh" torch "$@"
