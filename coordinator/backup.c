/* SPDX-License-Identifier: Apache-2.0
 *
 * backup: see backup.h. Rejected: copying blobs; they never change, and a link costs nothing. Who
 * wants the copy on another disk mounts one at DATA/backups, where links turn into copies, or
 * carries it away.
 */
#include "coordinator/backup.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/file.h"
#include "lib/sha256.h"
#include "lib/text.h"
#include "storage/records/records.h"
#include "storage/records/renewal_record.h"

#define PREFIX "backup-" /* and the milliseconds at which it was begun */
#define PART   ".part"   /* of a name that is not yet earned */
enum { DEPTH_MAX = 3 };  /* store / tenant / two digits / digest */

struct transfer {
    bool link; /* else each file is copied, and compared with its name if that is a digest */
    int64_t files, bytes;
    struct error *error;
};

static bool is_digest(const char *name)
{
    uint8_t bytes[SHA256_SIZE];
    return parse_hex(name, bytes, sizeof(bytes));
}

static enum status copy_file(struct transfer *it, const char *from, const char *to,
                             const char *name)
{
    struct file_map map;
    char digest[SHA256_HEX_SIZE];
    TRY(file_map_open(from, &map, it->error));
    enum status status = STATUS_OK;
    if (is_digest(name)) {
        sha256_hex(map.data, map.size, digest);
        if (strcmp(digest, name) != 0)
            status = error_set(it->error, STATUS_FORMAT,
                               "%s: damaged: its bytes have the digest %s", from, digest);
    }
    if (status == STATUS_OK)
        status = file_write_atomic(to, map.data, map.size, it->error);
    file_map_close(&map);
    return status;
}

static enum status transfer_file(struct transfer *it, const char *from, const char *to,
                                 const char *name)
{
    int64_t size = file_size(from);
    bool linked =
        it->link && is_digest(name) && !failpoint_fails("backup_link") && link(from, to) == 0;
    if (!linked)
        TRY(copy_file(it, from, to, name));
    it->files++;
    it->bytes += size;
    return STATUS_OK;
}

/* What is still on its way into the store ("upload-…", "tmp-…") is passed over. */
static bool is_unfinished(const char *name)
{
    return name[0] == '.' || strncmp(name, "tmp-", 4) == 0 || strncmp(name, "upload-", 7) == 0;
}

static enum status transfer_tree(struct transfer *it, const char *from, const char *to, int depth)
{
    DIR *entries = opendir(from);
    enum status status = entries != NULL
                             ? dir_create(to, it->error)
                             : error_set(it->error, STATUS_IO, "%s: %s", from, strerror(errno));
    for (struct dirent *entry; status == STATUS_OK && (entry = readdir(entries)) != NULL;) {
        char source[PATH_MAX], target[PATH_MAX];
        if (is_unfinished(entry->d_name))
            continue;
        path_join(source, sizeof(source), from, entry->d_name);
        path_join(target, sizeof(target), to, entry->d_name);
        if (file_size(source) >= 0)
            status = transfer_file(it, source, target, entry->d_name);
        else if (depth < DEPTH_MAX)
            status = transfer_tree(it, source, target, depth + 1);
    }
    if (entries != NULL)
        closedir(entries);
    return status == STATUS_OK ? dir_fsync(to, it->error) : status;
}

static enum status transfer_dir(struct transfer *it, const char *from, const char *to,
                                const char *name)
{
    char source[PATH_MAX], target[PATH_MAX];
    path_join(source, sizeof(source), from, name);
    path_join(target, sizeof(target), to, name);
    return transfer_tree(it, source, target, 0);
}

/* The first administrator's token, while nobody has removed it. */
static enum status transfer_token(struct transfer *it, const char *from, const char *to)
{
    char source[PATH_MAX], target[PATH_MAX];
    path_join(source, sizeof(source), from, "admin-token");
    path_join(target, sizeof(target), to, "admin-token");
    return file_exists(source) ? copy_file(it, source, target, "admin-token") : STATUS_OK;
}

/* Under its name only when it is whole; else it goes. */
static enum status settle(const char *part, const char *path, enum status status,
                          struct error *error)
{
    char parent[PATH_MAX];
    if (status == STATUS_OK && (failpoint_fails("backup_rename") || rename(part, path) != 0))
        status = error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    if (status != STATUS_OK) {
        dir_remove(part, NULL);
        return status;
    }
    snprintf(parent, sizeof(parent), "%.*s", (int)(path_base(path) - path), path);
    return dir_fsync(parent[0] != '\0' ? parent : ".", error);
}

static void part_path(const char *path, char out[PATH_MAX])
{
    CHECK(snprintf(out, PATH_MAX, "%s" PART, path) < PATH_MAX);
}

/* ---- there ----------------------------------------------------------------------------------- */

