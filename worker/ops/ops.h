/* SPDX-License-Identifier: Apache-2.0
 *
 * ops: the device. One table of functions; nothing above it knows whether a CPU or a GPU computes.
 *
 *     struct device *device;
 *     TRY(device_open(&(struct device_options){.isa = "auto", .threads = 2}, &device, error));
 *     device->ops->linear_forward(device, y, N, x, w, NULL, S, N, K, false);
 *
 * Implementations: ops/ref (readable C, the oracle), ops/cpu (the same source compiled for AVX2,
 * AVX-512 and AVX-512 with AMX) and, in executables for GPUs, ops_cuda; chosen at run time, where
 * TAILOR_ISA or device_options.isa forces one. Memory from block_alloc is the device's: on a GPU
 * the host reaches it through copy_in and copy_out alone.
 *
 * The alphabet (also model/shapes.h): S packed tokens, C channels, H query heads, G key/value
 * heads, D head size, F feed-forward width, V vocabulary, R rewards read. Tensors are row-major,
 * last index fastest; "(S, C)" is the shape; `ld…` is the distance between rows in elements.
 * Outputs come first, then inputs, then sizes. The gradient of x is dx.
 *
 * Accumulation, once for all: gradients of *parameters* are added to (+=), so that packs and
 * micro-batches just follow one another; gradients of *activations* are overwritten (=), except
 * where the name of the parameter says `accumulate` or the comment says +=.
 *
 * THE NUMERIC CONTRACT of fp32 on processors (worker/ops_cuda/cuda.h has the GPU's). Every output
 * of a matrix product is one chain of fused multiply-adds in ascending k, beginning at 0 (or at the
 * old value when accumulating): for k in 0 … K-1:  acc = fma(a[k], b[k], acc) No split of K, no
 * partial sums. Hence: the same bits from the reference, AVX2 and AVX-512; for any number of
 * threads; for any number of rows at any offset (scores are batch-invariant); and a weight gradient
 * accumulated over two packs has the bits of one pack that holds both. Every other reduction that
 * reaches a reward (norms, softmax, pooling, head) has an order that depends on the logical row
 * alone: reductions over channels or keys use 16 partial sums, element j into partial j mod 16,
 * then the tree (0+8, 1+9, …), (0+4, …), (0+2, …), (0+1); tails are masked, never computed by a
 * scalar variant. Attention's PV is a chain in logical key order. Transcendentals are one
 * polynomial, the same in every lane. No reduction crosses threads except in fixed blocks whose
 * order does not depend on the number of threads. The rejected alternative, blocks of K summed in
 * order (what oneDNN does), gains a little accuracy and loses all of the above, since the block
 * size then depends on shape and version.
 *
 * dtype bf16 without native instructions: the factors of linear_* (x, w, dy) are rounded to bf16
 * (nearest even), the accumulation stays the fp32 chain; bias and dbias are no factors. LoRA,
 * cross-entropy's and attention's products are fp32. On AMX the factors of all these are rounded,
 * and sums have the order that worker/ops/cpu/amx.h states: batch-invariant too, but a weight
 * gradient over two packs has not the bits of one pack that holds both. Norms' statistics, softmax,
 * reward head, losses and optimizer are fp32 always.
 *
 * Threads: one caller at a time for a device. Errors: sizes and pointers are CHECKed (a wrong one
 * is our bug); only memory can fail because of the world.
 */
#ifndef TAILOR_WORKER_OPS_OPS_H
#define TAILOR_WORKER_OPS_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/status.h"
#include "worker/ops/layout.h"
#include "worker/ops/list.h"
#include "worker/ops/operands.h"

struct device;
struct ops;

struct ops {
    const char *name; /* "ref", "avx2", "avx512", "amx", "cuda" */

