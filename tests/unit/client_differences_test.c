/* SPDX-License-Identifier: Apache-2.0
 *
 * differences of documents, and the paths that people name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/differences.h"
#include "client/path.h"
#include "lib/file.h"
#include "lib/json.h"
#include "tests/test.h"

static void expect_differences(const char *left, const char *right, const char *expected)
{
    struct arena arena = {0};
    struct error error = {0};
    struct differences differences = {0};
    struct buf text = {0};
    json_t *roots[2] = {NULL, NULL};
    REQUIRE(json_read("left", left, strlen(left), &roots[0], &error) == STATUS_OK);
    REQUIRE(json_read("right", right, strlen(right), &roots[1], &error) == STATUS_OK);
    json_differences(&arena, roots[0], roots[1], &differences);
    for (int i = 0; i < differences.count; i++) {
        buf_printf(&text, "%s: %s | %s\n", differences.items[i].field, differences.items[i].left,
                   differences.items[i].right);
    }
    EXPECT_STR(expected, text.data ? text.data : "");
    json_decref(roots[0]);
    json_decref(roots[1]);
    buf_release(&text);
    arena_release(&arena);
}

TEST(differences_are_named_by_field_and_entry)
{
    expect_differences("{\"a\": 1, \"b\": {\"c\": [1, 2]}}", "{\"b\": {\"c\": [1, 2]}, \"a\": 1}",
                       "");
    expect_differences("{\"a\": 1, \"b\": {\"c\": [1, 2]}}", "{\"a\": 1.5, \"b\": {\"c\": [1, 3]}}",
                       "a: 1 | 1.5\nb.c[1]: 2 | 3\n");
    expect_differences("{\"a\": [], \"b\": null}", "{\"a\": [\"x\"], \"c\": {}}",
                       "a: [] | \nb: null | \na[0]:  | \"x\"\nc:  | {}\n");
    expect_differences("3", "4", ": 3 | 4\n");
}

TEST(the_first_difference_of_two_specs_is_a_field)
{
    static const char text[] = "stage: lm\nfrom: b\ndata: {train: t}\n";
    struct arena arena = {0};
    struct error error = {0};
    struct difference difference;
    struct spec *specs[2];
    for (int i = 0; i < 2; i++) {
        REQUIRE(spec_parse(&arena, "s", text, sizeof(text) - 1, NULL, 0, &specs[i], &error) ==
                STATUS_OK);
    }
    EXPECT(!spec_first_difference(&arena, specs[0], specs[1], &difference));
    specs[1]->train.seed = 8;
    REQUIRE(spec_first_difference(&arena, specs[0], specs[1], &difference));
    EXPECT_STR("train.seed", difference.field);
    EXPECT_STR("42", difference.left);
    EXPECT_STR("8", difference.right);
    arena_release(&arena);
}

/* ---- paths ---- */
static void path_refused(enum status status, const char *placeholder, const char *path,
                         const char *sentence)
{
    struct error error = {0};
    EXPECT_I64(status, path_check(placeholder, path, &error));
    EXPECT_STR(sentence, error.text);
}

TEST(a_path_is_resolved_but_a_link_keeps_its_name)
{
    char dir[] = "/tmp/client_path_XXXXXX";
    struct arena arena = {0};
    struct error error = {0};
    const char *path;
    REQUIRE(mkdtemp(dir) != NULL);
    REQUIRE(chdir(dir) == 0);
    EXPECT_I64(STATUS_OK, file_write_atomic("blob", "x", 1, &error));
    REQUIRE(symlink("blob", "prefs.jsonl") == 0 && symlink(".", "here") == 0);

    EXPECT_I64(STATUS_OK,
               path_resolve(&arena, "data.train[0]", "FILE", "here/./prefs.jsonl", &path, &error));
    EXPECT_STR(arena_printf(&arena, "%s/prefs.jsonl", dir), path);
    EXPECT_I64(STATUS_OK, path_resolve(&arena, "from", "DIR", "here/.", &path, &error));
    EXPECT_STR(dir, path);
    EXPECT_I64(STATUS_OK, path_absolute(&arena, "runs/a//", &path, &error));
    EXPECT_STR(arena_printf(&arena, "%s/runs/a", dir), path);
    EXPECT_I64(STATUS_OK, path_absolute(&arena, "/", &path, &error));
    EXPECT_STR("/", path);

    path_refused(STATUS_NOT_FOUND, "FILE", "pref.jsonl",
                 "pref.jsonl: no such file or directory: did you mean prefs.jsonl?");
    path_refused(STATUS_NOT_FOUND, "FILE", "here/blbo",
                 "here/blbo: no such file or directory: did you mean here/blob?");
    path_refused(STATUS_NOT_FOUND, "FILE", "acme/hh@prod",
                 "acme/hh@prod is a name in a service, and this works without one: name a file or "
                 "directory");
    path_refused(STATUS_USAGE, "DIR", "blob", "blob is a file: name the directory");
    path_refused(STATUS_USAGE, "FILE", "here", "here is a directory: name a file in it");
    EXPECT_I64(STATUS_OK, path_check("FILE|-", "-", &error));
    EXPECT_I64(STATUS_NOT_FOUND, path_check("FILE", "-", &error));
    EXPECT_I64(STATUS_OK, path_check("OUT", "nothing/there", &error));
    EXPECT_I64(STATUS_NOT_FOUND,
               path_resolve(&arena, "data.eval[2]", "FILE", "gone", &path, &error));
    EXPECT_STR("data.eval[2]: gone: no such file or directory", error.text);

    REQUIRE(chdir("/") == 0);
    EXPECT_I64(STATUS_OK, dir_remove(dir, &error));
    arena_release(&arena);
}

TEST_MAIN()
