/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected: a thread for HTTP. A request costs microseconds here; what takes longer is done by the
 * coordinator's own threads.
 */
#include "coordinator/api/api.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/api/board.h"
#include "coordinator/api/live.h"
#include "coordinator/api/sse.h"
#include "coordinator/api/token.h"
#include "coordinator/api/webhooks.h"
#include "lib/check.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "proto/join_token.h"
#include "storage/records/tenant_record.h"

enum { HEADERS_BYTES_MAX = 16384, SILENCE_S = 60, LAST_TURNS = 100 };

/* ---- the first token ------------------------------------------------------------------------- */

struct first_token {
    char path[PATH_MAX];
    bool made;
};

static bool has_admin(const Api__TokenList *list)
{
    int64_t now_ms = coordinator_now_ms();
    for (size_t i = 0; i < list->n_tokens; i++) {
        const Api__Token *token = list->tokens[i];
        if (token->role == API__ROLE__ROLE_ADMIN && !token->has_revoked_ms &&
            (!token->has_expires_ms || token->expires_ms > now_ms))
            return true;
    }
    return false;
}

static enum status make_admin(struct records *records, struct first_token *first,
                              struct error *error)
{
    Api__Token token = API__TOKEN__INIT;
    char secret[TOKEN_SECRET_SIZE], digest[SHA256_HEX_SIZE];
    int64_t id;
    token_make(secret, digest);
    token.name = "admin";
    token.has_role = token.has_created_ms = true;
    token.role = API__ROLE__ROLE_ADMIN;
    token.created_ms = coordinator_now_ms();
    TRY(token_record_insert(records, &token, digest, &id, error));
    first->made = true;
    mode_t before = umask(0077);
    enum status status = file_write_atomic(first->path, secret, strlen(secret), error);
    umask(before);
    return status;
}

/* The file is written before the commit: a secret that nobody could read would lock all out. */
static enum status first_token_run(struct records *records, void *argument, struct error *error)
{
    struct arena arena = {0};
    Api__TokenList *list = message_new(&arena, &api__token_list__descriptor);
    enum status status = token_record_list(records, SCOPE_ALL, &arena, list, error);
    if (status == STATUS_OK && !has_admin(list))
        status = make_admin(records, argument, error);
    arena_release(&arena);
    return status;
}

static void on_first_token(void *argument, enum status status, const struct error *error)
{
    struct first_token *first = argument;
    if (status != STATUS_OK)
        log_error("no token for an admin: %s", error->text);
    else if (first->made)
        log_info("an admin's token is in %s", first->path);
    mem_free(first);
}

/* ---- listening ------------------------------------------------------------------------------- */

static bool is_loopback(const char *host)
{
    struct in_addr address;
    return strcmp(host, "localhost") == 0 ||
           (inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127);
}

static void bound_address(struct api *api, struct evhttp_bound_socket *socket, const char *host)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof(name);
    char port[16];
    CHECK(getsockname(evhttp_bound_socket_get_fd(socket), (struct sockaddr *)&name, &size) == 0);
    CHECK(getnameinfo((struct sockaddr *)&name, size, NULL, 0, port, sizeof(port),
                      NI_NUMERICSERV) == 0);
    snprintf(api->address, sizeof(api->address), "%s:%s", host, port);
}

static enum status listen_at(struct api *api, const struct api_options *options,
                             struct error *error)
{
    char host[JOIN_ADDRESS_MAX];
    TRY(address_check(options->address, 0, error));
    const char *colon = strrchr(options->address, ':');
    snprintf(host, sizeof(host), "%.*s", (int)(colon - options->address), options->address);
    if (!is_loopback(host) && api->tls == NULL && !options->insecure)
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s is not loopback, where tokens would travel in the clear: give "
                         "--tls-cert and --tls-key, or say --insecure when a proxy in front speaks "
                         "TLS",
                         options->address);
    struct evhttp_bound_socket *socket =
        evhttp_bind_socket_with_handle(api->http, host, (ev_uint16_t)strtol(colon + 1, NULL, 10));
    if (socket == NULL)
        return error_set(error, STATUS_CONFLICT, "cannot listen on %s: %s", options->address,
                         evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
    connections_listen(api->connections, socket);
    bound_address(api, socket, host);
    return STATUS_OK;
}

