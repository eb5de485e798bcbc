/* SPDX-License-Identifier: Apache-2.0
 *
 * session: everything one training run holds, opened from a resolved spec.
 *
 *     session_open     device, tokenizer, text format, data (admitted), model
 *     session_plan     how big a pack may be, and the memory ledger
 *     session_allocate the big blocks
 *     … train.h …
 *     session_close
 *
 * Lifetime: job. One thread.
 */
#ifndef TAILOR_WORKER_TRAINER_SESSION_H
#define TAILOR_WORKER_TRAINER_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/arena.h"
#include "lib/status.h"
#include "proto/spec.h"
#include "worker/data/admission.h"
#include "worker/data/dataset.h"
#include "worker/data/sampler.h"
#include "worker/model/activations.h"
#include "worker/model/model.h"
#include "worker/trainer/figures.h"
#include "worker/trainer/gang.h"
#include "worker/trainer/scorer.h"
#include "worker/trainer/step.h"

enum { EVAL_SETS_MAX = 64, LEDGER_ROWS_MAX = 16 };

/* One set to measure on. */
struct eval_set {
    const char *name;
    bool general;                        /* measures the taste that must be preserved */
    struct data_source source;           /* where its texts are, for reports */
    struct dataset *dataset;             /* all of it: before and after training */
    struct dataset *sample;              /* while training */
    float *reward_before, *reward_after; /* (dataset->row_count); NULL until measured */
    struct figures before, after;
    double nll_before, nll_after; /* stage lm */
};

struct ledger {
    struct {
        const char *what;
        size_t bytes;
    } rows[LEDGER_ROWS_MAX];
    int count;
    size_t total;
    size_t held;      /* of the total, by now */
    size_t available; /* that this process may still take; 0: not known */
    int32_t ranks;    /* that take from it together */
    bool recompute;   /* layers are computed again in the backward pass */
};

struct session {
    struct arena arena;
    const struct spec *spec; /* borrowed */
    const char *run;         /* the run's directory; borrowed */
    const struct gang *gang; /* borrowed */
    struct device *device;
    const char *dtype_note; /* why train.dtype `auto` became what it is; NULL: it was asked for */
    struct tokenizer *tokenizer;
    struct text_format format;
    struct model *model;
    json_t *parent_card; /* tailor.json of what it started from; NULL without one */
    char parent_digest[SHA256_HEX_SIZE];

    struct data_source *own_sources, *general_sources; /* of the mix */
    int own_source_count, general_source_count;
    struct dataset *whole;           /* owner of the storage when eval is split from train */
    struct dataset *part[MIX_PARTS]; /* what is sampled; [MIX_GENERAL] may be NULL */
    struct eval_set eval[EVAL_SETS_MAX];
    int eval_count;
    struct admission *admission; /* of data.train */

    struct loss_config loss;
    struct sampler sampler;
    struct schedule schedule;
    struct optimizer_config optimizer_config;
    struct pass_capacity capacity;
    struct scratch_shape scratch;
    unsigned packed_uses; /* what weights are kept packed for, of enum weight_use */
    struct ledger ledger;

    struct activations *acts;
    struct slice_tree *tree;
    struct optimizer *optimizer;
    struct stepper stepper;
};

/* Sentences for people while opening (verdicts, what was inherited) go to `notes`, NULL for none.
 * In a gang the leader opens the data first: the others then find its token cache. */
enum status session_open(const struct spec *spec, const char *run, const struct gang *gang,
                         int threads, FILE *notes, struct session **session_out,
                         struct error *error);
void session_close(struct session *session);

/* Fills capacity, scratch and ledger. */
void session_plan(struct session *session);
void ledger_print(const struct ledger *ledger, FILE *out);
enum status session_allocate(struct session *session, struct error *error);

struct scorer session_scorer(struct session *session);
bool session_is_lm(const struct session *session);
double
session_confidence(const struct session *session); /* of intervals: gate.confidence or 0.95 */

/* ---- the parts, for session.c ------------------------------------------------------------------
 */
enum status session_open_data(struct session *session, FILE *notes, struct error *error);
/* The directory of the token cache: $TAILOR_CACHE, $XDG_CACHE_HOME/tailor, ~/.cache/tailor; NULL
 * where none can be made. */
const char *token_cache_dir(struct arena *arena);
/* A spec's source as the data reader takes it. */
struct data_source source_from_spec(const struct spec_source *source);
struct admission_policy policy_from_spec(const struct spec *spec);
struct template_prefixes prefixes_from_spec(const struct spec *spec);
json_t *source_json(const struct data_source *source);
struct data_source source_from_json(struct arena *arena, const json_t *json);

#endif
