/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/agent/recovery.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"
#include "proto/message.h"

/* ---- the boot number ------------------------------------------------------------------------- */

static void boot_path(const struct recovery *recovery, char out[PATH_MAX])
{
    path_join(out, PATH_MAX, recovery->data, "boot");
}

/* False: there is none that can be read. */
static bool boot_read(struct recovery *recovery)
{
    char path[PATH_MAX];
    struct buf text = {0};
    int64_t boot = 0;
    boot_path(recovery, path);
    bool found =
        file_read(path, 64, &text, NULL) == STATUS_OK && parse_i64(text.data, &boot) && boot > 0;
    buf_release(&text);
    recovery->boot = (uint64_t)boot;
    return found;
}

static enum status boot_draw(struct recovery *recovery, struct error *error)
{
    char path[PATH_MAX], text[32];
    uint64_t boot;
    if (getrandom(&boot, sizeof(boot), 0) != sizeof(boot))
        return error_set(error, STATUS_IO, "no random bytes: %s", strerror(errno));
    recovery->boot = (boot >> 2) | 1;
    boot_path(recovery, path);
    snprintf(text, sizeof(text), "%" PRIu64, recovery->boot);
    return file_write_atomic(path, text, strlen(text), error);
}

/* ---- the outboxes ---------------------------------------------------------------------------- */

static void take(struct recovery *recovery, const char *path)
{
    struct error error;
    struct outbox outbox;
    if (outbox_restore(&outbox, path, &error) != STATUS_OK) {
        log_warn("%s", error.text);
        unlink(path);
        return;
    }
    if (outbox.count == 0) {
        outbox_close(&outbox);
        return;
    }
    log_info("job %" PRId64 " term %" PRId64
             ": %d reports of a former process are still to be made",
             outbox.job, outbox.term, outbox.count);
    recovery->outboxes = mem_grow(
        recovery->outboxes, size_mul((size_t)recovery->count + 1, sizeof(*recovery->outboxes)));
    recovery->outboxes[recovery->count++] = outbox;
}

enum status recovery_open(struct recovery *recovery, const char *data, struct error *error)
{
    char dir[PATH_MAX], path[PATH_MAX];
    snprintf(recovery->data, sizeof(recovery->data), "%s", data);
    path_join(dir, sizeof(dir), data, "outbox");
    bool known = boot_read(recovery);
    DIR *entries = opendir(dir);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        path_join(path, sizeof(path), dir, entry->d_name);
        if (known)
            take(recovery, path);
        else
            unlink(path);
    }
    if (entries != NULL)
        closedir(entries);
    return recovery->count > 0 ? STATUS_OK : boot_draw(recovery, error);
}

bool recovery_is_over(const struct recovery *recovery)
{
    return recovery->count == 0;
}

enum status recovery_turn(struct recovery *recovery, struct link *link, int64_t now_ms,
                          struct error *error)
{
    for (int i = recovery->count; i-- > 0;) {
        struct outbox *outbox = &recovery->outboxes[i];
        outbox_send(outbox, link, now_ms);
        if (outbox->count > 0)
            continue;
        outbox_close(outbox);
        *outbox = recovery->outboxes[--recovery->count];
    }
    return recovery->count > 0 ? STATUS_OK : boot_draw(recovery, error);
}

void recovery_list(const struct recovery *recovery, struct arena *arena, void *message)
{
    for (int i = 0; i < recovery->count; i++) {
        const struct outbox *outbox = &recovery->outboxes[i];
        Wire__RunningAttempt *running = message_add(arena, message, "attempts");
        running->has_job = running->has_term = running->has_sequence = running->has_state = true;
        running->job = outbox->job;
        running->term = outbox->term;
        running->sequence = outbox->sequence;
        running->state = API__ATTEMPT_STATE__ATTEMPT_STATE_STOPPING;
    }
}

struct outbox *recovery_find(struct recovery *recovery, int64_t job, int64_t term)
{
    for (int i = 0; i < recovery->count; i++)
        if (recovery->outboxes[i].job == job && recovery->outboxes[i].term == term)
            return &recovery->outboxes[i];
    return NULL;
}

void recovery_again(struct recovery *recovery)
{
    for (int i = 0; i < recovery->count; i++)
        outbox_again(&recovery->outboxes[i]);
}

void recovery_close(struct recovery *recovery)
{
    for (int i = 0; i < recovery->count; i++)
        outbox_close(&recovery->outboxes[i]);
    mem_free(recovery->outboxes);
    recovery->outboxes = NULL;
    recovery->count = 0;
}
