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
#include "worker/trainer/dtype_choice.h"
#include "worker/trainer/place.h"
#include "worker/trainer/session.h"
#include "worker/trainer/train.h"
#include "worker/trainer/verbs.h"

static void print_plan(const struct session *s, FILE *out)
{
    const struct model_config *c = &s->model->config;
    char parameters[16], trained[16];
    format_count((double)s->model->table.elements, parameters);
    format_count((double)model_trained_table(s->model)->elements, trained);
    fprintf(out,
            "model: %d layers, %d channels, %s parameters, %s trained; %s, %d ranks, %d threads "
            "each, %s\n",
            c->L, c->C, parameters, trained, s->device->ops->name, gang_world(s->gang),
            pool_threads(s->device->pool), device_numerics(s->device));
    if (s->dtype_note != NULL) {
        fprintf(out, "dtype: auto is %s: %s\n", s->device->dtype == DTYPE_BF16 ? "bf16" : "fp32",
                s->dtype_note);
    }
    fprintf(out,
            "data: %lld groups, %lld pairs, longest row %d tokens; %lld steps of %lld groups\n",
            (long long)s->part[MIX_OWN]->group_count, (long long)s->part[MIX_OWN]->pair_count,
            s->capacity.row_tokens_max, (long long)s->sampler.steps,
            (long long)s->sampler.batch_groups);
    fprintf(out, "packs of up to %d tokens; memory%s:\n", s->capacity.S,
            gang_world(s->gang) > 1 ? " of rank 0" : "");
    ledger_print(&s->ledger, out);
}

static enum status run(struct session *session, const struct arguments *arguments,
                       struct error *error)
{
    session_plan(session);
    if (gang_leads(session->gang) && (!arguments->quiet || arguments->plan)) {
        print_plan(session, arguments->plan ? stdout : stderr);
    }
    if (arguments->plan) {
        return STATUS_OK;
    }
    TRY(session_allocate(session, error));
    struct train_options options = {.resume = arguments->resume,
                                    .quiet = arguments->quiet || !gang_leads(session->gang),
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

static enum status train(struct spec *spec, const struct arguments *arguments,
                         const struct gang *gang, struct error *error)
{
    struct session *session = NULL;
    bool quiet = arguments->quiet || !gang_leads(gang);
    enum status status = STATUS_OK;
    if (gang_keeps(gang)) {
        status = run_lock(arguments->out, error);
    }
    if (status == STATUS_OK) {
        status = session_open(spec, arguments->out, gang, (int)arguments->threads,
                              quiet ? NULL : stderr, &session, error);
    }
    if (status == STATUS_OK) {
        status = dtype_choose(session, spec, arguments->resume, !arguments->plan, error);
    }
    if (status == STATUS_OK) {
        status = run(session, arguments, error);
    }
    session_close(session);
    return status;
}

/* Only to be planned, a gang need not be there. */
static enum status join(const struct spec *spec, const struct arguments *arguments,
                        struct gang *gang, struct error *error)
{
    const struct gang_options options = {.rank = (int32_t)arguments->rank,
                                         .world = (int32_t)arguments->ranks,
                                         .comm = arguments->comm,
                                         .rendezvous = arguments->rendezvous,
                                         .term = (uint64_t)arguments->term,
                                         .on_gpu = spec->resources.device == SPEC_DEVICE_CUDA};
    if (arguments->plan) {
        *gang = (struct gang){.rank = options.rank, .world = options.world};
        return STATUS_OK;
    }
    enum status status = gang_open(&options, gang, error);
    if (status == STATUS_CONFLICT && arguments->report_fd >= 0) {
        status = error->status = STATUS_COMMUNICATION; /* of the moment: the next term has others */
    }
    TRY(status);
    return place_find(gang, arguments->out, error);
}

enum status verb_train(const struct arguments *arguments, struct error *error)
{
    if (arguments->spec == NULL || arguments->out == NULL) {
        return error_set(error, STATUS_USAGE, "train needs --spec FILE and --out RUN");
    }
    struct arena arena = {0};
    struct spec *spec;
    struct gang gang = {.world = 1};
    enum status status = spec_read(&arena, arguments->spec, NULL, 0, &spec, error);
    if (status == STATUS_OK && spec->train.slices < arguments->ranks) {
        status = error_set(error, STATUS_USAGE, "train.slices is %lld, fewer than %lld ranks",
                           (long long)spec->train.slices, (long long)arguments->ranks);
    }
    if (status == STATUS_OK) {
        status = dir_create(arguments->out, error);
    }
    if (status == STATUS_OK) {
        status = join(spec, arguments, &gang, error);
    }
    if (status == STATUS_OK) {
        status = train(spec, arguments, &gang, error);
    }
    gang_close(&gang, status == STATUS_OK ? NULL : error);
    arena_release(&arena);
    return status;
}
