/* SPDX-License-Identifier: Apache-2.0
 *
 * card: tailor.json, what a model's directory says beyond Hugging Face's files.
 *
 *     {"format_version": 1, "kind": "full" | "adapter" | "base",
 *      "text": {"template", "prefixes": {"system_prefix", …} | null, "max_length", "overlong",
 *               "pooling"},
 *      "parent": {"path", "digest"} | null,
 *      "probes": [{"ids": [..], "score": x}], …}
 * Keys that are not known here are kept and mean nothing here.
 */
#ifndef TAILOR_WORKER_MODEL_CARD_H
#define TAILOR_WORKER_MODEL_CARD_H

#include <jansson.h>
#include <stdbool.h>

#include "lib/status.h"
#include "worker/data/template.h"

#define CARD_FILE "tailor.json"

enum { CARD_FORMAT_VERSION = 1, MODEL_PATH_MAX = 4096 };

/* *card_out is NULL where the directory has no card. */
enum status card_read(const char *dir, json_t **card_out, struct error *error);
/* The text format; strings are borrowed from the card. *has_out is false if it has none. */
enum status card_format(const char *dir, const json_t *card, struct text_format *format_out,
                        bool *has_out, struct error *error);
/* The "text" object of a format. */
json_t *card_text_json(const struct text_format *format);

/* Finds the directory that an adapter in `dir` names as its parent: absolute; else relative to
 * `dir`, to a directory above it, or to the current one; first found wins. */
enum status card_parent_find(const char *dir, const char *name, char out[MODEL_PATH_MAX],
                             struct error *error);
/* The parent as the card of `dir` should name it: "../NAME" for a neighbour, so that both can be
 * moved together, else absolute. */
enum status card_parent_name(const char *dir, const char *parent_dir, char out[MODEL_PATH_MAX],
                             struct error *error);
/* The same without links and dots, as PEFT needs it. */
enum status card_parent_absolute(const char *parent_dir, char out[MODEL_PATH_MAX],
                                 struct error *error);

#endif