static enum status secure(struct api *api, const struct api_options *options, struct error *error)
{
    if (options->webhook_ca != NULL && file_size(options->webhook_ca) <= 0)
        return error_set(error, STATUS_NOT_FOUND, "--webhook-ca: %s: no file, or an empty one",
                         options->webhook_ca);
    if ((options->certificate == NULL) != (options->key == NULL))
        return error_set(error, STATUS_USAGE, "--tls-cert and --tls-key go together");
    if (options->certificate == NULL)
        return STATUS_OK;
    TRY(tls_open(options->certificate, options->key, &api->tls, error));
    connections_secure(api->connections, api->tls);
    return STATUS_OK;
}

void api_reload(struct api *api)
{
    struct error error;
    if (api->tls == NULL)
        log_info("there is nothing to read again: no TLS");
    else if (tls_reload(api->tls, &error) != STATUS_OK)
        log_error("the old certificate stays: %s", error.text);
}

enum status api_open(const struct api_options *options, struct coordinator *coordinator,
                     struct event_base *base, struct api **api_out, struct error *error)
{
    struct api *api = mem_alloc(sizeof(*api));
    api->coordinator = coordinator;
    api->base = base;
    api->http = evhttp_new(base);
    CHECK(api->http != NULL);
    CHECK(getrandom(&api->seed, sizeof(api->seed), 0) == (ssize_t)sizeof(api->seed));
    api->hosts = options->hosts;
    if (gethostname(api->machine, sizeof(api->machine) - 1) != 0)
        api->machine[0] = '\0';
    evhttp_set_max_headers_size(api->http, HEADERS_BYTES_MAX);
    evhttp_set_max_body_size(api->http, (ev_ssize_t)CHUNK_BYTES_MAX);
    evhttp_set_timeout(api->http, SILENCE_S);
    evhttp_set_allowed_methods(api->http, 0xffff); /* what we do not know is answered by us: 405 */
    evhttp_set_gencb(api->http, exchange_begin, api);
    api->connections = connections_create(base, api->http, &CONNECTION_LIMITS_DEFAULT);
    enum status status = secure(api, options, error);
    if (status == STATUS_OK)
        status = listen_at(api, options, error);
    if (status != STATUS_OK) {
        evhttp_free(api->http);
        connections_free(api->connections);
        tls_close(api->tls);
        mem_free(api);
        return status;
    }
    api->board = board_create(api);
    api->lives = lives_create(api);
    api->webhooks = webhooks_start(api, options->webhook_private, options->webhook_ca);
    struct first_token *first = mem_alloc(sizeof(*first));
    path_join(first->path, sizeof(first->path), options->data, "admin-token");
    coordinator_write(coordinator, first_token_run, on_first_token, first);
    *api_out = api;
    return STATUS_OK;
}

const char *api_address(const struct api *api)
{
    return api->address;
}

void api_stop(struct api *api)
{
    api->stopping = true;
    connections_stop(api->connections);
    sse_stop(api);
    webhooks_stop(api->webhooks);
}

void api_close(struct api *api)
{
    CHECK(api->in_hand == 0);
    for (int i = 0; i < LAST_TURNS && connections_count(api->connections) > 0; i++)
        event_base_loop(api->base, EVLOOP_NONBLOCK); /* the last answers leave */
    evhttp_free(api->http);
    connections_free(api->connections);
    webhooks_free(api->webhooks);
    lives_free(api->lives);
    board_free(api->board);
    tls_close(api->tls);
    mem_free(api);
}
