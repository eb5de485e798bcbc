#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Ranks on GPUs, both emulated: processes with device memory of their own sum over a stub of NCCL, and have the bits of one.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
if [ ! -x "$build/tests/emulated_trainer" ]; then
    echo "skip: this build has no emulated GPU"
    exit 0
fi
mkdir "$work/bin"
cp "$build/tailor" "$work/bin/"
cp "$build/tests/emulated_trainer" "$work/bin/tailor-trainer-cuda"
export PATH="$work/bin:$PATH"
python3 "$root/deploy/sample_data.py" --out "$work/data"

run() { # run DIR EXTRA…
    local out=$1
    shift
    tailor run general --from "$base" --train "$work/data/general.train.jsonl" --out "$work/$out" -q \
        --set resources.device=cuda --set train.batch_groups=4 --set train.slices=4 --set train.max_steps=2 \
        --set train.warmup_ratio=0 --set model.template=dsp --set model.max_length=48 --set train.learning_rate=1e-3 "$@"
}
same() { # same NAME NAME FILE
    cmp "$work/$1/model/$3" "$work/$2/model/$3"
}
expect "one rank" run one
expect "two ranks over NCCL above shm" run two --set resources.ranks=2
expect "their weights have the bits of one" same one two model.safetensors
expect "four ranks above tcp, the optimizer's state cut" run four --comm tcp --set resources.ranks=4 --set train.zero_stage=1
expect "theirs too" same one four model.safetensors
expect "one rank with LoRA" run lora --set adapter.type=lora
expect "two ranks with LoRA" run lora2 --set adapter.type=lora --set resources.ranks=2
expect "adapters have the bits of one" same lora lora2 adapter_model.safetensors
refuses "a fault of NCCL fails the run by name" 1 "NCCL: ncclGroupEnd: unhandled system error" \
    env TAILOR_STUB_FAULT=ncclGroupEnd:2:error "$BASH" -c "$(declare -f run); base=$base work=$work; run faulty --set resources.ranks=2"
finish
