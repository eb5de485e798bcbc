/* SPDX-License-Identifier: Apache-2.0
 *
 * checkpoint: after a kill at any durable step there is the old checkpoint or the new one, and a
 * damaged one is passed over.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/json.h"
#include "lib/log.h"
#include "storage/files/blob.h"
#include "storage/files/checkpoint.h"
#include "tests/test.h"

enum { WEIGHTS = 1000, MOMENTS = 500 };

static char run[64];

static void run_create(void)
{
    log_level_set(LOG_LEVEL_ERROR); /* the damage is meant */
    strcpy(run, "/tmp/files_checkpoint.XXXXXX");
    if (mkdtemp(run) == NULL)
        test_fail(__FILE__, __LINE__, "cannot create %s", run);
}

static void run_remove(void)
{
    EXPECT_I64(STATUS_OK, dir_remove(run, NULL));
}

static void fill(unsigned char *bytes, size_t size, int64_t step)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((i * 31 + (size_t)step * 7) >> 2);
}

static enum status write_step(int64_t step, struct error *error)
{
    unsigned char weights[WEIGHTS], moments[MOMENTS];
    fill(weights, sizeof(weights), step);
    fill(moments, sizeof(moments), step + 1000);
    struct checkpoint_part parts[] = {{"weights", weights, sizeof(weights), 0},
                                      {"m", moments, sizeof(moments), 0},
                                      {"constant", "same in every checkpoint", 24, 0}};
    json_t *state =
        json_pack("{s:I, s:f, s:s}", "step", (json_int_t)step, "best", 0.1, "text", "line\nü\x01");
    enum status status = checkpoint_write(run, step, state, parts, 3, error);
    json_decref(state);
    return status;
}

static void must_write(int64_t step)
{
    struct error error;
    if (write_step(step, &error) != STATUS_OK)
        test_fail(__FILE__, __LINE__, "%s", error.text);
}

/* The step of the latest checkpoint after checking every byte of it; the status, negated,
 * otherwise. */
static int64_t latest(void)
{
    struct checkpoint *checkpoint;
    struct error error;
    enum status status = checkpoint_open_latest(run, &checkpoint, &error);
    if (status != STATUS_OK)
        return -(int64_t)status;
    int64_t step = checkpoint_step(checkpoint);
    unsigned char expected[WEIGHTS], got[WEIGHTS];
    fill(expected, WEIGHTS, step);
    EXPECT_I64(STATUS_OK, checkpoint_read(checkpoint, "weights", got, WEIGHTS, &error));
    EXPECT_BYTES(expected, got, WEIGHTS);
    fill(expected, MOMENTS, step + 1000);
    EXPECT_I64(STATUS_OK, checkpoint_read(checkpoint, "m", got, MOMENTS, &error));
    EXPECT_BYTES(expected, got, MOMENTS);
    const json_t *state = checkpoint_state(checkpoint);
    EXPECT_I64(step, json_integer_value(json_object_get(state, "step")));
    EXPECT(json_real_value(json_object_get(state, "best")) == 0.1);
    EXPECT_STR("line\nü\x01", json_string_value(json_object_get(state, "text")));
    checkpoint_close(checkpoint);
    return step;
}

static const char *manifest_path(int64_t step)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/checkpoints/step-%09lld.json", run, (long long)step);
    return path;
}

/* The path of a part's blob, by the manifest. */
static const char *part_path(int64_t step, const char *name)
{
    static char path[PATH_MAX];
    struct error error;
    json_t *manifest = NULL;
    path[0] = '\0';
    if (json_read_file(manifest_path(step), 1 << 20, &manifest, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
        return path;
    }
    const json_t *parts = json_object_get(manifest, "parts");
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        const char *digest = json_string_value(json_object_get(part, "sha256"));
        if (strcmp(json_string_value(json_object_get(part, "name")), name) == 0)
            snprintf(path, sizeof(path), "%s/store/%.2s/%s", run, digest, digest);
    }
    json_decref(manifest);
    return path;
}

static void flip_bit(const char *path, int64_t byte)
{
    unsigned char value = 0;
    int fd = open(path, O_RDWR);
    REQUIRE(fd >= 0 && pread(fd, &value, 1, byte) == 1);
    value ^= 4;
    REQUIRE(pwrite(fd, &value, 1, byte) == 1);
    close(fd);
}

