/* SPDX-License-Identifier: Apache-2.0
 *
 * route: a request line means one row of the table, or says what is wrong with it.
 */
#include <stdio.h>
#include <string.h>

#include "lib/limits.h"
#include "proto/api.pb-c.h"
#include "proto/message_json.h"
#include "proto/request.h"
#include "tests/test.h"

TEST(a_path_finds_its_row_and_sets_its_fields)
{
    struct route_match match;
    REQUIRE(route_find("GET", "/v1/jobs/j-17", &match, NULL) == STATUS_OK);
    EXPECT_I64(ROUTE_JOB_SHOW, match.route->id);
    EXPECT_I64(1, match.count);
    EXPECT_STR("id", match.parameters[0].field);
    EXPECT_STR("j-17", match.parameters[0].value);
    REQUIRE(route_find("POST", "/v1/jobs/j-17:cancel", &match, NULL) == STATUS_OK);
    EXPECT_I64(ROUTE_JOB_CANCEL, match.route->id);
    EXPECT_STR("j-17", match.parameters[0].value);
    REQUIRE(route_find("POST", "/v1/tenants/acme/models/support/versions/prod:promote", &match,
                       NULL) == STATUS_OK);
    EXPECT_I64(ROUTE_MODEL_PROMOTE, match.route->id);
    EXPECT_I64(3, match.count);
    EXPECT_STR("version", match.parameters[2].field);
    EXPECT_STR("prod", match.parameters[2].value);
    REQUIRE(route_find("POST", "/v1/workers:join-token", &match, NULL) == STATUS_OK);
    EXPECT_I64(ROUTE_JOIN_TOKEN, match.route->id);
}

/* Writes a path that the pattern takes: "{field}" becomes "x". */
static void example(const char *pattern, char *out)
{
    for (; *pattern != '\0'; pattern++) {
        if (*pattern == '{') {
            pattern = strchr(pattern, '}');
            *out++ = 'x';
        } else {
            *out++ = *pattern;
        }
    }
    *out = '\0';
}

TEST(every_row_is_found_by_its_own_path_and_names_fields_of_its_request)
{
    for (int i = 0; i < ROUTE_COUNT; i++) {
        const struct route *route = route_at(i);
        struct route_match match;
        struct error error = {0};
        char path[256];
        example(route->path, path);
        if (route_find(route_method_name(route->method), path, &match, &error) != STATUS_OK ||
            match.route != route)
            test_fail(__FILE__, __LINE__, "%s does not find %s: %s", path, route->name, error.text);
        for (int k = 0; k < match.count; k++)
            if (protobuf_c_message_descriptor_get_field_by_name(route->request,
                                                                match.parameters[k].field) == NULL)
                test_fail(__FILE__, __LINE__, "%s: %s has no field %s", route->name,
                          route->request->short_name, match.parameters[k].field);
        if ((route->body == ROUTE_BODY_NONE) != (route->bytes_max == 0))
            test_fail(__FILE__, __LINE__, "%s: a body and its limit go together", route->name);
    }
}

TEST(a_wrong_method_is_told_the_right_ones_and_a_wrong_path_is_not_found)
{
    struct route_match match;
    struct error error;
    EXPECT_I64(STATUS_UNSUPPORTED, route_find("DELETE", "/v1/jobs", &match, &error));
    EXPECT_STR("/v1/jobs knows only POST, GET", error.text);
    EXPECT_I64(STATUS_NOT_FOUND, route_find("GET", "/v1/job", &match, &error));
    EXPECT_I64(STATUS_USAGE, route_find("GET", "/v1/jobs/", &match, &error));
    EXPECT_I64(STATUS_NOT_FOUND, route_find("POST", "/v1/jobs/j-1:explode", &match, &error));
    EXPECT_I64(STATUS_NOT_FOUND, route_find("GET", "/v1/jobs/j-1/events/2", &match, &error));
    EXPECT_I64(STATUS_NOT_FOUND, route_find("POST", "/v1/jobs/:cancel", &match, &error));
    EXPECT_I64(STATUS_NOT_FOUND, route_find("GET", "/index.html", &match, &error));
    EXPECT_I64(STATUS_OK, route_find("GET", "/", &match, &error));
}