    /* ---- memory ------------------------------------------------------------------------------ */
    enum status (*block_alloc)(struct device *device, size_t bytes, const char *purpose,
                               void **block_out, struct error *error); /* zeroed */
    void (*block_free)(struct device *device, void *block, size_t bytes);
    void (*copy_in)(struct device *device, void *on_device, const void *on_host, size_t bytes);
    void (*copy_out)(struct device *device, void *on_host, const void *on_device, size_t bytes);
    void (*zero)(struct device *device, void *block, size_t bytes);
    /* Bytes of scratch that ops will use for this shape; scratch_reserve allocates them. Ops called
     * without enough scratch CHECK. */
    size_t (*scratch_bytes)(const struct device *device, const struct scratch_shape *shape);
    enum status (*scratch_reserve)(struct device *device, const struct scratch_shape *shape,
                                   struct error *error);

    /* ---- weights that are kept packed --------------------------------------------------------
     * Weights may be kept, beside their own, in the layout that products read, which changes no
     * bit. One set for each block of weights; its owner says when the block has changed and, before
     * it is freed, that it is to be forgotten. A device to which packing means nothing takes 0
     * bytes and does nothing. */
    size_t (*weights_bytes)(const struct device *device, const struct kept_weight *weights,
                            int32_t count);
    enum status (*weights_keep)(struct device *device, const struct kept_weight *weights,
                                int32_t count, struct error *error);
    void (*weights_changed)(struct device *device, const real *block, size_t count);
    void (*weights_forget)(struct device *device, const real *block, size_t count);

    /* ---- embedding --------------------------------------------------------------------------- */
    void (*embed_forward)(struct device *device, real *x /*(S,C)*/, const int32_t *ids /*(S)*/,
                          const real *table /*(V,C)*/, int32_t S, int32_t C);
    /* dtable[ids[i]] += dx[i], in ascending i: deterministic for any number of threads. */
    void (*embed_backward)(struct device *device, float *dtable, const real *dx, const int32_t *ids,
                           int32_t S, int32_t C);

    /* ---- norms ------------------------------------------------------------------------------- */
    /* If delta is not NULL, first x_out = x + delta (x_out may be x); else x_out is not touched and
     * may be NULL. Then rstd = 1/sqrt(mean(x²) + eps), y = x · rstd · w. */
    void (*rmsnorm_forward)(struct device *device, real *y /*(rows,C)*/, float *rstd /*(rows)*/,
                            real *x_out, const real *x, const real *delta, const real *w /*(C)*/,
                            int32_t rows, int32_t C, float eps);
    /* dx = (accumulate ? dx : 0) + rstd·(w·dy − x·rstd²·mean(w·dy·x));  dw += Σ dy·x·rstd in row
     * order within fixed blocks of rows (dw may be NULL: frozen). */
    void (*rmsnorm_backward)(struct device *device, real *dx, float *dw, const real *dy,
                             const real *x, const float *rstd, const real *w, int32_t rows,
                             int32_t C, bool accumulate);
    /* The same over each head of size D (Qwen3's q/k norm): row i, head h at x + i·ldx + h·D. rstd
     * is (rows, heads). y and x may be different buffers with their own strides; not the same one.
     */
    void (*head_norm_forward)(struct device *device, real *y, int32_t ldy, float *rstd,
                              const real *x, int32_t ldx, const real *w /*(D)*/, int32_t rows,
                              int32_t heads, int32_t D, float eps);
    void (*head_norm_backward)(struct device *device, real *dx, int32_t lddx, float *dw,
                               const real *dy, int32_t lddy, const real *x, int32_t ldx,
                               const float *rstd, const real *w, int32_t rows, int32_t heads,
                               int32_t D);

