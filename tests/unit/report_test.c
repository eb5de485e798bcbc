/* SPDX-License-Identifier: Apache-2.0
 *
 * report: the page of a small made-up run whose names are hostile, of runs that lack files, and of
 * runs whose numbers are nonsense. Every page is checked to be well-formed: a tag that hostile text
 * opened or closed would unbalance it.
 */
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/file.h"
#include "lib/json.h"
#include "tests/test.h"
#include "worker/trainer/report.h"

#define HOSTILE "</title><script>alert(1)</script><img src=x onerror=\"y\">'&\xe2\x80\xae"

static char run[64];
static struct buf page;

static void run_create(void)
{
    /* Hundreds of small files: in memory where there is such a place. */
    strcpy(run, dir_exists("/dev/shm") ? "/dev/shm/report_test.XXXXXX" : "/tmp/report_test.XXXXXX");
    if (mkdtemp(run) == NULL)
        test_fail(__FILE__, __LINE__, "cannot create %s", run);
}

static void run_remove(void)
{
    EXPECT_I64(STATUS_OK, dir_remove(run, NULL));
    buf_release(&page);
}

static void put_text(const char *name, const char *text)
{
    char path[PATH_MAX];
    path_join(path, sizeof(path), run, name);
    EXPECT_I64(STATUS_OK, file_write_atomic(path, text, strlen(text), NULL));
}

static void put_json(const char *name, json_t *json)
{
    char path[PATH_MAX];
    path_join(path, sizeof(path), run, name);
    EXPECT_I64(STATUS_OK, json_write_file(path, json, NULL));
    json_decref(json);
}

static enum status write_page(struct error *error)
{
    char path[PATH_MAX];
    path_join(path, sizeof(path), run, "report.html");
    TRY(report_write(run, path, error));
    return file_read(path, 16 << 20, &page, error);
}

/* ---- is a page well-formed? ------------------------------------------------------------------ */

enum { DEPTH_MAX = 64, TAG_MAX = 32 };

static bool is_void(const char *tag)
{
    static const char *const names[] = {"!doctype", "meta", "link", "wbr"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(tag, names[i]) == 0)
            return true;
    return false;
}

/* The end of a tag that begins at `at`, attributes being quoted by ". */
static const char *tag_end(const char *at)
{
    bool quoted = false;
    for (; *at != '\0' && (quoted || *at != '>'); at++)
        quoted ^= *at == '"';
    return *at == '>' ? at : NULL;
}

static bool well_formed(const char *html)
{
    static char open[DEPTH_MAX][TAG_MAX];
    int depth = 0;
    for (const char *at = html; (at = strchr(at, '<')) != NULL;) {
        char tag[TAG_MAX];
        const char *end = tag_end(at);
        bool closing = at[1] == '/';
        const char *name = at + 1 + closing;
        size_t length = strcspn(name, " />");
        if (end == NULL || length == 0 || length >= sizeof(tag)) {
            test_fail(__FILE__, __LINE__, "a tag does not end: %.60s", at);
            return false;
        }
        memcpy(tag, name, length);
        tag[length] = '\0';
        at = end;
        if (closing && (depth == 0 || strcmp(open[--depth], tag) != 0)) {
            test_fail(__FILE__, __LINE__, "</%s> closes <%s>", tag, open[depth]);
            return false;
        }
        if (!closing && end[-1] != '/' && !is_void(tag) && depth < DEPTH_MAX)
            strcpy(open[depth++], tag);
    }
    if (depth != 0)
        test_fail(__FILE__, __LINE__, "<%s> is never closed", open[depth - 1]);
    return depth == 0;
}

static void expect_harmless(void)
{
    static const char *const forbidden[] = {
        "<script", "<img",        "<iframe", "<object",  "<use", "@import", "http://", "https://",
        "//cdn",   "javascript:", "src=\"",  "url(http", " nan", "\"nan",   "inf "};
    EXPECT(well_formed(page.data));
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
        if (strstr(page.data, forbidden[i]) != NULL)
            test_fail(__FILE__, __LINE__, "the page has %s: %.80s", forbidden[i],
                      strstr(page.data, forbidden[i]));
    EXPECT_CONTAINS("default-src 'none'", page.data);
    EXPECT_CONTAINS("prefers-color-scheme:dark", page.data);
}