TEST(a_hostile_path_is_refused)
{
    static const char *const bad[] = {"",
                                      "v1/jobs",
                                      "/v1//jobs",
                                      "/v1/../v1/jobs",
                                      "/v1/jobs/..",
                                      "/v1/jobs/.",
                                      "/v1/jobs/%2e%2e",
                                      "/v1/jobs/a%2fb",
                                      "/v1/jobs/a%00",
                                      "/v1/jobs/%",
                                      "/v1/jobs/%4",
                                      "/v1/jobs/%zz",
                                      "/v1/jobs/a b",
                                      "/v1/jobs/a\nb",
                                      "/v1/jobs/%ff",
                                      "/v1/jobs/\xc3\xa4"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct route_match match;
        struct error error = {0};
        enum status status = route_find("GET", bad[i], &match, &error);
        if (status != STATUS_USAGE || error.text[0] == '\0')
            test_fail(__FILE__, __LINE__, "\"%s\": status %d", bad[i], status);
    }
    char path[ROUTE_PATH_BYTES_MAX + 32];
    memset(path, 'a', sizeof(path));
    memcpy(path, "/v1/jobs/", 9);
    path[sizeof(path) - 1] = '\0';
    EXPECT_I64(STATUS_USAGE, route_find("GET", path, &(struct route_match){0}, NULL));
    path[ROUTE_VALUE_MAX + 20] = '\0'; /* a part that is too long, in a path that is not */
    EXPECT(route_find("GET", path, &(struct route_match){0}, NULL) != STATUS_OK);
}

static struct arena arena;

static enum status read_request(const char *method, const char *path, const char *query,
                                const char *body, void *message_out, struct error *error)
{
    struct route_match match;
    TRY(route_find(method, path, &match, error));
    return request_read(&arena, &match, query, body, body != NULL ? strlen(body) : 0, message_out,
                        error);
}

TEST(path_query_and_body_fill_one_request)
{
    Api__JobRequest *request;
    struct error error = {0};
    REQUIRE(read_request("GET", "/v1/jobs/j-17/logs", "after=5&follow=true&format=jsonl", NULL,
                         &request, &error) == STATUS_OK);
    EXPECT_I64(17, request->id);
    EXPECT_I64(5, request->after);
    EXPECT(request->has_follow && request->follow);
    EXPECT_STR("jsonl", request->format);
    Api__JobListRequest *list;
    REQUIRE(read_request("GET", "/v1/jobs",
                         "state=failed&state=queued&label=team%3Dsupport&limit=7", NULL, &list,
                         &error) == STATUS_OK);
    EXPECT_I64(2, (int64_t)list->n_state);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_QUEUED, list->state[1]);
    EXPECT_STR("team=support", list->label[0]);
    EXPECT_I64(7, list->limit);
    Api__PromoteRequest *promote;
    REQUIRE(read_request("POST", "/v1/tenants/acme/models/support/versions/7:promote", NULL,
                         "{\"alias\":\"prod\"}", &promote, &error) == STATUS_OK);
    EXPECT_STR("acme", promote->tenant);
    EXPECT_STR("7", promote->version);
    EXPECT_STR("prod", promote->alias);
    arena_release(&arena);
}

TEST(a_request_that_is_wrong_says_where)
{
    static const struct {
        const char *method, *path, *query, *body, *sentence;
    } bad[] = {
        {"GET", "/v1/jobs", "limt=5", NULL, "unknown field \"limt\"; did you mean \"limit\"?"},
        {"GET", "/v1/jobs", "limit=0", NULL, "limit: 0; expected 1 to 1000"},
        {"GET", "/v1/jobs", "limit=x", NULL, "limit: \"x\" is no whole number"},
        {"GET", "/v1/jobs", "state=done", NULL, "state: \"done\" is none of queued, starting"},
        {"GET", "/v1/jobs", "limit=5&limit=6", NULL, "limit: given twice"},
        {"GET", "/v1/jobs", "label=team", NULL, "label[0]: \"team\" is no label"},
        {"GET", "/v1/jobs", "tenant=%41", NULL, "tenant: \"A\" is no name"},
        {"GET", "/v1/jobs", "tenant=%", NULL, "tenant: a % without two hex digits"},
        {"GET", "/v1/jobs/w-17", NULL, NULL, "id: \"w-17\" is no id of a job"},
        {"POST", "/v1/jobs/j-17:cancel", NULL, "{\"id\":\"j-18\"}", "id: given twice"},
        {"POST", "/v1/tokens", NULL, "{\"role\":\"root\"}", "role: \"root\" is none of viewer"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error error = {0};
        void *request;
        EXPECT_I64(STATUS_USAGE, read_request(bad[i].method, bad[i].path, bad[i].query, bad[i].body,
                                              &request, &error));
        EXPECT_CONTAINS(bad[i].sentence, error.text);
    }
    arena_release(&arena);
}

TEST(a_body_over_the_limit_of_its_route_is_not_read)
{
    struct route_match match;
    struct error error = {0};
    void *request;
    char body[8 * 1024];
    memset(body, ' ', sizeof(body));
    REQUIRE(route_find("POST", "/v1/jobs/j-1:cancel", &match, NULL) == STATUS_OK);
    EXPECT_I64(STATUS_LIMIT,
               request_read(&arena, &match, NULL, body, sizeof(body), &request, &error));
    arena_release(&arena);
}

TEST_MAIN()
