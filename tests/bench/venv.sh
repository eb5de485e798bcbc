# SPDX-License-Identifier: Apache-2.0
# Sourced: sets PYTHON to a venv with the libraries that tailor is compared with, made if it is not there.
venv=${TAILOR_VENV:-$BUILD/venv-bench}
if ! "$venv/bin/python" -c 'import torch, trl, peft' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q torch 'transformers>=5,<6' 'trl>=1,<2' peft datasets
fi
export PYTHON="$venv/bin/python"
