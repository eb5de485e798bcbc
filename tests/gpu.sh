#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/gpu.sh [SECTION…]     on a machine with an NVIDIA GPU; no network; each section under ten minutes
#
#   goldens      the references of Transformers, TRL and PEFT (tests/golden) on the GPU
#   ops          every op against the C reference, on random shapes
#   packing      rewards packed with others or alone: the same bits
#   determinism  products among any number of rows; training twice: the same bits
#   nccl         two ranks on two GPUs (skipped by name on one)
#   train        kill -9 and resume: the same bits as never killed
#   benchmark    steps of a random model in SmolLM2-135M's shape, and where their time goes
#   service      a worker finds its GPUs through NVML, and a job runs on one
#   peer         the same groups in a PyTorch loop (needs torch and transformers there): pairs/s, both in bf16
#   trl          the same groups in TRL's RewardTrainer (needs trl and datasets, or a network to fetch them)
#   flash        attention alone beside FlashAttention-2 as PyTorch ships it (needs torch)
#   sanitizer    compute-sanitizer over the ops
#
# Without SECTION: all. Weights and data are made on the spot.
#   TAILOR_BUILD   a folder of tests/gpu/carry.sh, or a build folder (default: build); what is missing there is built
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${TAILOR_BUILD:-$root/build}
base=$root/tests/golden/data/models/tiny-llama/base
passed=0 failed=0 skipped=0

die() {
    printf 'tests/gpu.sh: %s\n' "$1" >&2
    exit 2
}
gpus() { nvidia-smi -L 2>/dev/null | grep -c '^GPU'; }
part() { # part NAME COMMAND…: runs, counts, names
    local name=$1 start=$SECONDS
    shift
    if "$@"; then
        passed=$((passed + 1))
        printf 'ok %s (%d s)\n' "$name" $((SECONDS - start))
    else
        failed=$((failed + 1))
        printf 'FAIL %s (%d s)\n' "$name" $((SECONDS - start))
    fi
}
skip() {
    skipped=$((skipped + 1))
    printf 'skip %s: %s\n' "$1" "$2"
}
quietly() { # its output only where it fails
    "$@" >"$work/output" 2>&1 && return
    tail -40 "$work/output" | sed 's/^/    /'
    return 1
}
libraries() { # where the loader finds what was carried, and CUDA's own
    local dirs
    dirs=$(python3 -c 'import glob, sysconfig
for key in ("purelib", "platlib"):
    print("\n".join(glob.glob(sysconfig.get_paths()[key] + "/nvidia/*/lib")))' 2>/dev/null | sort -u | tr '\n' ':')
    printf '%s:%s:%s%s' "$build/lib" /usr/local/cuda/lib64 "$dirs" "${LD_LIBRARY_PATH:-}"
}
prepare() {
    if [ ! -x "$build/tailor-trainer-cuda" ] || [ ! -x "$build/tests/gpu/gpu_products_test" ]; then
        cmake -G Ninja -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DTAILOR_CUDA=ON >/dev/null &&
            cmake --build "$build" --target gpu_tests || die "the build failed"
    fi
    LD_LIBRARY_PATH=$(libraries)
    export LD_LIBRARY_PATH PATH="$build:$PATH" TAILOR_GOLDEN=$root/tests/golden/data TAILOR_CACHE=$work/cache
    local probe
    probe=$("$build/tests/gpu/gpu_products_test" kept 2>&1)
    case $probe in *"no GPU can be used"*) die "$(grep -m1 -o 'no GPU can be used.*' <<<"$probe")" ;; esac
    python3 "$root/deploy/sample_data.py" --out "$work/data" >/dev/null || die "deploy/sample_data.py failed"
}

test_on_gpu() { # test_on_gpu NAME [WORD]
    TAILOR_ISA=cuda "$build/tests/gpu/$1" "${@:2}"
}
run() { # run DIR EXTRA…: a small training job on the GPU; replaces the shell it is called in
    local out=$1
    shift
    exec tailor run general --from "$base" --train "$work/data/general.train.jsonl" --out "$out" -q \
        --eval "$work/data/general.test.jsonl" --set resources.device=cuda --set train.batch_groups=16 \
        --set train.epochs=6 --set model.template=dsp --set model.max_length=160 --set train.learning_rate=1e-3 \
        --set checkpoint.every_steps=5 --set checkpoint.every=0 --set evaluate.every_steps=20 "$@"
}
whole() { (run "$@"); }