static int files_below(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char below[PATH_MAX];
        path_join(below, sizeof(below), path, entry->d_name);
        if (entry->d_name[0] != '.')
            count += dir_exists(below) ? files_below(below) : 1;
    }
    if (dir != NULL)
        closedir(dir);
    return count;
}

static int files_in(const char *name)
{
    char path[PATH_MAX];
    path_join(path, sizeof(path), run, name);
    return files_below(path);
}

TEST(a_checkpoint_gives_back_state_and_parts)
{
    run_create();
    EXPECT_I64(-STATUS_NOT_FOUND, latest());
    must_write(0);
    EXPECT_I64(0, latest());
    must_write(120);
    EXPECT_I64(120, latest());
    EXPECT(file_exists(manifest_path(120)));
    EXPECT_I64(5, files_in("store")); /* the constant part is one blob */
    struct checkpoint *checkpoint;
    struct error error;
    char bytes[16];
    REQUIRE(checkpoint_open(run, 120, &checkpoint, &error) == STATUS_OK);
    EXPECT_I64(STATUS_CONFLICT, checkpoint_read(checkpoint, "weights", bytes, 16, &error));
    EXPECT_CONTAINS("\"weights\" has 1000 bytes, 16 are expected", error.text);
    EXPECT_I64(STATUS_NOT_FOUND, checkpoint_read(checkpoint, "v", bytes, 16, &error));
    EXPECT_CONTAINS("has no part \"v\"", error.text);
    checkpoint_close(checkpoint);
    EXPECT_I64(STATUS_NOT_FOUND, checkpoint_open(run, 7, &checkpoint, &error));
    run_remove();
}

TEST(steps_are_ordered_as_numbers_and_other_names_are_ignored)
{
    run_create();
    char path[PATH_MAX];
    must_write(9);
    must_write(999999999);
    must_write(1000000000);
    EXPECT_I64(1000000000, latest());
    snprintf(path, sizeof(path), "%s/checkpoints/step-000000010 (copy).json", run);
    EXPECT_I64(STATUS_OK, file_write_atomic(path, "{}", 2, NULL));
    snprintf(path, sizeof(path), "%s/checkpoints/step-9999999999999999999.json", run);
    EXPECT_I64(STATUS_OK, file_write_atomic(path, "{}", 2, NULL));
    EXPECT_I64(1000000000, latest());
    run_remove();
}

/* Writes checkpoint 2 over checkpoint 1 in a child with a failpoint; says whether it was killed. */
static bool killed_at(const char *point, int count)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char spec[64];
        snprintf(spec, sizeof(spec), "%s:%d:kill", point, count);
        setenv("TAILOR_FAIL", spec, 1);
        if (write_step(2, NULL) == STATUS_OK)
            checkpoint_prune(run, 1, -1, NULL);
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

TEST(a_kill_at_every_durable_step_leaves_the_old_or_the_new_checkpoint)
{
    static const char *const points[] = {"blob_write",     "blob_fsync",     "blob_rename",
                                         "manifest_write", "manifest_fsync", "manifest_rename",
                                         "file_fsync"};
    int kills = 0, old = 0, new = 0;
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        for (int count = 1;; count++) {
            run_create();
            must_write(1);
            bool killed = killed_at(points[i], count);
            int64_t step = latest();
            EXPECT(step == 1 || step == 2);
            if (strncmp(points[i], "blob", 4) == 0 && killed)
                EXPECT_I64(1, step);
            kills += killed;
            old += step == 1;
            new += step == 2;
            /* What the crash left is gone after the next checkpoint. */
            must_write(3);
            EXPECT_I64(STATUS_OK, checkpoint_prune(run, 1, -1, NULL));
            EXPECT_I64(3, latest());
            EXPECT_I64(3, files_in("store"));
            EXPECT_I64(1, files_in("checkpoints"));
            run_remove();
            if (!killed)
                break;
        }
    }
    EXPECT(kills > 18 && old > 12 && new > 7);
}

TEST(an_error_at_every_durable_step_keeps_the_old_checkpoint)
{
    static const char *const points[] = {"blob_write:2",     "blob_fsync:3",
                                         "blob_rename:1",    "manifest_write:2",
                                         "manifest_fsync:1", "manifest_rename:1"};
    run_create();
    must_write(1);
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct error error;
        setenv("TAILOR_FAIL", points[i], 1);
        EXPECT_I64(STATUS_IO, write_step(2, &error));
        unsetenv("TAILOR_FAIL");
        EXPECT_I64(1, latest());
        EXPECT_I64(1, files_in("checkpoints"));
    }
    run_remove();
}