/* ---- a run ----------------------------------------------------------------------------------- */

static json_t *figures(double accuracy, double low, double high)
{
    json_t *bins = json_array();
    json_array_append_new(bins, json_pack("{s:i, s:n, s:n}", "count", 0, "confidence", "correct"));
    json_array_append_new(
        bins, json_pack("{s:i, s:f, s:f}", "count", 40, "confidence", 0.6, "correct", 0.55));
    json_array_append_new(
        bins, json_pack("{s:i, s:f, s:f}", "count", 60, "confidence", 0.9, "correct", 0.8));
    return json_pack("{s:i, s:i, s:f, s:[f, f], s:f, s:f, s:s, s:o}", "pairs", 100, "correct",
                     (int)(100 * accuracy), "accuracy", accuracy, "accuracy_interval", low, high,
                     "nll", 0.61, "ece", 0.05, "temperature", "inf", "bins", bins);
}

static json_t *difference(double accuracy, double low, double high)
{
    return json_pack("{s:f, s:[f, f], s:i, s:i}", "accuracy", accuracy, "interval", low, high,
                     "gained", 12, "lost", 2);
}

static json_t *set(const char *name, bool general)
{
    return json_pack("{s:s, s:b, s:o, s:o, s:o}", "name", name, "general", general, "before",
                     figures(0.62, 0.55, 0.7), "after", figures(0.72, 0.64, 0.8), "difference",
                     difference(0.1, 0.04, 0.16));
}

static json_t *result(void)
{
    json_t *json = json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:f, s:s}", "name", HOSTILE, "stage",
                             "customize", "from", "/models/" HOSTILE, "steps", 1200, "best_step",
                             900, "tokens", 50000, "seconds", 61.5, "numerics", "cpu-fp32");
    json_object_set_new(json, "mix",
                        json_pack("{s:i, s:i, s:f}", "own_pairs", 80, "general_pairs", 20,
                                  "general_share_of_pairs", 0.2));
    json_object_set_new(json, "sets",
                        json_pack("[o, o]", set(HOSTILE, false), set("helpful", true)));
    json_object_set_new(json, "general_preservation", difference(-0.01, -0.03, 0.01));
    json_object_set_new(json, "custom_gain", difference(0.1, 0.04, 0.16));
    json_object_set_new(
        json, "gate", json_pack("{s:s, s:[s]}", "verdict", "held", "reasons", "because " HOSTILE));
    json_object_set_new(json, "findings", json_pack("[s]", "length & " HOSTILE));
    return json;
}

static json_t *spec(void)
{
    return json_pack("{s:s, s:n, s:{s:[{s:s}], s:{s:f}}, s:{s:f, s:f}, s:{s:s}}", "stage",
                     "customize", "tenant", "data", "train", "dataset", "data/" HOSTILE, "enrich",
                     "share", 0.2, "gate", "general_drop_max", 0.02, "custom_gain_min", 0.0,
                     HOSTILE, HOSTILE, "value");
}

static void put_metrics(int steps)
{
    struct buf text = {0};
    for (int step = 0; step <= steps; step++) {
        if (step > 0)
            buf_printf(
                &text,
                "{\"step\":%d,\"epoch\":0.5,\"loss\":%.4f,\"rank_loss\":%.4f,\"accuracy\":0.6,"
                "\"margin\":%.3f,\"grad_norm\":1.5,\"learning_rate\":1e-05,\"num_tokens\":%d,"
                "\"tokens_per_second\":812.5,\"own_accuracy\":0.7,\"general_accuracy\":null}\n",
                step, 0.7 - 0.1 * step / steps, 0.69 - 0.1 * step / steps, 0.01 * step, step * 100);
        if (step % 10 == 0)
            buf_printf(&text,
                       "{\"step\":%d,\"eval_accuracy\":0.65,\"eval_custom_accuracy\":%.4f,"
                       "\"eval_general_accuracy\":0.7,\"eval_loss\":0.6}\n",
                       step, 0.6 + 0.1 * step / steps);
    }
    put_text("metrics.jsonl", text.data);
    buf_release(&text);
}

