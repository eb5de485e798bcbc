/* SPDX-License-Identifier: Apache-2.0
 *
 * file and dir: what is refused, and what a crash at each durable step leaves behind.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/file.h"
#include "tests/test.h"

static char root[64];

static void root_create(void)
{
    strcpy(root, "/tmp/lib_file_test.XXXXXX");
    if (!mkdtemp(root)) {
        test_fail(__FILE__, __LINE__, "cannot create %s", root);
    }
}

static void root_remove(void)
{
    EXPECT_I64(STATUS_OK, dir_remove(root, NULL));
    EXPECT(!dir_exists(root));
}

/* The path of a name below the root; four are valid at a time. */
static const char *at(const char *name)
{
    static char paths[4][PATH_MAX];
    static int next;
    char *path = paths[next++ % 4];
    path_join(path, PATH_MAX, root, name);
    return path;
}

static int entries_count(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) {
        return -1;
    }
    int count = 0;
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count - 2;
}

static void content_is(const char *expected, const char *path)
{
    struct buf text = {0};
    struct error error = {0};
    if (file_read(path, 1 << 20, &text, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
        return;
    }
    EXPECT_STR(expected, text.data);
    buf_release(&text);
}

TEST(a_written_file_is_read_back)
{
    root_create();
    const char *path = at("a");
    EXPECT_I64(STATUS_OK, file_write_atomic(path, "hello", 5, NULL));
    content_is("hello", path);
    EXPECT_I64(5, file_size(path));
    EXPECT_I64(STATUS_OK, file_write_atomic(path, "x", 1, NULL));
    content_is("x", path);
    EXPECT_I64(STATUS_OK, file_write_atomic(path, NULL, 0, NULL));
    content_is("", path);
    EXPECT_I64(1, entries_count(root));
    mode_t mask = umask(022);
    umask(mask);
    struct stat info;
    EXPECT(stat(path, &info) == 0 && (info.st_mode & 0777) == (0666 & ~mask));
    root_remove();
}

TEST(a_read_is_bounded_and_names_both_sizes)
{
    root_create();
    const char *path = at("big");
    char *data = calloc(1, 300000);
    REQUIRE(data != NULL);
    EXPECT_I64(STATUS_OK, file_write_atomic(path, data, 300000, NULL));
    struct buf text = {0};
    struct error error = {0};
    EXPECT_I64(STATUS_OK, file_read(path, 300000, &text, &error));
    EXPECT_I64(300000, (int64_t)text.length);
    EXPECT_I64(STATUS_LIMIT, file_read(path, 299999, &text, &error));
    EXPECT_CONTAINS("300000 bytes", error.text);
    EXPECT_CONTAINS("299999 bytes", error.text);
    EXPECT_I64(300000, (int64_t)text.length); /* written on success only */
    buf_release(&text);
    /* /proc files say that they are empty */
    EXPECT_I64(STATUS_OK, file_read("/proc/self/status", 1 << 20, &text, &error));
    EXPECT_CONTAINS("Name:", text.data);
    buf_release(&text);
    EXPECT_I64(STATUS_LIMIT, file_read("/proc/self/status", 10, &text, &error));
    free(data);
    root_remove();
}

TEST(only_regular_files_are_opened)
{
    root_create();
    struct error error = {0};
    struct file_map map;
    struct buf text = {0};
    EXPECT(mkfifo(at("fifo"), 0600) == 0);
    EXPECT_I64(STATUS_UNSUPPORTED, file_map_open(at("fifo"), &map, &error));
    EXPECT_CONTAINS("fifo: is not a regular file", error.text);
    EXPECT_I64(STATUS_UNSUPPORTED, file_read(at("fifo"), 10, &text, &error));
    EXPECT_I64(STATUS_UNSUPPORTED, file_append_line(at("fifo"), "x", 1, &error));
    EXPECT_I64(STATUS_UNSUPPORTED, file_read("/dev/zero", 10, &text, &error));
    EXPECT_I64(STATUS_UNSUPPORTED, file_read(root, 10, &text, &error));
    EXPECT_I64(STATUS_NOT_FOUND, file_map_open(at("missing"), &map, &error));
    EXPECT_CONTAINS("missing: cannot open: No such file or directory", error.text);
    EXPECT_I64(-1, file_size(at("fifo")));
    EXPECT_I64(-1, file_size(at("missing")));
    EXPECT_I64(-1, file_size(root));
    EXPECT(!file_exists(at("fifo")) && !file_exists(root));
    root_remove();
}

TEST(a_mapping_shows_the_bytes_and_an_empty_file_has_none)
{
    root_create();
    struct file_map map;
    EXPECT_I64(STATUS_OK, file_write_atomic(at("a"), "bytes", 5, NULL));
    REQUIRE(file_map_open(at("a"), &map, NULL) == STATUS_OK);
    EXPECT_I64(5, (int64_t)map.size);
    EXPECT_BYTES("bytes", map.data, 5);
    file_map_close(&map);
    EXPECT(map.data == NULL && map.size == 0);
    EXPECT_I64(STATUS_OK, file_write_atomic(at("b"), "", 0, NULL));
    REQUIRE(file_map_open(at("b"), &map, NULL) == STATUS_OK);
    EXPECT(map.data == NULL && map.size == 0);
    file_map_close(&map);
    root_remove();
}

TEST(an_error_at_any_durable_step_keeps_the_old_content_and_no_rubbish)
{
    static const char *const points[] = {"file_write:1:error", "file_fsync:1", "file_rename:1"};
    root_create();
    const char *path = at("a");
    EXPECT_I64(STATUS_OK, file_write_atomic(path, "old", 3, NULL));
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct error error = {0};
        setenv("TAILOR_FAIL", points[i], 1);
        EXPECT_I64(STATUS_IO, file_write_atomic(path, "new!", 4, &error));
        unsetenv("TAILOR_FAIL");
        EXPECT_CONTAINS("Input/output error", error.text);
        content_is("old", path);
        EXPECT_I64(1, entries_count(root));
    }
    /* The directory's own fsync: the new name is there, but the write is not reported as done. */
    setenv("TAILOR_FAIL", "file_fsync:2", 1);
    EXPECT_I64(STATUS_IO, file_write_atomic(path, "new!", 4, NULL));
    unsetenv("TAILOR_FAIL");
    content_is("new!", path);
    root_remove();
}

