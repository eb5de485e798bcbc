/* SPDX-License-Identifier: Apache-2.0
 *
 * limits: every bound of the program, named, with the arithmetic behind it.
 */
#ifndef TAILOR_LIB_LIMITS_H
#define TAILOR_LIB_LIMITS_H

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* Text that people hand in. */
#define SPEC_BYTES_MAX               (1 * MIB)
#define DATA_LINE_BYTES_MAX          (1 * MIB)  /* one JSONL record */
#define DATA_FILE_BYTES_MAX          (16 * GIB) /* after decompression */
#define DATA_GROUPS_MAX              50000000   /* int32 indices stay valid with room */
#define GROUP_RESPONSES_MAX          64         /* K */
#define MESSAGES_MAX                 1024       /* turns of one conversation */
#define CONFIG_BYTES_MAX             (1 * MIB)
#define TOKENIZER_BYTES_MAX          (64 * MIB) /* 256 k tokens and merges take about 30 MiB */
#define TOKENIZER_TOKENS_MAX         2000000
#define SAFETENSORS_HEADER_BYTES_MAX (16 * MIB)
#define SAFETENSORS_TENSORS_MAX      20000 /* 80 layers x 12 tensors, twenty times over */
#define SAFETENSORS_SHARDS_MAX       256

/* Shapes of a model: what a config.json may ask for. */
#define MODEL_LAYERS_MAX   256
#define MODEL_HIDDEN_MAX   65536
#define MODEL_HEADS_MAX    1024
#define MODEL_HEAD_DIM_MAX 256
#define MODEL_FFN_MAX      262144
#define MODEL_VOCAB_MAX    2000000
#define LORA_RANK_MAX      512

/* A step. */
#define ROW_TOKENS_MAX      131072
#define PACK_TOKENS_MAX     1048576
#define PLAN_GROUPS_MAX     262144 /* samples of a run that the plan packs beforehand: a second */
#define SLICES_MAX          64
#define NONFINITE_STEPS_MAX 3 /* skipped in a row before the job fails */
#define PROBES_COUNT        8 /* short rows that pin head continuity */

/* Several ranks. */
#define GANG_TIMEOUT_MS    1800000 /* tokens of 16 GiB; a rank that died is noticed at once */
#define GANG_COMPARE_STEPS 25 /* between fingerprints of the weights: 50 ms for 135 M of them */
#define OVERLAP_FLOATS     (1 << 20) /* handed on at a time beside the backward pass: 4 MiB */
#define GANG_RECHECK_STEPS 100       /* between slices that a second rank computes: 1 % at most */

/* Disks. What is kept free on a store's is for the records beside it: a commit must find room. */
#define STORE_RESERVE_BYTES  (64 * MIB)
#define WORKER_RESERVE_BYTES (64 * MIB) /* a worker with less is given nothing new */

/* Messages of the service. */
#define MESSAGE_VALUES_MAX 100000     /* JSON values in one body: about 8 MiB once parsed */
#define MESSAGE_BUDGET     40         /* bytes of memory for one byte on the wire, at most */
#define MESSAGE_BYTES_MAX  (1 * MIB)  /* an ordinary one */
#define REPORT_BYTES_MAX   (64 * KIB) /* what a worker reports about an attempt */
#define CHUNK_BYTES_MAX    (8 * MIB)  /* of an upload: the HTTP server holds a body whole */
#define BATCH_BYTES_MAX    (8 * MIB)  /* 10,000 rows of 800 bytes */
#define BATCH_ROWS_MAX     10000
#define PAGE_MAX           1000 /* rows in one answer */
#define PAGE_DEFAULT       100
#define LABELS_MAX         32
#define SHARDS_MAX         64 /* of one job: as many as a job may come after */
#define RANKS_MAX          256
#define WORKER_SLOTS_MAX   1024
#define TERM_MAX           1000000
#define STEPS_MAX          1000000000

#define STALLED_MS (15 * 60 * 1000) /* a job with an attempt that nobody hears of is called so */

/* Data from here on are judged in shards: about ten seconds of one core. */
#define ADMISSION_SHARDED_BYTES (128 * MIB)

/* Requests for rewards. */
#define SCORE_BYTES_MAX      (1 * MIB)  /* of one: 256 texts of 4 KiB */
#define SCORE_RESPONSES_MAX  256        /* of one: their answer fits a line of a report */
#define SCORES_MAX           512        /* on their way through the coordinator … */
#define SCORES_BYTES_MAX     (64 * MIB) /* … and of these the rows */
#define SCORES_OF_JOB_MAX    128        /* of these by one serve job … */
#define SCORES_OF_TENANT_MAX 32         /* … and for one tenant's models */
#define SCORE_PATIENCE_MS    30000      /* until who asked is told that no answer came */

/* Webhooks. Waits of up to 1 s, 2 s … 1 h, three quarters of that on average (backoff.h): 96 of the
 * longest make three days. */
#define WEBHOOKS_OF_TENANT_MAX 16
#define WEBHOOK_ATTEMPTS_MAX   108     /* at one event, before the webhook is stopped */
#define WEBHOOK_WAIT_MS_MAX    3600000 /* between two of them */
#define WEBHOOK_DEADLINE_MS    15000   /* of one, from the name's lookup to the last byte */
#define WEBHOOK_THREADS        8       /* that wait for receivers */
#define WEBHOOK_FLIGHTS_MAX    64      /* attempts at the same time: a socket each */
#define WEBHOOK_EVENTS_SCANNED 4096    /* of the log by one statement: about a millisecond */

#endif