TEST(flipped_bits_are_noticed_and_the_older_checkpoint_is_taken)
{
    static const char *const names[] = {"weights", "m"};
    for (size_t i = 0; i < 2; i++) {
        run_create();
        must_write(1);
        must_write(2);
        flip_bit(part_path(2, names[i]), 333);
        EXPECT_I64(1, latest());
        flip_bit(part_path(1, names[i]), 499);
        EXPECT_I64(-STATUS_FORMAT, latest()); /* not "there is none": that would begin again */
        run_remove();
    }
    run_create();
    must_write(1);
    must_write(2);
    int64_t size = file_size(manifest_path(2));
    for (int64_t byte = 0; byte + 1 < size; byte++) { /* the last is a newline */
        flip_bit(manifest_path(2), byte);
        EXPECT_I64(1, latest());
        flip_bit(manifest_path(2), byte);
    }
    EXPECT_I64(2, latest());
    EXPECT(truncate(manifest_path(2), size / 2) == 0);
    EXPECT_I64(1, latest());
    EXPECT(unlink(part_path(1, "m")) == 0);
    EXPECT(latest() < 0);
    run_remove();
}

TEST(a_run_that_went_on_from_an_older_checkpoint_loses_no_good_one_to_a_damaged_one)
{
    run_create();
    must_write(10);
    must_write(20);
    flip_bit(part_path(20, "weights"), 0);
    EXPECT_I64(10, latest());
    must_write(15);
    EXPECT_I64(STATUS_OK, checkpoint_prune(run, 1, -1, NULL));
    EXPECT_I64(15, latest());
    EXPECT_I64(1, files_in("checkpoints"));
    run_remove();
}

TEST(pruning_keeps_the_newest_and_the_best)
{
    run_create();
    for (int64_t step = 1; step <= 6; step++)
        must_write(step);
    EXPECT_I64(STATUS_OK, checkpoint_prune(run, 2, 3, NULL));
    EXPECT_I64(3, files_in("checkpoints"));
    EXPECT_I64(7, files_in("store"));
    EXPECT(file_exists(manifest_path(3)) && file_exists(manifest_path(5)));
    EXPECT_I64(6, latest());
    flip_bit(manifest_path(6), 0); /* a manifest that is malformed counts for nothing */
    EXPECT_I64(STATUS_OK, checkpoint_prune(run, 1, -1, NULL));
    EXPECT_I64(5, latest());
    EXPECT_I64(1, files_in("checkpoints"));
    EXPECT_I64(3, files_in("store"));
    EXPECT_I64(STATUS_OK, checkpoint_prune(run, 0, -1, NULL));
    EXPECT_I64(0, files_in("checkpoints") + files_in("store"));
    EXPECT_I64(STATUS_OK, checkpoint_prune("/tmp/no/such/run", 1, -1, NULL));
    run_remove();
}

TEST(a_newer_format_is_refused_and_never_pruned)
{
    run_create();
    must_write(1);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s", manifest_path(2));
    const char *text = "{\"format_version\":2,\"kind\":\"checkpoint\"}";
    EXPECT_I64(STATUS_OK, file_write_atomic(path, text, strlen(text), NULL));
    EXPECT_I64(1, latest());
    struct error error;
    EXPECT_I64(STATUS_UNSUPPORTED, checkpoint_prune(run, 1, -1, &error));
    EXPECT_CONTAINS("format_version 2", error.text);
    EXPECT(file_exists(path));
    run_remove();
}

/* Each of `ranks` puts its stretch of a block of WEIGHTS bytes; one commits. */
static enum status write_cut(int64_t step, int ranks, struct error *error)
{
    unsigned char weights[WEIGHTS];
    struct checkpoint_blob blobs[8];
    fill(weights, sizeof(weights), step);
    for (int r = 0; r < ranks; r++) {
        size_t begin = (size_t)(WEIGHTS * r / ranks), end = (size_t)(WEIGHTS * (r + 1) / ranks);
        struct checkpoint_part part = {"weights", weights + begin, end - begin, begin};
        TRY(checkpoint_put(run, &part, r, &blobs[r], error));
    }
    json_t *state = json_object();
    enum status status = checkpoint_commit(run, step, state, blobs, ranks, error);
    json_decref(state);
    return status;
}