    /* ---- matrix products (the contract above) --------------------------------------------------
     */
    /* y[i][n] = (accumulate ? y : bias or 0) + Σ_k x[i][k]·w[n][k]. The bias, where there is one,
     * is the chain's beginning; not with accumulate. */
    void (*linear_forward)(struct device *device, real *y, int32_t ldy, const real *x, int32_t ldx,
                           const real *w /*(N,K)*/, const real *bias /*(N) or NULL*/, int32_t rows,
                           int32_t N, int32_t K, bool accumulate);
    /* dx[i][k] = (accumulate ? dx : 0) + Σ_n dy[i][n]·w[n][k], ascending n. */
    void (*linear_backward_input)(struct device *device, real *dx, int32_t lddx, const real *dy,
                                  int32_t lddy, const real *w, int32_t rows, int32_t N, int32_t K,
                                  bool accumulate);
    /* dw[n][k] += Σ_i dy[i][n]·x[i][k], ascending i; dbias[n] += Σ_i dy[i][n] (NULL: none). */
    void (*linear_backward_weight)(struct device *device, float *dw, float *dbias, const real *dy,
                                   int32_t lddy, const real *x, int32_t ldx, int32_t rows,
                                   int32_t N, int32_t K);
    /* y = bias + x wᵀ, and with each part's chains going on over its r columns: u = scale·(x Aᵀ),
     * which is left for the backward pass, y += u Bᵀ. w NULL: y is there already. y NULL: only u.
     */
    void (*lora_forward)(struct device *device, real *y, int32_t ldy, const real *x, int32_t ldx,
                         const real *w, const real *bias, const struct lora *lora, int32_t rows,
                         int32_t N, int32_t K);
    /* du = scale·(dy B); dB += dyᵀ u; dA += duᵀ x; dx = dy w, then part after part dx += du A. w
     * NULL: dx is there already. dx NULL: none. */
    void (*lora_backward)(struct device *device, real *dx, int32_t lddx, const real *dy,
                          int32_t lddy, const real *x, int32_t ldx, const real *w,
                          const struct lora *lora, int32_t rows, int32_t N, int32_t K);

    /* ---- attention -----------------------------------------------------------------------------
     */
    /* Rotates halves in place: for pair j < D/2 of each head, with c,s = table[position[i]][j]:
     *   (a, b) = (x[j], x[j+D/2])  →  (a·c − b·s, b·c + a·s);  backward: s → −s. */
    void (*rope)(struct device *device, real *x, int32_t ldx, const int32_t *position /*(rows)*/,
                 const float *table /*(positions, D/2, 2): cos, sin*/, int32_t rows, int32_t heads,
                 int32_t D, bool backward);
    /* queries: the packed indices that are queried, ascending; NULL for all S (then query_count =
     * S). q, o, lse have query_count rows; k, v have S rows. q: (.,H·D) stride ldq; k,v: (.,G·D)
     * stride ldkv; o: (query_count, H·D) contiguous; lse: (query_count, H), log Σ exp of the scaled
     * scores. */
    void (*attention_forward)(struct device *device, real *o, float *lse, const real *q,
                              int32_t ldq, const real *k, const real *v, int32_t ldkv,
                              const struct layout *layout, const int32_t *queries,
                              int32_t query_count, const struct attention_shape *shape);
    /* dq has query_count rows, dk and dv S rows (overwritten, zero where nothing attends).
     * With Δ = Σ do·o:  dS = P·(do·v − Δ)·scale;  dq = dS k;  dk = dSᵀ q;  dv = Pᵀ do. */
    void (*attention_backward)(struct device *device, real *dq, int32_t lddq, real *dk, real *dv,
                               int32_t lddkv, const real *d_o, const real *o, const float *lse,
                               const real *q, int32_t ldq, const real *k, const real *v,
                               int32_t ldkv, const struct layout *layout, const int32_t *queries,
                               int32_t query_count, const struct attention_shape *shape);

