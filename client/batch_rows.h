/* SPDX-License-Identifier: Apache-2.0
 *
 * batch_rows: a recipe and a table made ready for the service.
 *
 * Every row's spec is made here as the service will make it; the files and directories that it
 * names are uploaded. Where rows named paths, the recipe gets one more --set and the rows one more
 * column, so that what travels is the person's table with digests beside it.
 */
#ifndef TAILOR_CLIENT_BATCH_ROWS_H
#define TAILOR_CLIENT_BATCH_ROWS_H

#include "client/csv.h"
#include "client/upload.h"

struct batch_rows {
    const struct service *service;
    const char *tenant;      /* whose batch: of rows that name none */
    const char *recipe_path; /* as messages name it */
    const char *recipe;      /* its text */
    const struct option_list *set;
    const struct csv *csv;
    bool quiet;
};

/* Fills recipe, rows, set and refused of the request. A row that cannot be is refused, not a
 * failure of the call; a service that does not answer is. */
enum status batch_rows_put(const struct batch_rows *it, Api__BatchSubmitRequest *request,
                           struct error *error);

#endif
