/* SPDX-License-Identifier: Apache-2.0
 *
 * blob: a blob is there completely or not at all, whatever a crash or a disk does.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/limits.h"
#include "storage/files/blob.h"
#include "tests/test.h"

static char store[64];

static void store_create(void)
{
    strcpy(store, "/tmp/files_blob_test.XXXXXX");
    if (mkdtemp(store) == NULL)
        test_fail(__FILE__, __LINE__, "cannot create %s", store);
}

static void store_remove(void)
{
    EXPECT_I64(STATUS_OK, dir_remove(store, NULL));
}

static const char *path_of(const char *digest)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%.2s/%s", store, digest, digest);
    return path;
}

/* Entries of the store's own directory whose name begins with `prefix`. */
static int entries(const char *prefix)
{
    int count = 0;
    DIR *dir = opendir(store);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    if (dir != NULL)
        closedir(dir);
    return count;
}

static void put(const char *text, char digest_out[SHA256_HEX_SIZE])
{
    struct error error;
    if (blob_put(store, text, strlen(text), digest_out, &error) != STATUS_OK)
        test_fail(__FILE__, __LINE__, "%s", error.text);
}

TEST(a_blob_is_read_back_under_the_digest_of_its_bytes)
{
    store_create();
    char digest[SHA256_HEX_SIZE], again[SHA256_HEX_SIZE];
    struct file_map map;
    struct error error;
    put("abc", digest);
    EXPECT_STR("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", digest);
    EXPECT_I64(3, file_size(path_of(digest)));
    REQUIRE(blob_open(store, digest, &map, &error) == STATUS_OK);
    EXPECT_BYTES("abc", map.data, 3);
    file_map_close(&map);
    put("abc", again);
    EXPECT_STR(digest, again);
    put("", digest);
    REQUIRE(blob_open(store, digest, &map, &error) == STATUS_OK);
    EXPECT_I64(0, (int64_t)map.size);
    file_map_close(&map);
    EXPECT_I64(2, entries(""));
    store_remove();
}

TEST(a_blob_of_many_chunks_is_hashed_while_it_is_written)
{
    store_create();
    size_t size = 9 * MIB + 12345; /* no multiple of a chunk */
    char *data = malloc(size);
    REQUIRE(data != NULL);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 2654435761u >> 11);
    char digest[SHA256_HEX_SIZE], expected[SHA256_HEX_SIZE];
    struct file_map map;
    struct error error;
    sha256_hex(data, size, expected);
    EXPECT_I64(STATUS_OK, blob_put(store, data, size, digest, &error));
    EXPECT_STR(expected, digest);
    REQUIRE(blob_open(store, digest, &map, &error) == STATUS_OK);
    REQUIRE(map.size == size);
    EXPECT_BYTES(data, map.data, size);
    file_map_close(&map);
    free(data);
    store_remove();
}

/* write() takes at most 2 GiB - 4 KiB at a time. Needs 2 GiB of disk and several seconds. */
TEST(a_blob_over_2_gib_is_written_whole)
{
    if (getenv("TAILOR_SLOW_TESTS") == NULL) {
        test_skip("set TAILOR_SLOW_TESTS to write a blob of over 2 GiB");
        return;
    }
    store_create();
    size_t size = 2 * GIB + 3;
    char *data = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(data != MAP_FAILED);
    memcpy(data + size - 3, "end", 3);
    char digest[SHA256_HEX_SIZE];
    struct file_map map;
    struct error error = {0};
    EXPECT_I64(STATUS_OK, blob_put(store, data, size, digest, &error));
    EXPECT_STR("", error.text);
    munmap(data, size);
    REQUIRE(blob_open(store, digest, &map, &error) == STATUS_OK);
    EXPECT_I64((int64_t)size, (int64_t)map.size);
    EXPECT_BYTES("end", map.data + size - 3, 3);
    file_map_close(&map);
    store_remove();
}