static void put_run(void)
{
    put_json("spec.json", spec());
    put_json("result.json", result());
    put_metrics(40);
    put_text("events.jsonl",
             "{\"step\":20,\"event\":\"checkpoint\",\"text\":\"written\",\"time\":1700000000}\n"
             "{\"step\":21,\"event\":\"one_source\",\"text\":\"<b>95 %\",\"time\":1700000000}\n");
}

/* ---- tests ----------------------------------------------------------------------------------- */

TEST(a_page_says_what_the_run_did_and_escapes_every_name)
{
    run_create();
    put_run();
    struct error error;
    REQUIRE(write_page(&error) == STATUS_OK);
    expect_harmless();
    EXPECT_CONTAINS("<title>&lt;/title&gt;&lt;script&gt;alert(1)", page.data);
    EXPECT_CONTAINS("held by the gate", page.data);
    EXPECT_CONTAINS("The customer\xe2\x80\x99s taste is met in <b>72.0\xe2\x80\xaf%</b>",
                    page.data);
    EXPECT_CONTAINS("+10.0 points (+4.0 \xe2\x80\xa6 +16.0) against before, <b>a gain</b>",
                    page.data);
    EXPECT_CONTAINS("\xe2\x88\x92"
                    "1.0 points (\xe2\x88\x92"
                    "3.0 \xe2\x80\xa6 +1.0) against before, <b>which may be chance</b>",
                    page.data);
    EXPECT_CONTAINS("1\xe2\x80\xaf"
                    "200 steps",
                    page.data);
    EXPECT_CONTAINS("the model is that of step 900", page.data);
    EXPECT_CONTAINS("fitted temperature \xe2\x88\x9e", page.data);
    EXPECT_CONTAINS("1 checkpoint was written, the last at step 20", page.data);
    EXPECT_CONTAINS("2023-11-14 22:13", page.data);
    EXPECT_CONTAINS("the gate passes here", page.data);
    EXPECT_CONTAINS("step 40 \xc2\xb7 of batches 0.590", page.data);
    EXPECT_CONTAINS("enrich.share", page.data);
    EXPECT(strstr(page.data, "tenant") == NULL); /* null: not set */
    struct buf first = page;
    page = (struct buf){0};
    REQUIRE(write_page(&error) == STATUS_OK);
    EXPECT_STR(first.data, page.data); /* no clock, no chance */
    buf_release(&first);
    run_remove();
}

TEST(a_run_that_still_goes_says_so)
{
    run_create();
    put_run();
    char path[PATH_MAX];
    path_join(path, sizeof(path), run, "result.json");
    EXPECT(unlink(path) == 0);
    path_join(path, sizeof(path), run, "metrics.jsonl");
    int fd = open(path, O_WRONLY | O_APPEND);
    REQUIRE(fd >= 0 && write(fd, "{\"step\": 41, \"lo", 16) == 16); /* being written */
    close(fd);
    struct error error;
    REQUIRE(write_page(&error) == STATUS_OK);
    expect_harmless();
    EXPECT_CONTAINS("no result yet", page.data);
    EXPECT_CONTAINS("metrics.jsonl: 1 line could not be read and is left out.", page.data);
    EXPECT_CONTAINS("&lt;b&gt;95 %", page.data); /* findings come from the events */
    EXPECT_CONTAINS("Custom accuracy, sample", page.data);
    EXPECT(strstr(page.data, "The large mark") == NULL);
    EXPECT(strstr(page.data, "Before and after") == NULL);
    run_remove();
}

