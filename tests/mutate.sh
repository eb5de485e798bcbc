#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/mutate.sh [PATTERN]     breaks the code on purpose, one line at a time; a test must fail for each.
#
# Each mutation replaces one piece of text, which must occur exactly once, in a copy of the tree, builds the test that
# is to notice, and runs it. The same tests pass on the copy before it is touched, or nothing below would mean anything.
# A test that is emulated_… runs on the emulated GPU (tests/cuda); a word behind its name picks tests of it.
# PATTERN (of grep -E) picks mutations by their row. By hand: 15 minutes on two cores. Ends in "N passed, N failed".
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
pattern=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"
export CCACHE_BASEDIR=$work/tree CCACHE_NOHASHDIR=1 # with ccache, the copy is built in no time
git -C "$root" ls-files -co --exclude-standard -z | tar -C "$root" --null -T- -c | tar -x -C "$work/tree" || exit 1
cmake -G Ninja -S "$work/tree" -B "$work/tree/build" >/dev/null || exit 1
passed=0 failed=0

# name | test | file | text | what stands in its place
mutations() {
    cat <<'TABLE'
a mask that sees one token ahead | packing_test | worker/ops/cpu/attention_forward.c | lanes_set1((float)j), limit | lanes_set1((float)(j - 1)), limit
a mask that sees one token ahead, against the reference | ops_backends_attention_test | worker/ops/cpu/attention_forward.c | lanes_set1((float)j), limit | lanes_set1((float)(j - 1)), limit
a GPU mask that sees one token ahead | emulated_ops_backends_attention_test | worker/ops_cuda/attention_bf16_forward.cu | key <= position[i / 2] | key <= position[i / 2] + 1
a GPU query's gradient from one token ahead | emulated_ops_backends_attention_test | worker/ops_cuda/attention_bf16_backward.cu | key <= position[r] ? | key <= position[r] + 1 ?
a GPU key's gradient without its own query | emulated_ops_backends_attention_test | worker/ops_cuda/attention_bf16_backward.cu | query->token >= token[i / 2] | query->token > token[i / 2]
a GPU tile of queries that is overwritten while it is read | emulated_ops_backends_attention_test | worker/ops_cuda/attention_bf16_backward.cu | __syncthreads(); /* the tile before has been read */ | ;
a GPU tile with another head's channels | emulated_ops_backends_attention_test | worker/ops_cuda/attention_tile.h | heads.vector && d < heads.width | heads.vector
a GPU key's gradient of one head of its group | emulated_ops_backends_attention_test | worker/ops_cuda/attention_fp32.cu | h < (g + 1) * group | h < g * group + 1
a GPU query kept without its barrier | emulated_ops_backends_attention_test | worker/ops_cuda/attention_fp32.cu | __syncwarp(); | ;
a GPU subtree that ends early | emulated_ops_backends_attention_test | worker/ops_cuda/attention.h | parent >= segment | parent > segment
a GPU rotation back that goes on | emulated_ops_backends_attention_test | worker/ops_cuda/rope.cu | ? -angles[2 * j + 1] | ? angles[2 * j + 1]
a GPU rounding that reads behind a row | emulated_ops_backends_test | worker/ops_cuda/gemm_convert.cu | column + i < columns ? at[i] : 0.0f | at[i]
a GPU mean gradient with another head's distance | emulated_ops_backends_attention_test | worker/ops_cuda/attention.cu | * o[head * D + d] | * o[head * (D - 1) + d]
a GPU query that adds keys behind its last | emulated_ops_backends_attention_test | worker/ops_cuda/attention_fp32.cu | add_weighted(sum, p, of.v, row, keys - base < WARP ? keys - base : WARP, of.D) | add_weighted(sum, p, of.v, row, WARP - 1, of.D)
a GPU query's gradient that forgets a key | emulated_ops_backends_attention_test | worker/ops_cuda/attention_fp32.cu | add_weighted(sum, ds, of.k, row, keys - base < WARP ? keys - base : WARP, of.D) | add_weighted(sum, ds, of.k, row, keys - base < WARP ? keys - base - 1 : WARP, of.D)
a GPU bias with rows laid end to end | emulated_ops_backends_test | worker/ops_cuda/bias.cu | blockIdx.x * ldy + n] = bias[n] | blockIdx.x * N + n] = bias[n]
a GPU softmax that misses its target | emulated_ops_backends_test | worker/ops_cuda/cross_entropy.cu | (v == hit ? 1.0f : 0.0f) | 0.0f
a GPU sum of blocks that goes behind the end | emulated_ops_backends_bounds_test | worker/ops_cuda/gather.cu | min(count - at, (int64_t)QUAD) | QUAD
a GPU mean over one token too many | emulated_ops_backends_rows_test | worker/ops_cuda/pool.cu | (float)(last - first) | (float)(last - first + 1)
a GPU maximum's gradient without the last row | emulated_ops_backends_rows_test | worker/ops_cuda/pool.cu | c < C && r < R | c < C && r < R - 1
a GPU head's gradient without the last channel | emulated_ops_backends_rows_test | worker/ops_cuda/reward.cu | if (c >= C) { | if (c >= C - 1) {
a GPU gate that writes to the wrong row | emulated_ops_backends_rows_test | worker/ops_cuda/swiglu.cu | blockIdx.x * F, quad_mul(quad_mul(g, quad_sigmoid | blockIdx.x * (F - 1), quad_mul(quad_mul(g, quad_sigmoid
a GPU norm that writes by its input's distance | emulated_ops_backends_rows_test | worker/ops_cuda/norm.cu | norm.y + row * norm.ldy + head | norm.y + row * norm.ldx + head
a GPU product that forgets what was there | emulated_ops_backends_test | worker/ops_cuda/gemm_convert.cu | fmaf(gemm.beta, *c, gemm.alpha * sum) | gemm.alpha * sum
a GPU sum that misses a warp | emulated_ops_backends_bounds_test | worker/ops_cuda/reduce.h | lane < (int)blockDim.x / WARP ? | lane < (int)blockDim.x / WARP - 1 ?
a GPU reward with the row's distance short by one | emulated_ops_backends_rows_test | worker/ops_cuda/reward.cu | pooled + (int64_t)blockIdx.x * C; | pooled + (int64_t)blockIdx.x * (C - 1);
attention without its scale | ops_gradient_attention_test | worker/ops/ref/attention.c | p[j] = scale * dot( | p[j] = (scale > 0) * dot(
attention's gradient without its mean | ops_gradient_attention_test | worker/ops/ref/attention.c | (dot(d_o, v_j, D) - delta) | (dot(d_o, v_j, D) - 0 * delta)
a query that reads another head's keys | ops_gradient_attention_test | worker/ops/ref/attention.c | lse[head] = attend(o + head * D, p, q + (size_t)i * ldq + (size_t)h * D, k + kv_head, | lse[head] = attend(o + head * D, p, q + (size_t)i * ldq + (size_t)h * D, k,
a rotation back that goes on | ops_gradient_attention_test | worker/ops/ref/rope.c | ? -angles | ? angles
a norm whose gradient forgets the root | ops_gradient_test | worker/ops/ref/norm.c | - x[c] * rstd * rstd * mean | - 0 * mean
a missing gradient of the bias | ops_gradient_test | worker/ops/ref/linear.c | dbias[n] += dy_row[n]; | dbias[n] += 0;
an adapter's gradient without its scale | ops_gradient_test | worker/ops/ref/lora.c | du[j] *= adapter->scale; | du[j] *= 1;
a gate's slope without its curve | ops_gradient_rows_test | worker/ops/ref/elementwise.c | (1.0f + g * (1.0f - sigmoid)) | 1.0f
a softmax that misses its target | ops_gradient_rows_test | worker/ops/ref/cross_entropy.c | (v == target[i] ? 1.0f : 0.0f) | 0.0f
a mean over one token too many | ops_gradient_rows_test | worker/ops/ref/pool.c | mean[c] /= (float)(offset[r + 1] - offset[r]); | mean[c] /= (float)(offset[r + 1] - offset[r] + 1);
a weight gradient that forgets the pack before | ops_backends_test | worker/ops/cpu/gemm.c | if (first && !job->g.accumulate) { | if (first || job->g.accumulate) {
a fast norm without epsilon | ops_backends_rows_test | worker/ops/cpu/norm.c | squares / (float)n + norm->eps | squares / (float)n
a softmax that loses its small terms | ops_backends_test | worker/ops/cpu/cross_entropy.c | excess = lanes_sub(lanes_sub(next, sum), term); | excess = lanes_zero();
a head's gradient in one long chain | ops_backends_test | worker/ops/cpu/cross_entropy.c | VOCABULARY_BLOCK = 1024 | VOCABULARY_BLOCK = 1 << 20
the wrong token read | cases_golden_test | worker/model/reading.c | (before ? 2 : 1) | (before ? 1 : 1)
a margin that helps | losses_golden_test | worker/model/loss.c | d - rows[i].margin | d + rows[i].margin
a rate one step early | schedules_golden_test | worker/trainer/schedule.c | (double)(s->steps - step) / rest | (double)(s->steps - step - 1) / rest
norms that decay | curves_golden_test | worker/trainer/optimizer.c | decays ? (float)config->weight_decay : 0 | (float)config->weight_decay
moments without their correction | curves_golden_test | worker/trainer/optimizer.c | (float)(1 - pow(config->beta2, (double)optimizer->t)) | 1
a gradient that is never clipped | curves_golden_test | worker/trainer/optimizer.c | (float)fmin(1, scale) | (float)fmax(1, 0 * scale)
a tie that counts as right | metrics_golden_test | worker/trainer/figures.c | f->correct += d > 0; | f->correct += d >= 0;
a GPU sum of squares without its barrier | emulated_ops_backends_rows_test | worker/ops_cuda/adamw.cu | __syncthreads(); | ;
a GPU norm whose weight has no barrier | emulated_ops_backends_rows_test | worker/ops_cuda/norm.cu | __syncthreads(); | ;
a GPU bias gradient without its barrier | emulated_ops_backends_test | worker/ops_cuda/bias.cu | __syncthreads(); | ;
a GPU head norm that reads another row's root | emulated_ops_backends_rows_test | worker/ops_cuda/norm.cu | norm.rstd[(int64_t)row0 * norm.heads + at] | norm.rstd[(int64_t)row0 + at]
a GPU gate with the wrong row's distance | emulated_ops_backends_rows_test | worker/ops_cuda/swiglu.cu | float *dgate = dgate_up + (int64_t)blockIdx.x * 2 * F | float *dgate = dgate_up + (int64_t)blockIdx.x * F
a GPU gather that leaves columns out | emulated_ops_backends_bounds_test | worker/ops_cuda/gather.cu | c += THREADS * QUAD | c += 2 * THREADS * QUAD
a GPU scatter that counts itself | emulated_ops_backends_bounds_test | worker/ops_cuda/scatter.cu | before += w < warp | before += w <= warp
a GPU maximum that takes the last of equals | emulated_ops_backends_rows_test | worker/ops_cuda/pool.cu | value > best | value >= best
a GPU optimizer that writes behind the end | emulated_ops_backends_bounds_test | worker/ops_cuda/adamw.cu | a.vector && n == QUAD | a.vector
a GPU head's gradient in one long chain | emulated_ops_backends_test | worker/ops_cuda/cross_entropy.cu | VOCABULARY_BLOCK = 1024 | VOCABULARY_BLOCK = 65536
TABLE
}

built() { cmake --build "$work/tree/build" --target "${1%% *}" >"$work/build.log" 2>&1; }
runs() { # its words are split: a program and, maybe, which of its tests
    case $1 in emulated_*) local -x TAILOR_ISA=cuda ;; esac
    "$work/tree/build/tests/"$1 >"$work/test.log" 2>&1
}
replace() { # replace FILE TEXT BY: in the copy; false unless TEXT occurs exactly once
    local content=$(<"$work/tree/$1") before
    before=${content%%"$2"*}
    [ "$before" != "$content" ] && [[ ${content#"$before$2"} != *"$2"* ]] || return 1
    printf '%s\n' "$before$3${content#"$before$2"}" >"$work/tree/$1"
}
verdict() { # verdict NAME OUTCOME: nothing is well; else a sentence
    if [ -z "$2" ]; then passed=$((passed + 1)) && printf 'ok %s: %s\n' "$1" "$(grep -m1 -oE '^FAIL [a-z_0-9]+|bug: .*' "$work/test.log" | cut -c1-100)"; else
        failed=$((failed + 1)) && printf 'FAIL %s: %s\n' "$1" "$2"
    fi
}
broken() { # broken TEST FILE TEXT BY: prints why this shows nothing, if it does not
    cp "$work/tree/$2" "$work/sound"
    replace "$2" "$3" "$4" || { echo "its text does not occur exactly once in $2"; return; }
    if ! built "$1"; then echo "does not compile: $(grep -m1 error: "$work/build.log")"; elif runs "$1"; then echo "$1 did not notice"; fi
    cp "$work/sound" "$work/tree/$2"
}

mapfile -t rows < <(mutations | grep -E -- "$pattern")
mapfile -t tests < <(printf '%s\n' "${rows[@]}" | sed 's/^[^|]*| *//; s/ *|.*//' | sort -u)
for test in "${tests[@]}"; do
    built "$test" && runs "$test" || { echo "FAIL $test does not pass before anything is broken" && exit 1; }
done
for row in "${rows[@]}"; do
    name=${row%% | *} row=${row#* | }
    test=${row%% | *} row=${row#* | }
    file=${row%% | *} row=${row#* | }
    verdict "$name" "$(broken "$test" "$file" "${row%% | *}" "${row#* | }")"
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
