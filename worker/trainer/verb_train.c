/* SPDX-License-Identifier: Apache-2.0
 *
 * train: a resolved spec, a directory, a model.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/text.h"
#include "worker/trainer/session.h"
#include "worker/trainer/train.h"
#include "worker/trainer/verbs.h"

static void print_plan(const struct session *s, FILE *out)
{
    const struct model_config *c = &s->model->config;
    char parameters[16], trained[16];
    format_count((double)s->model->table.elements, parameters);
    format_count((double)model_trained_table(s->model)->elements, trained);
    fprintf(out, "model: %d layers, %d channels, %s parameters, %s trained; %s, %d threads, %s\n",
            c->L, c->C, parameters, trained, s->device->ops->name, pool_threads(s->device->pool),
            device_numerics(s->device));
    fprintf(out,
            "data: %lld groups, %lld pairs, longest row %d tokens; %lld steps of %lld groups\n",
            (long long)s->part[MIX_OWN]->group_count, (long long)s->part[MIX_OWN]->pair_count,
            s->capacity.row_tokens_max, (long long)s->sampler.steps,
            (long long)s->sampler.batch_groups);
    fprintf(out, "packs of up to %d tokens; memory:\n", s->capacity.S);
    ledger_print(&s->ledger, out);
}

static enum status run(struct session *session, const struct arguments *arguments,
                       struct error *error)
{
    session_plan(session);
    if (!arguments->quiet || arguments->plan) {
        print_plan(session, arguments->plan ? stdout : stderr);
    }
    if (arguments->plan) {
        return STATUS_OK;
    }
    TRY(session_allocate(session, error));
    struct train_options options = {.resume = arguments->resume,
                                    .quiet = arguments->quiet,
                                    .verify_packing = arguments->verify_packing};
    return train_run(session, &options, error);
}

/* One trainer at a time in a run's directory. The lock goes with the process, however it ends. */
static enum status run_lock(const char *run, struct error *error)
{
    char path[4096];
    path_join(path, sizeof(path), run, "lock");
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (fd < 0) {
        return error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return error_set(error, STATUS_CONFLICT, "%s: another process is training into it", run);
    }
    return STATUS_OK; /* held until exit */
}

enum status verb_train(const struct arguments *arguments, struct error *error)
{
    if (arguments->spec == NULL || arguments->out == NULL) {
        return error_set(error, STATUS_USAGE, "train needs --spec FILE and --out RUN");
    }
    struct arena arena = {0};
    struct spec *spec;
    struct session *session = NULL;
    enum status status = spec_read(&arena, arguments->spec, NULL, 0, &spec, error);
    if (status == STATUS_OK) {
        status = dir_create(arguments->out, error);
    }
    if (status == STATUS_OK) {
        status = run_lock(arguments->out, error);
    }
    if (status == STATUS_OK) {
        status = session_open(spec, arguments->out, (int)arguments->threads,
                              arguments->quiet ? NULL : stderr, &session, error);
    }
    if (status == STATUS_OK) {
        status = run(session, arguments, error);
    }
    session_close(session);
    arena_release(&arena);
    return status;
}