TEST(each_file_may_be_missing_or_damaged)
{
    static const char *const names[] = {"spec.json", "metrics.jsonl", "events.jsonl",
                                        "result.json"};
    for (int i = 0; i < 8; i++) {
        char path[PATH_MAX];
        struct error error;
        run_create();
        put_run();
        path_join(path, sizeof(path), run, names[i % 4]);
        if (i < 4)
            EXPECT(unlink(path) == 0);
        else
            put_text(names[i % 4], i % 2 == 0 ? "[1, 2" : "[1, 2]\n");
        REQUIRE(write_page(&error) == STATUS_OK);
        expect_harmless();
        if (i == 1)
            EXPECT_CONTAINS("metrics.jsonl is not there: no step has been logged yet.", page.data);
        if (i == 4)
            EXPECT_CONTAINS("spec.json cannot be read:", page.data);
        if (i == 7)
            EXPECT_CONTAINS("result.json is not a JSON object.", page.data);
        if (i == 7)
            EXPECT_CONTAINS("result damaged", page.data);
        run_remove();
    }
}

TEST(a_directory_without_a_run_is_refused)
{
    struct error error;
    run_create();
    EXPECT_I64(STATUS_NOT_FOUND, write_page(&error));
    EXPECT_CONTAINS("holds no run", error.text);
    EXPECT_I64(STATUS_NOT_FOUND, report_write("/no/such/run", "/tmp/x.html", &error));
    EXPECT_CONTAINS("/no/such/run: there is no such directory", error.text);
    put_run();
    EXPECT_I64(STATUS_NOT_FOUND, report_write(run, "/no/such/dir/x.html", &error));
    run_remove();
}

TEST(stage_lm_shows_losses)
{
    struct error error;
    run_create();
    put_json("result.json",
             json_pack("{s:s, s:i, s:[{s:s, s:b, s:f, s:f}]}", "stage", "lm", "steps", 10, "sets",
                       "name", "wiki", "general", 0, "nll_before", 2.5, "nll_after", 2.25));
    put_text("metrics.jsonl", "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":2.4}\n");
    REQUIRE(write_page(&error) == STATUS_OK);
    expect_harmless();
    EXPECT_CONTAINS("2.5000 \xe2\x86\x92 2.2500", page.data);
    EXPECT_CONTAINS("12.18 \xe2\x86\x92 9.49", page.data);
    EXPECT_CONTAINS("Loss of a token over steps", page.data);
    EXPECT(strstr(page.data, "Accuracy") == NULL);
    run_remove();
}

/* Replaces the n-th leaf of a value; returns how many there are. */
static int replace_leaf(json_t *value, int n, int seen, json_t *with)
{
    void *at;
    if (json_is_object(value)) {
        for (at = json_object_iter(value); at != NULL; at = json_object_iter_next(value, at)) {
            json_t *inner = json_object_iter_value(at);
            if (json_is_object(inner) || json_is_array(inner))
                seen = replace_leaf(inner, n, seen, with);
            if (seen++ == n)
                json_object_iter_set(value, at, with);
        }
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_t *inner = json_array_get(value, i);
        if (json_is_object(inner) || json_is_array(inner))
            seen = replace_leaf(inner, n, seen, with);
        if (seen++ == n)
            json_array_set(value, i, with);
    }
    return seen;
}

TEST(nonsense_in_any_place_gives_a_page)
{
    static const char *const nonsense[] = {"null", "\"<i>\"", "1e300", "-1", "[]", "[{}]"};
    run_create();
    put_run();
    struct error error;
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]) && !test_failed(); i++) {
        int leaves = 1;
        for (int n = 0; n < leaves && !test_failed(); n++) {
            json_t *with = NULL, *json = result();
            REQUIRE(json_read("x", nonsense[i], strlen(nonsense[i]), &with, &error) == STATUS_OK);
            leaves = replace_leaf(json, n, 0, with);
            json_decref(with);
            put_json("result.json", json);
            REQUIRE(write_page(&error) == STATUS_OK);
            EXPECT(well_formed(page.data));
        }
        EXPECT(leaves > 60);
    }
    put_text("metrics.jsonl", "{\"step\":1e14,\"loss\":1e300,\"margin\":-1e14,\"grad_norm\":1e14}\n"
                              "{\"step\":-5,\"loss\":1}\n{\"step\":1,\"loss\":\"inf\"}\n"
                              "{\"step\":\"x\"}\n7\n{\"step\":3,\"margin\":1e-14}\n");
    REQUIRE(write_page(&error) == STATUS_OK);
    expect_harmless();
    run_remove();
}