TEST(an_error_at_any_durable_step_leaves_no_blob_and_no_rubbish)
{
    static const char *const points[] = {"blob_write:1", "blob_write:2", "blob_fsync:1",
                                         "blob_rename:1"};
    store_create();
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        char digest[SHA256_HEX_SIZE] = "untouched";
        struct error error = {0};
        setenv("TAILOR_FAIL", points[i], 1);
        EXPECT_I64(STATUS_IO, blob_put(store, "content", 7, digest, &error));
        unsetenv("TAILOR_FAIL");
        EXPECT_CONTAINS("Input/output error", error.text);
        EXPECT_STR("untouched", digest);
        EXPECT_I64(0, entries("tmp-"));
        sha256_hex("content", 7, digest);
        EXPECT(!file_exists(path_of(digest)));
    }
    store_remove();
}

TEST(a_kill_while_writing_leaves_garbage_that_a_sweep_removes)
{
    store_create();
    char kept[SHA256_HEX_SIZE];
    put("kept", kept);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char digest[SHA256_HEX_SIZE];
        setenv("TAILOR_FAIL", "blob_write:2:kill", 1);
        blob_put(store, "torn content", 12, digest, NULL);
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    EXPECT_I64(1, entries("tmp-"));
    EXPECT_I64(1, blob_sweep(store, (const char *const[]){kept}, 1));
    EXPECT_I64(0, entries("tmp-"));
    EXPECT(file_exists(path_of(kept)));
    store_remove();
}

TEST(a_sweep_keeps_what_is_kept_and_what_is_not_ours)
{
    store_create();
    char one[SHA256_HEX_SIZE], two[SHA256_HEX_SIZE], three[SHA256_HEX_SIZE], path[PATH_MAX];
    put("1", one);
    put("2", two);
    put("3", three);
    path_join(path, sizeof(path), store, "README");
    EXPECT_I64(STATUS_OK, file_write_atomic(path, "x", 1, NULL));
    EXPECT_I64(2, blob_sweep(store, (const char *const[]){two}, 1));
    EXPECT(!file_exists(path_of(one)) && file_exists(path_of(two)));
    EXPECT(file_exists(path));
    EXPECT_I64(2, entries("")); /* emptied shards are gone */
    EXPECT_I64(1, blob_sweep(store, NULL, 0));
    EXPECT_I64(0, blob_sweep("/tmp/no/such/store", NULL, 0));
    store_remove();
}

TEST(every_flipped_bit_is_noticed_and_putting_again_heals)
{
    store_create();
    const char *text = "twelve bytes";
    char digest[SHA256_HEX_SIZE];
    struct file_map map;
    struct error error;
    put(text, digest);
    for (size_t bit = 0; bit < 8 * strlen(text); bit++) {
        int fd = open(path_of(digest), O_WRONLY);
        char byte = (char)(text[bit / 8] ^ 1 << bit % 8);
        REQUIRE(fd >= 0 && pwrite(fd, &byte, 1, (off_t)(bit / 8)) == 1);
        EXPECT_I64(STATUS_FORMAT, blob_open(store, digest, &map, &error));
        EXPECT_CONTAINS(digest, error.text);
        REQUIRE(pwrite(fd, &text[bit / 8], 1, (off_t)(bit / 8)) == 1);
        close(fd);
    }
    EXPECT(truncate(path_of(digest), 5) == 0);
    EXPECT_I64(STATUS_FORMAT, blob_open(store, digest, &map, &error));
    put(text, digest);
    REQUIRE(blob_open(store, digest, &map, &error) == STATUS_OK);
    file_map_close(&map);
    store_remove();
}

TEST(a_digest_from_a_hostile_manifest_never_becomes_a_path)
{
    static const char *const digests[] = {
        "", "ab", "../../../../../../../../../../../../../../../../../../etc/passwd00000",
        "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0"};
    store_create();
    struct file_map map;
    struct error error;
    for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
        EXPECT_I64(STATUS_FORMAT, blob_open(store, digests[i], &map, &error));
        EXPECT_CONTAINS("is not a SHA-256 digest", error.text);
    }
    char absent[SHA256_HEX_SIZE];
    sha256_hex("absent", 6, absent);
    EXPECT_I64(STATUS_NOT_FOUND, blob_open(store, absent, &map, &error));
    EXPECT_CONTAINS(absent, error.text);
    store_remove();
}

TEST_MAIN()
