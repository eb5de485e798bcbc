/* SPDX-License-Identifier: Apache-2.0
 *
 * http_fuzz: any bytes to the port of a coordinator that lives in this process. Each answer is one
 * of HTTP, none is a 500 (that would be our mistake), and the next client is served.
 *
 * A byte 1 in the input becomes the header with the admin's token, 2 one of a tenant's, so that
 * mutations reach what lies behind the door. A token cannot be guessed by a fuzzer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/api/api.h"
#include "coordinator/api/token.h"
#include "coordinator/coordinator.h"
#include "lib/check.h"
#include "lib/file.h"
#include "lib/log.h"
#include "storage/records/tenant_record.h"

enum {
    INPUT_MAX = 32768,
    QUIET_TURNS = 25,
    ANSWERED_TURNS = 5,
    TURNS_MAX = 4000,
    PATIENT_TURNS = 50000,
    TURN_US = 100
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct event_base *base;
static struct coordinator *coordinator;
static struct api *api;
static char dir[64];
static char admin_line[512], tenant_line[512];
static struct sockaddr_in address;

static void turn(void)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
    usleep(TURN_US);
}

static void on_done(void *argument, enum status status, const struct error *error)
{
    CHECK(status == STATUS_OK);
    (void)error;
    *(bool *)argument = true;
}

static enum status make_token(struct records *records, void *argument, struct error *error)
{
    Api__Token token = API__TOKEN__INIT;
    char secret[TOKEN_SECRET_SIZE], digest[SHA256_HEX_SIZE];
    (void)argument;
    token_make(secret, digest);
    token.name = "fuzzer";
    token.tenant = "acme";
    token.has_role = token.has_created_ms = true;
    token.role = API__ROLE__ROLE_TENANT_ADMIN;
    snprintf(tenant_line, sizeof(tenant_line), "Authorization: Bearer %s\r\n", secret);
    return token_record_insert(records, &token, digest, &token.id, error);
}

static void clean(void)
{
    dir_remove(dir, NULL);
}

static void set_up(void)
{
    struct coordinator_options options;
    struct error error;
    struct buf admin = {0};
    char path[128];
    bool tenant_made = false, token_made = false;
    log_level_set(LOG_LEVEL_ERROR);
    /* In memory: each request that writes waits for a disk otherwise. */
    snprintf(dir, sizeof(dir), "%s/http_fuzz.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    CHECK(mkdtemp(dir) != NULL);
    atexit(clean);
    base = event_base_new();
    coordinator_options_default(&options);
    options.data = dir;
    options.workers = "127.0.0.1:0";
    CHECK(coordinator_open(&options, base, &coordinator, &error) == STATUS_OK);
    const struct api_options http = {.address = "127.0.0.1:0", .data = dir};
    CHECK(api_open(&http, coordinator, base, &api, &error) == STATUS_OK);
    Api__Tenant tenant = API__TENANT__INIT;
    tenant.name = "acme";
    coordinator_tenant_put(coordinator, &tenant, true, on_done, &tenant_made);
    while (!tenant_made)
        turn();
    coordinator_write(coordinator, make_token, on_done, &token_made);
    snprintf(path, sizeof(path), "%s/admin-token", dir);
    while (!token_made || !file_exists(path))
        turn();
    CHECK(file_read(path, 256, &admin, &error) == STATUS_OK);
    snprintf(admin_line, sizeof(admin_line), "Authorization: Bearer %s\r\n", admin.data);
    buf_release(&admin);
    address = (struct sockaddr_in){.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)strtol(strrchr(api_address(api), ':') + 1, NULL, 10));
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EINPROGRESS);
    for (int i = 0; i < 3; i++)
        turn();
    return fd;
}

/* Sends all, and reads until the other side hangs up or has nothing more to say; `patience`: turns
 * until it begins. */
static void talk(int fd, const struct buf *request, int patience, struct buf *answer)
{
    char block[65536];
    size_t sent = 0;
    for (int quiet = 0, all = 0;
         quiet < (answer->length > 0 ? ANSWERED_TURNS : patience) && all < TURNS_MAX + patience;
         quiet++, all++) {
        ssize_t wrote = sent < request->length
                            ? send(fd, request->data + sent, request->length - sent, MSG_NOSIGNAL)
                            : 0;
        if (wrote > 0) {
            sent += (size_t)wrote;
            quiet = 0;
        }
        turn();
        ssize_t got = recv(fd, block, sizeof(block), 0);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return;
        if (got > 0) {
            buf_append(answer, block, (size_t)got);
            quiet = 0;
        }
    }
}

static void expect_http(const struct buf *answer)
{
    if (answer->length < 16)
        return;                                   /* cut off: that is an answer too */
    CHECK(memcmp(answer->data, "HTTP/", 5) == 0); /* of the version that was asked with */
    const char *code = memchr(answer->data, ' ', 16);
    CHECK(code != NULL);
    CHECK(memcmp(code, " 500", 4) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char healthz[] =
        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    static int64_t inputs;
    struct buf request = {0}, answer = {0};
    if (coordinator == NULL)
        set_up();
    /* A copy of the records for each would fill the disk. */
    if (size > INPUT_MAX || memmem(data, size, "backup", 6) != NULL)
        return 0;
    for (size_t i = 0; i < size; i++) {
        if (data[i] == 1)
            buf_append_string(&request, admin_line);
        else if (data[i] == 2)
            buf_append_string(&request, tenant_line);
        else
            buf_append_char(&request, (char)data[i]);
    }
    int fd = dial();
    talk(fd, &request, QUIET_TURNS, &answer);
    expect_http(&answer);
    close(fd);
    if (++inputs % 16 == 0) { /* somebody else is served */
        buf_clear(&request);
        buf_clear(&answer);
        buf_append_string(&request, healthz);
        fd = dial();
        talk(fd, &request, PATIENT_TURNS, &answer);
        if (answer.length <= 15 || memcmp(answer.data, "HTTP/1.1 200 OK", 15) != 0) {
            fprintf(stderr, "healthz answers \"%.*s\"\n", (int)answer.length, answer.data);
            abort();
        }
        close(fd);
    }
    buf_release(&request);
    buf_release(&answer);
    return 0;
}