section_goldens() {
    local name
    for name in cases scores curves smollm2; do
        if [ "$name" = smollm2 ] && [ ! -e "${TAILOR_SMOLLM2:-}/config.json" ]; then
            skip smollm2_golden_test "TAILOR_SMOLLM2 names no model"
        else
            part "${name}_golden_test" test_on_gpu "${name}_golden_test"
        fi
    done
}

section_ops() {
    local test
    for test in "$build"/tests/gpu/ops_backends*_test; do
        part "$(basename "$test")" env CUDA_LAUNCH_BLOCKING=1 "$test"
    done
}

section_packing() {
    part packing_test test_on_gpu packing_test
    part batch_invariance_test test_on_gpu batch_invariance_test
}

same_twice() { # same_twice NAME EXTRA…
    local name=$1
    shift
    quietly whole "$work/$name-1" "$@" && quietly whole "$work/$name-2" "$@" &&
        cmp "$work/$name-1/model/$weights" "$work/$name-2/model/$weights"
}
section_determinism() {
    local dtype
    part gpu_products_test test_on_gpu gpu_products_test
    for dtype in fp32 bf16; do
        weights=model.safetensors part "two runs in $dtype, all weights" same_twice "full-$dtype" --set train.dtype=$dtype
        weights=adapter_model.safetensors part "two runs in $dtype, LoRA" same_twice "lora-$dtype" \
            --set train.dtype=$dtype --set adapter.type=lora
    done
}

section_nccl() {
    if [ "$(gpus)" -lt 2 ]; then
        skip nccl "one GPU is here, and ranks need one each"
        return
    fi
    part "one rank" quietly whole "$work/rank" --set train.slices=2
    part "two ranks on two GPUs" quietly whole "$work/ranks" --set train.slices=2 --set resources.ranks=2
    part "two ranks have the bits of one" cmp "$work/rank/model/model.safetensors" "$work/ranks/model/model.safetensors"
}

killed() { # killed DIR EXTRA…: killed three times on the way, then to its end
    local out=$1 target lines pid kill
    shift
    for kill in 1 2 3; do
        run "$out" $([ -e "$out/spec.json" ] && echo --resume) "$@" >"$work/log" 2>&1 &
        pid=$!
        target=$((kill * 15))
        while kill -0 "$pid" 2>/dev/null; do
            lines=$(cat "$out/metrics.jsonl" 2>/dev/null | wc -l)
            [ "$lines" -ge "$target" ] && break
            sleep 0.02
        done
        kill -9 "$pid" 2>/dev/null || echo "    the run ended before kill $kill"
        wait "$pid" 2>/dev/null
    done
    whole "$out" --resume "$@"
}
section_train() {
    local dtype
    for dtype in fp32 bf16; do
        part "a run in $dtype" quietly whole "$work/whole-$dtype" --set train.dtype=$dtype
        part "killed three times and resumed" quietly killed "$work/killed-$dtype" --set train.dtype=$dtype
        part "its weights have the same bits" \
            cmp "$work/whole-$dtype/model/model.safetensors" "$work/killed-$dtype/model/model.safetensors"
    done
    part "packing is verified on the GPU" quietly whole "$work/verified" --verify-packing --set train.max_steps=2
    part "the model scores on the GPU" quietly sh -c \
        "tailor-trainer-cuda evaluate '$work/whole-bf16/model' --data '$work/data/general.test.jsonl'"
}

