/* SPDX-License-Identifier: Apache-2.0
 *
 * model_files: a registered model as a directory on this machine, for the commands that read one.
 *
 * It lies in the cache under its manifest's digest, so it is fetched once. An adapter's parent lies
 * beside it, and the adapter's card names it.
 */
#ifndef TAILOR_CLIENT_MODEL_FILES_H
#define TAILOR_CLIENT_MODEL_FILES_H

#include <stdbool.h>

#include "client/service.h"
#include "lib/json.h"

/* `reference`: "support", "support@prod", "acme/support@12"; without a version the latest. The path
 * lives in the service's arena. STATUS_NOT_FOUND: there is none, or it is not the caller's to read.
 */
enum status model_files(const struct service *service, const char *reference, bool quiet,
                        const char **dir_out, struct error *error);

/* Which version `reference` means, as the service shows it; the caller owns it. Same errors. */
enum status model_version(const struct service *service, const char *reference,
                          json_t **version_out, struct error *error);
/* Appends the card of the adapter in `dir` (its tailor.json) to card_out, with the neighbour
 * `parent` (a directory's name) as the model that it stands on. */
enum status model_card_over(const char *dir, const char *parent, struct buf *card_out,
                            struct error *error);

#endif
