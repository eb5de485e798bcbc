/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected: sessions in a table of their own, which would need their own list, expiry and end; and
 * a CSRF text in a second cookie, which a sibling domain can set.
 */
#include "coordinator/api/session.h"

#include <arpa/inet.h>
#include <event2/keyvalq_struct.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COOKIE "tailor_session"
enum { SECRET_BYTES_MAX = 256, HOST_BYTES_MAX = 256 };

static const char *header_of(const struct exchange *exchange, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(exchange->http), name);
}

static bool only_reads(const struct exchange *exchange)
{
    enum evhttp_cmd_type method = evhttp_request_get_command(exchange->http);
    return method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD;
}

static enum status refuse(struct exchange *exchange, int code, const char *hint, const char *text,
                          struct error *error)
{
    exchange->code = code;
    exchange->hint = hint;
    return error_set(error, STATUS_DENIED, "%s", text);
}

/* ---- which server is meant ------------------------------------------------------------------- */

/* "head:7700" and "[::1]:7700" without port and brackets. */
static bool host_name(const char *host, char name_out[HOST_BYTES_MAX])
{
    const char *end = host[0] == '[' ? strchr(host, ']') : strchr(host, ':');
    if (host[0] == '[' && end == NULL)
        return false;
    host += host[0] == '[';
    size_t length = end != NULL ? (size_t)(end - host) : strlen(host);
    if (length == 0 || length >= HOST_BYTES_MAX)
        return false;
    memcpy(name_out, host, length);
    name_out[length] = '\0';
    return true;
}

static bool is_address(const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

static bool is_ours(const struct api *api, const char *name)
{
    static const char local[] = ".localhost";
    char listening[HOST_BYTES_MAX];
    size_t length = strlen(name), skip = sizeof(local) - 1;
    if (is_address(name) || strcasecmp(name, local + 1) == 0 ||
        (length > skip && strcasecmp(name + length - skip, local) == 0) ||
        strcasecmp(name, api->machine) == 0)
        return true;
    if (host_name(api->address, listening) && strcasecmp(name, listening) == 0)
        return true;
    for (int i = 0; api->hosts != NULL && i < api->hosts->count; i++)
        if (strcasecmp(name, api->hosts->items[i]) == 0)
            return true;
    return api->tls != NULL && tls_is_for(api->tls, name);
}

/* Without a Host it was no browser. */
static enum status check_host(struct exchange *exchange, struct error *error)
{
    const char *host = header_of(exchange, "Host");
    char name[HOST_BYTES_MAX];
    if (host == NULL || (host_name(host, name) && is_ours(exchange->api, name)))
        return STATUS_OK;
    return refuse(exchange, 421, "ask by its address, or start tailord with --host NAME",
                  "this server is not known by the name in the header Host", error);
}

static enum status check_origin(struct exchange *exchange, struct error *error)
{
    const char *origin = header_of(exchange, "Origin"), *host = header_of(exchange, "Host");
    if (origin == NULL || only_reads(exchange))
        return STATUS_OK;
    const char *mark = strstr(origin, "://");
    bool secure = strncasecmp(origin, "https://", 8) == 0;
    bool clear = strncasecmp(origin, "http://", 7) == 0 && exchange->api->tls == NULL;
    if (host != NULL && (secure || clear) && strcasecmp(mark + 3, host) == 0)
        return STATUS_OK;
    return refuse(exchange, 403, "only the server's own page may do this",
                  "the header Origin names another site", error);
}

/* ---- what is shown --------------------------------------------------------------------------- */

/* The secret behind "Bearer ", or NULL. */
static const char *bearer(const struct exchange *exchange)
{
    static const char scheme[] = "Bearer ";
    size_t skip = sizeof(scheme) - 1;
    const char *value = header_of(exchange, "Authorization");
    if (value == NULL || strncasecmp(value, scheme, skip) != 0 || strlen(value) > SECRET_BYTES_MAX)
        return NULL;
    return value + skip;
}

/* The cookie's value; false: there is none. */
static bool cookie(const struct exchange *exchange, char secret_out[SECRET_BYTES_MAX])
{
    static const char name[] = COOKIE "=";
    const char *at = header_of(exchange, "Cookie");
    while (at != NULL) {
        at += strspn(at, " ;");
        size_t length = strcspn(at, ";"), skip = sizeof(name) - 1;
        if (strncmp(at, name, skip) == 0 && length > skip && length - skip < SECRET_BYTES_MAX) {
            memcpy(secret_out, at + skip, length - skip);
            secret_out[length - skip] = '\0';
            return true;
        }
        at = at[length] == ';' ? at + length : NULL;
    }
    return false;
}

/* In a time that does not depend on where they differ. */
static bool same(const char *expected, const char *got)
{
    unsigned char difference = 0;
    if (strlen(got) != SHA256_HEX_SIZE - 1)
        return false;
    for (int i = 0; i < SHA256_HEX_SIZE - 1; i++)
        difference |= (unsigned char)(expected[i] ^ got[i]);
    return difference == 0;
}

static enum status check_csrf(struct exchange *exchange, struct error *error)
{
    const char *csrf = header_of(exchange, "X-Tailor-CSRF");
    if (only_reads(exchange) || (csrf != NULL && same(exchange->csrf, csrf)))
        return STATUS_OK;
    return refuse(exchange, 403, "send the csrf of GET /v1/session in the header X-Tailor-CSRF",
                  "a session changes nothing without its CSRF text", error);
}

enum status session_admit(struct exchange *exchange, struct error *error)
{
    const char *token = bearer(exchange);
    bool wanted = exchange->match.route->role != 0;
    char secret[SECRET_BYTES_MAX];
    if (wanted && token != NULL) { /* a page of another site cannot know one */
        sha256_hex(token, strlen(token), exchange->token_digest);
        return STATUS_OK;
    }
    TRY(check_host(exchange, error));
    TRY(check_origin(exchange, error));
    if (!wanted)
        return STATUS_OK;
    if (!cookie(exchange, secret))
        return refuse(exchange, 401, "send the header Authorization: Bearer TOKEN",
                      "this needs a token", error);
    sha256_hex(secret, strlen(secret), exchange->token_digest);
    session_csrf(secret, exchange->csrf);
    return check_csrf(exchange, error);
}

/* ---- what is given --------------------------------------------------------------------------- */

void session_csrf(const char *secret, char csrf_out[SHA256_HEX_SIZE])
{
    char text[SECRET_BYTES_MAX + 8];
    int length = snprintf(text, sizeof(text), "csrf:%s", secret);
    sha256_hex(text, (size_t)length, csrf_out);
}

void session_cookie(const struct exchange *exchange, const char *secret, int64_t ms)
{
    char text[SECRET_BYTES_MAX + 128];
    snprintf(text, sizeof(text), "%s=%s; Path=/; Max-Age=%" PRId64 "; HttpOnly; SameSite=Strict%s",
             COOKIE, secret != NULL ? secret : "", secret != NULL ? ms / 1000 : 0,
             exchange->api->tls != NULL ? "; Secure" : "");
    evhttp_add_header(evhttp_request_get_output_headers(exchange->http), "Set-Cookie", text);
}