static enum status make_in(struct records *records, const char *data, const char *part,
                           struct transfer *it)
{
    char copy[PATH_MAX];
    path_join(copy, sizeof(copy), part, "records.db");
    TRY(dir_create(part, it->error));
    TRY(records_backup(records, copy, it->error));
    TRY(transfer_dir(it, data, part, "store"));
    int64_t blobs = it->files;
    TRY(transfer_dir(it, data, part, "keys"));
    TRY(transfer_token(it, data, part));
    it->files = blobs;
    it->bytes += file_size(copy);
    return STATUS_OK;
}

/* What a coordinator that was killed had begun. */
static void sweep_parts(const char *path)
{
    char parent[PATH_MAX], part[PATH_MAX];
    snprintf(parent, sizeof(parent), "%.*s", (int)(path_base(path) - path), path);
    DIR *entries = opendir(parent);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (length > strlen(PART) && strcmp(entry->d_name + length - strlen(PART), PART) == 0) {
            path_join(part, sizeof(part), parent, entry->d_name);
            dir_remove(part, NULL);
        }
    }
    if (entries != NULL)
        closedir(entries);
}

enum status backup_make(struct records *records, const char *data, const char *path,
                        int64_t *blobs_out, int64_t *bytes_out, struct error *error)
{
    struct transfer it = {.link = true, .error = error};
    char part[PATH_MAX];
    part_path(path, part);
    sweep_parts(path);
    TRY(settle(part, path, make_in(records, data, part, &it), error));
    *blobs_out = it.files;
    *bytes_out = it.bytes;
    return STATUS_OK;
}

void backup_path(const char *data, int64_t now_ms, char path[PATH_MAX])
{
    CHECK(snprintf(path, PATH_MAX, "%s/backups/" PREFIX "%" PRId64, data, now_ms) < PATH_MAX);
}

int64_t backup_newest_ms(const char *data)
{
    char path[PATH_MAX];
    struct dirent *entry;
    int64_t newest_ms = 0, made_ms;
    path_join(path, sizeof(path), data, "backups");
    DIR *entries = opendir(path);
    while (entries != NULL && (entry = readdir(entries)) != NULL)
        if (strncmp(entry->d_name, PREFIX, sizeof(PREFIX) - 1) == 0 &&
            parse_i64(entry->d_name + sizeof(PREFIX) - 1, &made_ms) && made_ms > newest_ms)
            newest_ms = made_ms;
    if (entries != NULL)
        closedir(entries);
    return newest_ms;
}

/* ---- and back -------------------------------------------------------------------------------- */

static bool is_empty(const char *path)
{
    DIR *entries = opendir(path);
    bool empty = true;
    if (entries == NULL)
        return errno == ENOENT;
    for (struct dirent *entry; empty && (entry = readdir(entries)) != NULL;)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(entries);
    return empty;
}

static enum status check_records(const char *part, int64_t now_ms, struct restored *restored_out,
                                 struct error *error)
{
    char path[PATH_MAX], store[PATH_MAX];
    struct records_options options = {.now_ms = now_ms, .cluster = "restored"};
    struct records *records;
    struct renewal_counts counts;
    path_join(path, sizeof(path), part, "records.db");
    path_join(store, sizeof(store), part, "store");
    TRY(records_open(path, &options, &records, error));
    enum status status = records_check(records, error);
    if (status == STATUS_OK)
        status = renewal_check_blobs(records, store, &counts, error);
    if (status == STATUS_OK)
        status = records_renew(records, now_ms, error);
    if (status == STATUS_OK)
        status = records_scrub(records, error);
    records_close(records);
    if (status == STATUS_OK)
        *restored_out = (struct restored){counts.jobs, counts.models, counts.blobs, counts.bytes};
    return status;
}

static enum status restore_in(const char *backup, const char *part, int64_t now_ms,
                              struct restored *restored_out, struct error *error)
{
    struct transfer it = {.error = error};
    char from[PATH_MAX], to[PATH_MAX];
    path_join(from, sizeof(from), backup, "records.db");
    path_join(to, sizeof(to), part, "records.db");
    TRY(dir_create(part, error));
    TRY(transfer_dir(&it, backup, part, "store"));
    TRY(transfer_dir(&it, backup, part, "keys"));
    TRY(transfer_token(&it, backup, part));
    TRY(copy_file(&it, from, to, "records.db"));
    return check_records(part, now_ms, restored_out, error);
}

enum status coordinator_restore(const char *backup, const char *target, int64_t now_ms,
                                struct restored *restored_out, struct error *error)
{
    char records[PATH_MAX], part[PATH_MAX], data[PATH_MAX];
    int length = (int)strlen(target);
    while (length > 1 && target[length - 1] == '/')
        length--;
    snprintf(data, sizeof(data), "%.*s", length, target);
    path_join(records, sizeof(records), backup, "records.db");
    part_path(data, part);
    if (!file_exists(records))
        return error_set(error, STATUS_NOT_FOUND, "%s is no backup: there is no records.db in it",
                         backup);
    if (!is_empty(data) || !is_empty(part))
        return error_set(error, STATUS_CONFLICT,
                         "%s is not empty: a restore fills a directory that is", data);
    return settle(part, data, restore_in(backup, part, now_ms, restored_out, error), error);
}