section_service() {
    if ! [ -x "$build/tailord" ] || ! [ -x "$build/tailor-worker" ]; then
        skip service "tailord and tailor-worker are not in $build"
        return
    fi
    local -x HOME="$work/home" XDG_CONFIG_HOME="" XDG_DATA_HOME=""
    mkdir -p "$HOME"
    part "up, with a worker for the GPUs" quietly tailor up --workers 1 --gpus --data "$work/service" --port 7710
    part "a slot for each GPU" test "$(tailor worker list -o json | grep -c '"slots": *'"$(gpus)"'\b')" -ge 1
    tailor worker list -o wide 2>&1 | sed 's/^/    /'
    part "a base" quietly tailor base add tiny "$base"
    cat >"$work/job.yaml" <<YAML
name: on-a-gpu
stage: general
from: tiny
data:
  train: [$work/data/general.train.jsonl]
  eval: [$work/data/general.test.jsonl]
output: {model: hh}
train: {batch_groups: 16, max_steps: 20, learning_rate: 1e-3, dtype: bf16}
model: {template: dsp, max_length: 160}
resources: {device: cuda}
YAML
    part "a job on a GPU" quietly tailor submit "$work/job.yaml" --wait
    part "its numerics are the GPU's" quietly sh -c "tailor show \"\$(tailor ls -o name | head -1)\" -o json | grep -q bf16-cuda-1"
    quietly tailor down --data "$work/service"
}

benchmark_one() { # benchmark_one NAME EXTRA…
    local name=$1
    shift
    rm -rf "$work/bench"
    tailor run general --from "$work/random" --train "$work/long.jsonl" --out "$work/bench" -q --set model.template=plain \
        --set resources.device=cuda --set train.max_steps=12 --set train.batch_groups=32 --set train.slices=1 \
        --set train.max_tokens_per_batch=16384 --set checkpoint.every=0 "$@" >"$work/output" 2>&1 || return 1
    python3 - "$name" "$work/bench/metrics.jsonl" <<'PY'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[2])]
