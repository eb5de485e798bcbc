/* SPDX-License-Identifier: Apache-2.0
 *
 * serve: one model resident, many adapters over it, one pass for the texts of all.
 *
 * Requests come as lines (serve_request.h) and are answered on the relay, each as soon as its last
 * response is scored. A pass takes what waits, the oldest first, as far as it fits; its rows may be
 * of many models, whose adapters the products of the pass apply range by range, and whose heads are
 * read row by row. Rewards are batch-invariant, so who else is in the pass changes no bit: they are
 * those of `tailor model score` on the same directory.
 *
 * What one pass cannot mix are adapters of unlike targets and models of unlike pooling: these take
 * turns. Adapters are opened when a request first needs them and stay under a bound of bytes
 * (lru.h), those of open requests in any case.
 */
#ifndef TAILOR_WORKER_TRAINER_SERVE_H
#define TAILOR_WORKER_TRAINER_SERVE_H

#include "worker/trainer/examiner.h"
#include "worker/trainer/inbox.h"
#include "worker/trainer/lru.h"
#include "worker/trainer/serve_request.h"

enum {
    SERVE_REQUESTS_MAX = 128, /* open at once; further ones wait in the inbox */
    SERVE_ROWS_MAX = 512,     /* responses of a pass */
    SERVE_WAIT_MS = 100,      /* between two looks at the wish to stop */
    SERVE_TELL_MS = 10000     /* between two lines of metrics */
};

/* How large passes must be; grows. */
struct serve_sizes {
    int32_t tokens, row_tokens, lora_rank;
    int32_t all_tokens; /* 0 or 1: pooling mean or max */
};

struct server {
    struct examiner examiner; /* the resident model: opened by the caller */
    bool has_head;            /* it gives rewards itself, not only with adapters */
    char tokenizer[SHA256_HEX_SIZE];
    struct lru adapters;
    struct inbox *inbox;
    struct serve_request *requests, **end; /* open ones, the oldest first */
    int32_t request_count;
    struct serve_request *pending; /* its adapter finds no room until another request is done */
    struct serve_sizes wanted, reserved;
    int64_t passes, scored; /* for those who watch … */
    int64_t told, told_ms;  /* … who were told so much, then */
};

/* `model`: of the directory that is served, opened with its adapters merged; `batch_tokens`: of a
 * pass, at least. The server borrows nothing else. */
void server_init(struct server *server, int64_t batch_tokens, int64_t adapters_bytes_max);
/* Serves until it is told to stop, then answers what it has taken: STATUS_CANCELLED. */
enum status server_run(struct server *server, struct error *error);
void server_release(struct server *server);

/* ---- serve_pass.c ---- */
/* Scores some of what waits. */
enum status serve_pass(struct server *server, struct error *error);

#endif
