/* SPDX-License-Identifier: Apache-2.0
 *
 * on_login: a code for one person, and the token or the session that it is changed into. An
 * administrator hands an address with the code in it to somebody, whose token then never travels
 * through a third place. A browser gets it in a cookie, and not in the answer.
 *
 * Codes are kept in memory, as digests: a restart ends them, as time does. The first to show a code
 * has it; whoever comes second is refused, and so learns that somebody was first.
 */
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/session.h"
#include "coordinator/api/token.h"
#include "lib/check.h"
#include "storage/records/tenant_record.h"

#define CODE_MS    (15 * 60 * 1000LL)        /* to type ssh, and an address */
#define TOKEN_MS   (30 * 24 * 3600 * 1000LL) /* of a laptop's token … */
#define SESSION_MS (7 * 24 * 3600 * 1000LL)  /* … and of a browser's: a week on call */
enum { CODE_LENGTH = 36 /* 128 bits behind "tlr_" */ };

/* A free place, or the one that ends first. */
static struct login *place(struct api *api)
{
    struct login *first = &api->logins[0];
    for (int i = 1; i < LOGINS_MAX; i++)
        if (api->logins[i].expires_ms < first->expires_ms)
            first = &api->logins[i];
    return first;
}

void login_code(struct exchange *exchange)
{
    struct login *login = place(exchange->api);
    Api__Login *reply = exchange_reply(exchange);
    char secret[TOKEN_SECRET_SIZE], digest[SHA256_HEX_SIZE];
    token_make(secret, digest);
    secret[CODE_LENGTH] = '\0';
    sha256_hex(secret, strlen(secret), login->digest);
    login->expires_ms = coordinator_now_ms() + CODE_MS;
    snprintf(login->by, sizeof(login->by), "%s", exchange->caller.name);
    reply->code = arena_strdup(&exchange->arena, secret);
    reply->has_expires_ms = true;
    reply->expires_ms = login->expires_ms;
    exchange_done(exchange, STATUS_OK, NULL);
}

/* The code is spent, whatever comes of it. */
static bool take_code(struct exchange *exchange, const char *code)
{
    struct api *api = exchange->api;
    char digest[SHA256_HEX_SIZE];
    sha256_hex(code, strlen(code), digest);
    for (int i = 0; i < LOGINS_MAX; i++) {
        struct login *login = &api->logins[i];
        if (login->expires_ms > coordinator_now_ms() && strcmp(login->digest, digest) == 0) {
            snprintf(exchange->caller.name, sizeof(exchange->caller.name), "%s", login->by);
            *login = (struct login){.expires_ms = 0};
            return true;
        }
    }
    return false;
}

static enum status make_token(struct records *records, void *argument, struct error *error)
{
    struct exchange *exchange = argument;
    Api__Token *token = exchange->reply;
    char digest[SHA256_HEX_SIZE], secret[TOKEN_SECRET_SIZE];
    token_make(secret, digest);
    TRY(token_record_insert(records, token, digest, &token->id, error));
    token->secret = arena_strdup(&exchange->arena, secret);
    return STATUS_OK;
}

/* A browser's secret leaves in the cookie alone. */
static void on_token(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    Api__Token *token = exchange->reply;
    char csrf[SHA256_HEX_SIZE];
    if (status == STATUS_OK && ((const Api__Login *)exchange->request)->browser) {
        session_csrf(token->secret, csrf);
        session_cookie(exchange, token->secret, SESSION_MS);
        token->csrf = arena_strdup(&exchange->arena, csrf);
        token->secret = NULL;
    }
    exchange_done(exchange, status, error);
}

void login_take(struct exchange *exchange)
{
    const Api__Login *request = exchange->request;
    struct error error;
    if (request->code == NULL || !take_code(exchange, request->code)) {
        exchange->code = 401;
        exchange->hint = "a code works once and for 15 minutes: tailor up prints a new one";
        exchange_done(exchange, error_set(&error, STATUS_DENIED, "this code is not known"), &error);
        return;
    }
    Api__Token *token = exchange_reply(exchange);
    token->name = request->browser ? "browser" : "login";
    token->has_id = token->has_role = token->has_created_ms = token->has_expires_ms = true;
    token->role = API__ROLE__ROLE_ADMIN;
    token->created_ms = coordinator_now_ms();
    token->expires_ms = token->created_ms + (request->browser ? SESSION_MS : TOKEN_MS);
    coordinator_write(exchange->api->coordinator, make_token, on_token, exchange);
}

/* ---- a session ------------------------------------------------------------------------------- */

enum status session_read(struct records *records, struct exchange *exchange, struct error *error)
{
    Api__Token *token = message_copy(&exchange->arena, &exchange->token->base);
    (void)records, (void)error;
    token->csrf = exchange->csrf[0] != '\0' ? exchange->csrf : NULL;
    exchange->reply = token;
    return STATUS_OK;
}

enum status session_end(struct records *records, struct exchange *exchange, struct error *error)
{
    if (exchange->csrf[0] == '\0')
        return error_set(error, STATUS_USAGE,
                         "this is a token and no session: tailor token revoke ends it");
    return token_record_revoke(records, SCOPE_ALL, exchange->token->id, coordinator_now_ms(),
                               error);
}

void session_ended(struct exchange *exchange)
{
    session_cookie(exchange, NULL, 0);
    exchange_done(exchange, STATUS_OK, NULL);
}
