/* SPDX-License-Identifier: Apache-2.0
 *
 * wait: see wait.h. It asks again and again. Rejected: the stream of events; what counts is a
 * state, and a question that is asked again survives everything.
 */
#include "client/wait.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/remote.h"
#include "lib/clock.h"
#include "lib/text.h"

enum { PATIENCE_MS = 300000, ASK_FIRST_MS = 200, ASK_LAST_MS = 2000, BAR_WIDTH = 30 };

/* ---- how far it is --------------------------------------------------------------------------- */

struct progress {
    const struct service *service;
    const struct wait *wait;
    char last[160]; /* what was said */
    Api__JobRequest *metrics;
    char loss[32];
};

/* The newest loss; the cursor moves on. */
static void look_at_metrics(struct progress *it)
{
    json_t *reply;
    struct error ignored;
    if (service_call(it->service, ROUTE_JOB_METRICS, &it->metrics->base, &reply, &ignored) !=
        STATUS_OK) {
        return;
    }
    const json_t *points = json_object_get(reply, "points");
    for (size_t i = 0; i < json_array_size(points); i++) {
        const json_t *loss =
            json_object_get(json_object_get(json_array_get(points, i), "values"), "loss");
        if (json_is_number(loss)) {
            snprintf(it->loss, sizeof(it->loss), ", loss %.4f", json_number_value(loss));
        }
    }
    if (json_is_integer(json_object_get(reply, "next"))) {
        it->metrics->has_after = true;
        it->metrics->after = json_integer_value(json_object_get(reply, "next"));
    }
    json_decref(reply);
}

static void put_bar(int64_t step, int64_t total)
{
    int full = total > 0 ? (int)(step * BAR_WIDTH / total) : 0;
    fputs(" [", stderr);
    for (int i = 0; i < BAR_WIDTH; i++) {
        fputc(i < full ? '#' : '.', stderr);
    }
    fputs("]", stderr);
}

/* Prints what changed since the last look: on a terminal in one line, else a line each. */
static void tell(struct progress *it, const json_t *job)
{
    char now[160];
    const json_t *step = json_object_get(job, "step"), *total = json_object_get(job, "steps_total");
    bool terminal = it->wait->steps && isatty(STDERR_FILENO);
    snprintf(now, sizeof(now), "%s", remote_text(job, "state"));
    if (step && total && it->wait->steps) {
        look_at_metrics(it);
        snprintf(now + strlen(now), sizeof(now) - strlen(now),
                 ", step %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT "%s",
                 json_integer_value(step), json_integer_value(total), it->loss);
    }
    if (strcmp(now, it->last) == 0) {
        return;
    }
    fprintf(stderr, "%s%s: %s", terminal ? "\r\x1b[K" : "", remote_text(job, "id"), now);
    if (terminal && step && total) {
        put_bar(json_integer_value(step), json_integer_value(total));
    }
    fputs(terminal ? "" : "\n", stderr);
    snprintf(it->last, sizeof(it->last), "%s", now);
}

/* ---- its end --------------------------------------------------------------------------------- */

static enum status succeeded(const json_t *job, struct error *error)
{
    const json_t *gate = json_object_get(json_object_get(job, "gate_figures"), "gate");
    const char *reason = json_string_value(json_array_get(json_object_get(gate, "reasons"), 0));
    const char *alias =
        remote_text(json_object_get(json_object_get(job, "spec"), "output"), "alias");
    char clean[512];
    if (strcmp(remote_text(job, "gate_decision"), "held") != 0 || !alias[0]) {
        return STATUS_OK;
    }
    text_clean(reason ? reason : "tailor job show has the figures", clean, sizeof(clean));
    return error_set(error, STATUS_HELD, "%s has succeeded, and its gate holds %s back: %s",
                     remote_text(job, "id"), alias, clean);
}

static enum status verdict(const json_t *job, bool *over, struct error *error)
{
    const char *id = remote_text(job, "id"), *state = remote_text(job, "state");
    char cause[512], hint[256];
    *over = true;
    if (strcmp(state, "succeeded") == 0) {
        return succeeded(job, error);
    }
    if (strcmp(state, "cancelled") == 0) {
        return error_set(error, STATUS_CANCELLED, "%s was cancelled", id);
    }
    if (strcmp(state, "failed") == 0) {
        text_clean(remote_text(job, "failure_message"), cause, sizeof(cause));
        text_clean(remote_text(job, "failure_hint"), hint, sizeof(hint));
        return error_set(error, STATUS_FAILED, "%s failed (%s): %s%s%s", id,
                         remote_text(job, "failure_class"), cause, hint[0] ? ": " : "", hint);
    }
    *over = false;
    return STATUS_OK;
}

/* ---- asking again ---------------------------------------------------------------------------- */

struct asking asking_begin(double timeout_s)
{
    return (struct asking){timeout_s, monotonic_s(), ASK_FIRST_MS};
}

bool asking_pause(struct asking *it)
{
    double left_ms = 1000 * (it->timeout_s - (monotonic_s() - it->begin_s));
    if (it->timeout_s > 0 && left_ms <= 0) {
        return false;
    }
    int64_t sleep_ms =
        it->timeout_s > 0 && left_ms < (double)it->pause_ms ? (int64_t)left_ms + 1 : it->pause_ms;
    nanosleep(&(struct timespec){.tv_sec = sleep_ms / 1000, .tv_nsec = sleep_ms % 1000 * 1000000},
              NULL);
    it->pause_ms = it->pause_ms * 2 > ASK_LAST_MS ? ASK_LAST_MS : it->pause_ms * 2;
    return true;
}

static enum status look_on(struct progress *it, const char *id, Api__JobRequest *request,
                           struct error *error)
{
    const struct wait *wait = it->wait;
    struct asking asking = asking_begin(wait->timeout_s);
    for (;;) {
        json_t *job;
        bool over;
        TRY(service_insist(it->service, ROUTE_JOB_SHOW, &request->base, PATIENCE_MS, &job, error));
        if (!wait->quiet) {
            tell(it, job);
        }
        enum status status = verdict(job, &over, error);
        char state[32];
        snprintf(state, sizeof(state), "%s", remote_text(job, "state"));
        json_decref(job);
        if (over) {
            return status;
        }
        if (!asking_pause(&asking)) {
            return error_set(error, STATUS_TIMEOUT,
                             "%s is still %s after %g s: tailor job why %s says what it waits for",
                             id, state, wait->timeout_s, id);
        }
    }
}

enum status wait_for_job(const struct service *service, const char *id, const struct wait *wait,
                         struct error *error)
{
    struct service patient = *service; /* the time is for the job, not for an answer */
    struct progress it = {.service = &patient, .wait = wait};
    Api__JobRequest *request = service_request(service, ROUTE_JOB_SHOW);
    patient.timeout_s = 0;
    it.metrics = service_request(service, ROUTE_JOB_METRICS);
    TRY(remote_put(service, &request->base, "id", id, error));
    TRY(remote_put(service, &it.metrics->base, "id", id, error));
    enum status status = look_on(&it, id, request, error);
    if (wait->steps && !wait->quiet && isatty(STDERR_FILENO)) {
        fputc('\n', stderr);
    }
    return status;
}