TEST(a_kill_at_any_durable_step_leaves_old_or_new)
{
    static const char *const points[] = {"file_write", "file_fsync", "file_rename"};
    root_create();
    const char *path = at("a");
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        for (int count = 1; count <= 3; count++) {
            EXPECT_I64(STATUS_OK, file_write_atomic(path, "old", 3, NULL));
            fflush(NULL);
            pid_t pid = fork();
            if (pid == 0) {
                char spec[64];
                snprintf(spec, sizeof(spec), "%s:%d:kill", points[i], count);
                setenv("TAILOR_FAIL", spec, 1);
                file_write_atomic(path, "new", 3, NULL);
                _exit(0);
            }
            int status = 0;
            waitpid(pid, &status, 0);
            struct buf text = {0};
            EXPECT_I64(STATUS_OK, file_read(path, 100, &text, NULL));
            bool fsync_of_directory = strcmp(points[i], "file_fsync") == 0 && count == 2;
            bool killed = count == 1 || fsync_of_directory;
            EXPECT(killed == (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
            EXPECT_STR(count == 1 ? "old" : "new", text.data);
            buf_release(&text);
        }
    }
    root_remove();
}

TEST(a_write_into_a_missing_directory_names_the_file)
{
    root_create();
    struct error error = {0};
    EXPECT_I64(STATUS_NOT_FOUND, file_write_atomic(at("no/such"), "x", 1, &error));
    EXPECT_CONTAINS("no/such: cannot create: No such file", error.text);
    EXPECT_I64(STATUS_OK, dir_create(at("taken"), NULL));
    EXPECT(file_write_atomic(at("taken"), "x", 1, &error) != STATUS_OK);
    EXPECT_I64(1, entries_count(root)); /* the temporary file is gone */
    char name[PATH_MAX + 100];
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    EXPECT_I64(STATUS_IO, file_write_atomic(name, "x", 1, &error));
    root_remove();
}

TEST(a_bare_name_is_written_to_the_current_directory)
{
    root_create();
    char before[PATH_MAX];
    REQUIRE(getcwd(before, sizeof(before)) && chdir(root) == 0);
    EXPECT_I64(STATUS_OK, file_write_atomic("bare", "x", 1, NULL));
    EXPECT(file_exists("bare"));
    REQUIRE(chdir(before) == 0);
    EXPECT(file_exists(at("bare")));
    root_remove();
}

TEST(a_stale_temporary_file_is_not_in_the_way)
{
    root_create();
    for (int i = 0; i < 100; i++) {
        char name[64];
        snprintf(name, sizeof(name), ".tmp-%ld-%d", (long)getpid(), i);
        int fd = open(at(name), O_CREAT | O_WRONLY, 0600);
        REQUIRE(fd >= 0);
        close(fd);
    }
    EXPECT_I64(STATUS_OK, file_write_atomic(at("a"), "x", 1, NULL));
    content_is("x", at("a"));
    root_remove();
}

TEST(lines_are_appended_and_a_torn_line_is_ended_first)
{
    root_create();
    const char *path = at("log");
    EXPECT_I64(STATUS_OK, file_append_line(path, "one", 3, NULL));
    EXPECT_I64(STATUS_OK, file_append_line(path, "", 0, NULL));
    EXPECT_I64(STATUS_OK, file_append_line(path, "two", 3, NULL));
    content_is("one\n\ntwo\n", path);
    EXPECT_I64(STATUS_OK, file_write_atomic(path, "one\ntor", 7, NULL));
    EXPECT_I64(STATUS_OK, file_append_line(path, "two", 3, NULL));
    content_is("one\ntor\ntwo\n", path);
    root_remove();
}

TEST(directories_are_created_with_parents)
{
    root_create();
    EXPECT_I64(STATUS_OK, dir_create(at("a/b//c/"), NULL));
    EXPECT(dir_exists(at("a/b/c")));
    EXPECT_I64(STATUS_OK, dir_create(at("a/b/c"), NULL));
    EXPECT_I64(STATUS_OK, dir_fsync(at("a"), NULL));
    struct error error = {0};
    EXPECT_I64(STATUS_OK, file_write_atomic(at("f"), "x", 1, NULL));
    EXPECT_I64(STATUS_CONFLICT, dir_create(at("f"), &error));
    EXPECT_CONTAINS("/f: cannot create", error.text);
    EXPECT_I64(STATUS_CONFLICT, dir_create(at("f/g"), &error));
    EXPECT_I64(STATUS_NOT_FOUND, dir_create("", &error));
    EXPECT_I64(STATUS_NOT_FOUND, dir_fsync(at("missing"), &error));
    EXPECT(!dir_exists(at("f")));
    root_remove();
}

TEST(removing_a_tree_follows_no_link)
{
    root_create();
    EXPECT_I64(STATUS_OK, dir_create(at("outside"), NULL));
    EXPECT_I64(STATUS_OK, file_write_atomic(at("outside/kept"), "x", 1, NULL));
    EXPECT_I64(STATUS_OK, dir_create(at("tree/deep/deeper"), NULL));
    EXPECT_I64(STATUS_OK, file_write_atomic(at("tree/deep/file"), "x", 1, NULL));
    EXPECT(symlink(at("outside"), at("tree/link")) == 0);
    EXPECT(symlink("nowhere", at("tree/dangling")) == 0);
    EXPECT(symlink(at("outside"), at("link")) == 0);
    struct error error = {0};
    EXPECT_I64(STATUS_CONFLICT, dir_remove(at("link"), &error));
    EXPECT_I64(STATUS_OK, dir_remove(at("tree"), &error));
    EXPECT(!dir_exists(at("tree")) && file_exists(at("outside/kept")));
    EXPECT_I64(STATUS_NOT_FOUND, dir_remove(at("tree"), &error));
    EXPECT_I64(STATUS_CONFLICT, dir_remove(at("outside/kept"), &error));
    EXPECT(file_exists(at("outside/kept")));
    root_remove();
}

TEST(paths_are_joined_and_taken_apart)
{
    char path[16];
    path_join(path, sizeof(path), "a", "b");
    EXPECT_STR("a/b", path);
    path_join(path, sizeof(path), "a/", "b");
    EXPECT_STR("a/b", path);
    path_join(path, sizeof(path), "", "b");
    EXPECT_STR("b", path);
    path_join(path, sizeof(path), "/", "b");
    EXPECT_STR("/b", path);
    EXPECT_STR("c", path_base("/a/b/c"));
    EXPECT_STR("c", path_base("c"));
    EXPECT_STR("", path_base("a/"));
}

TEST_MAIN()