TEST(a_long_run_makes_no_larger_page)
{
    struct error error;
    run_create();
    put_metrics(30000);
    REQUIRE(write_page(&error) == STATUS_OK);
    expect_harmless();
    EXPECT(page.length < 400 * 1024);
    EXPECT_CONTAINS("20k</text>", page.data);
    run_remove();
}

/* ---- rows ------------------------------------------------------------------------------------ */

static char *print_rows(int worst, enum table_format format, enum status expected,
                        struct error *error)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    EXPECT_I64(expected, report_rows(run, worst, format, out, error));
    fclose(out);
    return text;
}

static void put_rows(void)
{
    char path[PATH_MAX];
    path_join(path, sizeof(path), run, "rows");
    EXPECT_I64(STATUS_OK, dir_create(path, NULL));
    put_text(
        "rows/own.jsonl",
        "{\"set\":\"own\",\"line\":7,\"pairs\":3,\"wrong\":2,\"margin\":-1.5,\"rows\":["
        "{\"response\":1,\"score\":2,\"reward\":0.5},{\"response\":0,\"score\":1,\"reward\":2},"
        "{\"response\":2,\"score\":0,\"reward\":0.25}],\"texts\":[\"Human: hi\\nwell, yes\","
        "\"Human: hi\\nwell, no \\u001b[31m\",\"Human: hi\\nnever\"]}\n"
        "{\"set\":\"own\",\"line\":9,\"pairs\":1,\"wrong\":0,\"margin\":0.75,\"rows\":[]}\n");
    put_text("rows/general.jsonl",
             "{\"set\":\"general\",\"line\":1,\"pairs\":1,\"wrong\":1,\"margin\":-0.25,\"rows\":["
             "{\"response\":0,\"score\":1,\"reward\":1},{\"response\":1,\"score\":0,\"reward\":1."
             "25}]}\n");
    put_text("rows/notes.txt", "not rows");
}

TEST(rows_are_listed_worst_first_over_all_sets)
{
    struct error error;
    run_create();
    put_rows();
    char *text = print_rows(0, TABLE_FORMAT_CSV, STATUS_OK, &error);
    EXPECT_CONTAINS("own,7,3,2,-1.5000,0.5000,2.0000,", text);
    EXPECT_CONTAINS("Human: hi", text); /* whole texts for programs */
    char *first = strstr(text, "own,7"), *second = strstr(text, "general,1"),
         *third = strstr(text, "own,9");
    EXPECT(first != NULL && second != NULL && third != NULL && first < second && second < third);
    free(text);
    text = print_rows(2, TABLE_FORMAT_TABLE, STATUS_OK, &error);
    EXPECT_CONTAINS("\xe2\x80\xa6 yes", text); /* from where they differ, for people */
    EXPECT_CONTAINS("\xe2\x80\xa6 no", text);
    EXPECT(strstr(text, "\x1b") == NULL && strstr(text, "Human") == NULL);
    EXPECT(strstr(text, "0.7500") == NULL);
    free(text);
    run_remove();
}

TEST(rows_that_are_missing_or_damaged_are_named)
{
    struct error error;
    run_create();
    free(print_rows(5, TABLE_FORMAT_TABLE, STATUS_NOT_FOUND, &error));
    EXPECT_CONTAINS("rows are written when a run with evaluation sets ends", error.text);
    put_rows();
    put_text("rows/own.jsonl", "{\"set\":\"own\",\"margin\":1}\n{\"margin\":\n");
    free(print_rows(5, TABLE_FORMAT_TABLE, STATUS_FORMAT, &error));
    EXPECT_CONTAINS("own.jsonl, group 2", error.text);
    put_text("rows/own.jsonl", "{\"set\":\"own\"}\n");
    free(print_rows(5, TABLE_FORMAT_TABLE, STATUS_FORMAT, &error));
    EXPECT_CONTAINS("own.jsonl, group 1: has no margin", error.text);
    put_text("rows/own.jsonl", "");
    put_text("rows/general.jsonl", "");
    free(print_rows(5, TABLE_FORMAT_TABLE, STATUS_OK, &error));
    run_remove();
}

TEST_MAIN()