TEST(what_any_number_of_ranks_wrote_any_other_number_reads)
{
    for (int writers = 1; writers <= 7; writers++) {
        run_create();
        struct error error;
        struct checkpoint *checkpoint;
        unsigned char expected[WEIGHTS], got[WEIGHTS];
        fill(expected, sizeof(expected), writers);
        REQUIRE(write_cut(writers, writers, &error) == STATUS_OK);
        REQUIRE(checkpoint_open_latest(run, &checkpoint, &error) == STATUS_OK);
        EXPECT_I64(STATUS_OK, checkpoint_read(checkpoint, "weights", got, WEIGHTS, &error));
        EXPECT_BYTES(expected, got, WEIGHTS);
        for (int readers = 1; readers <= 7; readers++) {
            memset(got, 0, sizeof(got));
            for (int r = 0; r < readers; r++) {
                size_t begin = (size_t)(WEIGHTS * r / readers);
                size_t end = (size_t)(WEIGHTS * (r + 1) / readers);
                EXPECT_I64(STATUS_OK, checkpoint_read_range(checkpoint, "weights", WEIGHTS, begin,
                                                            got + begin, end - begin, &error));
            }
            EXPECT_BYTES(expected, got, WEIGHTS);
        }
        EXPECT_I64(STATUS_CONFLICT,
                   checkpoint_read_range(checkpoint, "weights", WEIGHTS + 1, 0, got, 1, &error));
        checkpoint_close(checkpoint);
        run_remove();
    }
}

TEST(what_another_host_wrote_is_missed_only_when_it_is_read)
{
    run_create();
    struct error error = {0};
    struct checkpoint *checkpoint;
    unsigned char expected[WEIGHTS], got[WEIGHTS], first[WEIGHTS / 2];
    char digest[SHA256_HEX_SIZE], store[128], path[256];
    fill(expected, sizeof(expected), 3);
    REQUIRE(write_cut(3, 2, &error) == STATUS_OK);
    sha256_hex(expected + WEIGHTS / 2, WEIGHTS - WEIGHTS / 2, digest);
    snprintf(store, sizeof(store), "%s/store", run);
    REQUIRE(blob_remove(store, digest, &error) == STATUS_OK); /* rank 1's was never here */
    EXPECT(checkpoint_open(run, 3, &checkpoint, &error) != STATUS_OK);
    REQUIRE(checkpoint_open_held(run, 3, &checkpoint, &error) == STATUS_OK);
    EXPECT_I64(STATUS_OK, checkpoint_read_range(checkpoint, "weights", WEIGHTS, 0, first,
                                                sizeof(first), &error));
    EXPECT_BYTES(expected, first, sizeof(first));
    EXPECT_I64(STATUS_NOT_FOUND, checkpoint_read(checkpoint, "weights", got, WEIGHTS, &error));
    EXPECT_CONTAINS("is elsewhere", error.text);
    checkpoint_close(checkpoint);
    sha256_hex(expected, WEIGHTS / 2, digest);
    snprintf(path, sizeof(path), "%s/%.2s/%s", store, digest, digest);
    flip_bit(path, 1); /* what is here is verified all the same */
    EXPECT(checkpoint_open_held(run, 3, &checkpoint, &error) != STATUS_OK);
    run_remove();
}

TEST(a_manifest_whose_stretches_leave_a_gap_is_refused)
{
    run_create();
    struct error error = {0};
    struct checkpoint *checkpoint;
    struct checkpoint_blob blobs[2];
    struct checkpoint_part parts[2] = {{"weights", "abcd", 4, 0}, {"weights", "efgh", 4, 5}};
    REQUIRE(checkpoint_put(run, &parts[0], 0, &blobs[0], &error) == STATUS_OK);
    REQUIRE(checkpoint_put(run, &parts[1], 1, &blobs[1], &error) == STATUS_OK);
    json_t *state = json_object();
    EXPECT_I64(STATUS_OK, checkpoint_commit(run, 1, state, blobs, 2, &error));
    json_decref(state);
    EXPECT_I64(STATUS_FORMAT, checkpoint_open(run, 1, &checkpoint, &error));
    EXPECT_CONTAINS("\"weights\" has a gap or an overlap at 5", error.text);
    run_remove();
}

TEST_MAIN()