    /* ---- elementwise and gathers
     * ------------------------------------------------------------------ */
    /* h = silu(g)·u with gate_up row = [g (F), u (F)]. */
    void (*swiglu_forward)(struct device *device, real *h /*(rows,F)*/,
                           const real *gate_up /*(rows,2F)*/, int32_t rows, int32_t F);
    /* dgate_up from dh; h is computed again into `h` for the weight gradient that follows. dgate_up
     * may be gate_up (in place); h may be NULL. */
    void (*swiglu_backward)(struct device *device, real *dgate_up, real *h, const real *dh,
                            const real *gate_up, int32_t rows, int32_t F);
    void (*gather_rows)(struct device *device, real *y /*(rows,C)*/, const real *x,
                        const int32_t *index /*(rows)*/, int32_t rows, int32_t C);
    /* dx[index[i]] += dy[i], in ascending i (duplicates allowed). */
    void (*scatter_add_rows)(struct device *device, real *dx, const real *dy, const int32_t *index,
                             int32_t rows, int32_t C);
    void (*add)(struct device *device, float *y, const float *x, size_t count); /* y += x */

    /* ---- pooling and head
     * -------------------------------------------------------------------------- */
    /* Over each row's tokens, listed in logical order: token[offset[r]] … token[offset[r+1]−1]
     * index x. mean: chain of additions in that order, divided at the end. max: per channel, the
     * first of equals; argmax (R,C) remembers which token. */
    void (*pool_mean_forward)(struct device *device, real *pooled /*(R,C)*/, const real *x,
                              const int32_t *offset, const int32_t *token, int32_t R, int32_t C);
    void (*pool_mean_backward)(struct device *device, real *dx /* += */, const real *dpooled,
                               const int32_t *offset, const int32_t *token, int32_t R, int32_t C);
    void (*pool_max_forward)(struct device *device, real *pooled, int32_t *argmax, const real *x,
                             const int32_t *offset, const int32_t *token, int32_t R, int32_t C);
    void (*pool_max_backward)(struct device *device, real *dx /* += */, const real *dpooled,
                              const int32_t *argmax, int32_t R, int32_t C);
    void (*reward_forward)(struct device *device, float *reward /*(R)*/, const real *pooled,
                           const float *w /*(C)*/, int32_t R, int32_t C);
    void (*reward_backward)(struct device *device, real *dpooled, float *dw /* +=, NULL: frozen */,
                            const float *dreward, const real *pooled, const float *w, int32_t R,
                            int32_t C);

    /* ---- losses
     * ------------------------------------------------------------------------------------- */
    /* Linear cross-entropy without ever holding (count, V): in chunks of rows, forward and backward
     * in one go. For entry i:  z = x[index[i]] · wᵀ;  nll[i] = log Σ exp z − z[target[i]]; g =
     * weight[i]·(softmax(z) − onehot);  dx[index[i]] += g·w;  dw += gᵀ x. dx NULL: forward only; dw
     * NULL: frozen head. index may repeat. The two sums over the vocabulary, Σ exp z and g·w, have
     * many small terms beside a large one: neither is one chain of floats. */
    void (*cross_entropy)(struct device *device, float *nll, real *dx, float *dw, const real *x,
                          const real *w /*(V,C)*/, const int32_t *index, const int32_t *target,
                          const float *weight, int32_t count, int32_t C, int32_t V);

    /* ---- optimizer
     * ------------------------------------------------------------------------------------ */
    /* Σ x² in double over fixed blocks of SUMSQ_BLOCK elements, blocks in order: any number of
     * threads. */
    double (*sumsq)(struct device *device, const float *x, size_t count);
    /* g ← g·gradient_scale; m ← β1 m + (1−β1) g; v ← β2 v + (1−β2) g²; w ← w(1 − lr·decay);
     * w ← w − lr·(m/correction1) / (sqrt(v/correction2) + ε). */
    void (*adamw)(struct device *device, float *w, float *m, float *v, const float *g, size_t count,
                  const struct adamw_step *step);
};

enum { SUMSQ_BLOCK = 16384, NORM_WEIGHT_BLOCK_ROWS = 64 };

#include "worker/ops/device.h"

#endif