rows = [r for r in rows if "step_seconds" in r][2:]
seconds = sorted(sum(r["step_seconds"].values()) for r in rows)[len(rows) // 2]
tokens = sorted(r["tokens_per_second"] for r in rows)[len(rows) // 2]
print(f"    {sys.argv[1]}: {1 / seconds:.2f} steps/s, {tokens:.0f} tokens/s (median of {len(rows)} steps)")
PY
}
profile() { "$build/tests/gpu/step_profile_bench" "$work/bench/spec.json" 3 "$1" | sed 's/^/    /'; }
section_benchmark() {
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | sed 's/^/    /'
    random_made || return 1
    python3 - "$work/long.jsonl" <<'PY'
import json, random, sys
draw = random.Random(1)
words = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu".split()
sentence = lambda n: " ".join(draw.choice(words) for _ in range(n))
with open(sys.argv[1], "w") as out:
    for _ in range(512):
        out.write(json.dumps({"prompt": sentence(60), "chosen": sentence(45), "rejected": sentence(45)}) + "\n")
PY
    part "bf16, all weights" benchmark_one "bf16, all weights" --set train.dtype=bf16
    part "op by op, bf16" profile 989000
    part "bf16, LoRA" benchmark_one "bf16, LoRA" --set train.dtype=bf16 --set adapter.type=lora
    part "fp32, all weights" benchmark_one "fp32, all weights" --set train.dtype=fp32
    part "op by op, fp32" profile 67000
}

contender() { # contender NAME SCRIPT ARGUMENT…: a script of tests/bench on the GPU; its pairs/s
    local name=$1 script=$2
    shift 2
    CLOCK=wall DEVICE=cuda OMP_NUM_THREADS=$(nproc) python3 "$root/tests/bench/$script" "$work/random" \
        "$work/groups.jsonl" "$@" >"$work/output" 2>"$work/errors" || {
        tail -3 "$work/errors"
        return 1
    }
    python3 - "$name" "$work/output" <<'PY'
import json, sys
report = json.loads(open(sys.argv[2]).read().strip().splitlines()[-1])
seconds, steps = report["steps"][2:], len(report["steps"])
rate = report["pairs"] / steps * len(seconds) / sum(seconds)
print(f"    {sys.argv[1]} at once: {rate:.0f} pairs/s, {report['tokens'] / report['computed']:.2f} of what it computes is text")
PY
}
peer_tailor() { # peer_tailor NAME EXTRA…
    rm -rf "$work/bench"
    quietly tailor run general --from "$work/random" --train "$work/groups.jsonl" --out "$work/bench" -q \
        --set model.template=plain --set resources.device=cuda --set train.dtype=bf16 --set train.max_steps=8 \
        --set train.batch_groups=64 --set train.slices=1 --set checkpoint.every=0 --set train.max_tokens_per_batch=16384 || return 1
    python3 - "$work/bench/metrics.jsonl" <<'PY'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
rows = [r for r in rows if "step_seconds" in r][2:]
rates = sorted(r["pairs_per_second"] for r in rows)
print(f"    tailor: {rates[len(rates) // 2]:.0f} pairs/s (median of {len(rows)} steps)")
PY
}
random_made() { [ -e "$work/random" ] || python3 "$root/tests/bench/random_model.py" smollm2-135m "$base" "$work/random"; }
groups_made() { # a random model, and groups of five responses to a prompt
    random_made || return 1
    python3 - "$work/groups.jsonl" <<'PY'
import json, random, sys
draw = random.Random(1)
words = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu".split()
sentence = lambda low, high: " ".join(draw.choice(words) for _ in range(draw.randint(low, high)))
with open(sys.argv[1], "w") as out:
    for _ in range(512):
        out.write(json.dumps({"prompt": sentence(30, 90), "responses": [" " + sentence(15, 75) for _ in range(5)],
                              "scores": [4, 3, 2, 1, 0]}) + "\n")
PY
}
has() { python3 -c "import $1" 2>/dev/null; }
section_peer() {
    has torch,transformers || {
        skip peer "torch and transformers are not here"
        return
    }
    groups_made || return 1
    part "tailor, groups of five" peer_tailor
    part "PyTorch, groups of five" contender "PyTorch, 4 groups" torch_steps.py 64 4 bf16 none
    part "PyTorch, groups of five" contender "PyTorch, 16 groups" torch_steps.py 64 16 bf16 none
    part "tailor, again" peer_tailor
}

section_trl() {
    if ! has trl,datasets,transformers; then
        python3 -m venv --system-site-packages "$work/venv" &&
            "$work/venv/bin/pip" install -q torch 'transformers>=5,<6' trl datasets accelerate peft 2>"$work/errors" || {
            skip trl "trl and datasets are not here, and pip could not fetch them"
            return
        }
        PATH="$work/venv/bin:$PATH"
    fi
    groups_made || return 1
    part "tailor, groups of five" peer_tailor
    part "TRL, the groups' pairs" contender "TRL, 16 pairs" trl_steps.py 640 16 bf16 none no
    part "TRL, the groups' pairs" contender "TRL, 32 pairs" trl_steps.py 640 32 bf16 none no
    part "tailor, again" peer_tailor
}

flash() { "$build/tests/gpu/attention_bench" cuda bf16 | python3 "$root/tests/gpu/flash.py"; }
section_flash() {
    has torch || {
        skip flash "torch is not here"
        return
    }
    part "attention beside FlashAttention" flash
}

# racecheck does not know by what cuBLASLt's own kernels (nvjet…) order their copies, and reports them.
checked() { # checked TOOL TEST [WORD]
    quietly env TAILOR_ISA=cuda TAILOR_TEXTS=4 "$sanitizer" --tool "$1" --kernel-name-exclude kns=nvjet \
        --error-exitcode 9 "$build/tests/gpu/$2" "${@:3}"
}
section_sanitizer() {
    local sanitizer
    sanitizer=$(command -v compute-sanitizer || command -v /usr/local/cuda/bin/compute-sanitizer) || {
        skip sanitizer "compute-sanitizer is not here"
        return
    }
    part "memcheck over cases_golden_test" checked memcheck cases_golden_test
    part "memcheck over gpu_products_test" checked memcheck gpu_products_test kept
    part "racecheck over products" checked racecheck gpu_products_test kept
    part "racecheck over forward passes" checked racecheck batch_invariance_test so_it_is_on_a_gpu
}

[ $# -gt 0 ] || set -- goldens ops packing determinism nccl train service benchmark peer trl flash sanitizer
for section; do
    declare -F "section_$section" >/dev/null || die "unknown section \"$section\": see the head of this file"
done
[ "$(gpus)" -gt 0 ] || die "no NVIDIA GPU is here (nvidia-smi lists none)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prepare
for section; do
    printf '\n== %s\n' "$section"
    "section_$section"
done
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
