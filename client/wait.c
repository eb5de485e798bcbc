/* SPDX-License-Identifier: Apache-2.0
 *
 * wait: see wait.h. It asks again and again. Rejected: the stream of events; what counts is a
 * state, and a question that is asked again survives everything.
 */
#include "client/wait.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/text.h"
#include "proto/ident.h"

enum { PATIENCE_MS = 300000, ASK_FIRST_MS = 200, ASK_LAST_MS = 2000 };

static const char *text_of(const json_t *job, const char *field)
{
    const char *text = json_string_value(json_object_get(job, field));
    return text ? text : "";
}

/* Prints what changed since the last look. */
static void tell(const json_t *job, char last[64])
{
    char now[64];
    const json_t *step = json_object_get(job, "step"), *total = json_object_get(job, "steps_total");
    snprintf(now, sizeof(now), "%s", text_of(job, "state"));
    if (strcmp(now, last) == 0) {
        return;
    }
    fprintf(stderr, "%s: %s", text_of(job, "id"), now);
    if (step && total) {
        fprintf(stderr, ", step %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
                json_integer_value(step), json_integer_value(total));
    }
    fputc('\n', stderr);
    snprintf(last, 64, "%s", now);
}

static enum status verdict(const json_t *job, bool *over, struct error *error)
{
    const char *id = text_of(job, "id"), *state = text_of(job, "state");
    char cause[512], hint[256];
    *over = true;
    if (strcmp(state, "succeeded") == 0) {
        return STATUS_OK;
    }
    if (strcmp(state, "cancelled") == 0) {
        return error_set(error, STATUS_CANCELLED, "%s was cancelled", id);
    }
    if (strcmp(state, "failed") == 0) {
        text_clean(text_of(job, "failure_message"), cause, sizeof(cause));
        text_clean(text_of(job, "failure_hint"), hint, sizeof(hint));
        return error_set(error, STATUS_FAILED, "%s failed (%s): %s%s%s", id,
                         text_of(job, "failure_class"), cause, hint[0] ? ": " : "", hint);
    }
    *over = false;
    return STATUS_OK;
}

enum status wait_for_job(const struct service *service, const char *id, double timeout_s,
                         bool quiet, struct error *error)
{
    Api__JobRequest *request = service_request(service, ROUTE_JOB_SHOW);
    char last[64] = "";
    int64_t pause_ms = ASK_FIRST_MS;
    bool over = false;
    time_t begin = time(NULL);
    TRY(ident_parse(IDENT_JOB, id, &request->id, error));
    request->has_id = true;
    for (;;) {
        json_t *job;
        TRY(service_insist(service, ROUTE_JOB_SHOW, &request->base, PATIENCE_MS, &job, error));
        if (!quiet) {
            tell(job, last);
        }
        enum status status = verdict(job, &over, error);
        json_decref(job);
        if (over) {
            return status;
        }
        if (timeout_s > 0 && difftime(time(NULL), begin) >= timeout_s) {
            return error_set(error, STATUS_FAILED, "%s is still %s after %.0f s", id, last,
                             timeout_s);
        }
        const struct timespec pause = {.tv_sec = pause_ms / 1000,
                                       .tv_nsec = pause_ms % 1000 * 1000000};
        nanosleep(&pause, NULL);
        pause_ms = pause_ms * 2 > ASK_LAST_MS ? ASK_LAST_MS : pause_ms * 2;
    }
}
