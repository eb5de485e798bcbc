/* SPDX-License-Identifier: Apache-2.0
 *
 * Fixed places, no escapes: the address is whatever stands behind the second key.
 */
#include "proto/join_token.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/text.h"

#define PREFIX "tj1-"

enum {
    KEY_DIGITS = 2 * CURVE_KEY_SIZE,
    SERVER_AT = sizeof(PREFIX) - 1,
    SECRET_AT = SERVER_AT + KEY_DIGITS + 1,
    ADDRESS_AT = SECRET_AT + KEY_DIGITS + 1
};

_Static_assert(ADDRESS_AT + JOIN_ADDRESS_MAX <= JOIN_TOKEN_TEXT_MAX, "a token fits");

void hex_format(const uint8_t *bytes, size_t size, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * size] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_parse(const char *text, size_t size, uint8_t *out)
{
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text[2 * i]);
        int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
        if (low < 0)
            return 0;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return 1;
}

enum status address_check(const char *address, int port_min, struct error *error)
{
    const char *colon = strrchr(address, ':');
    int64_t port;
    size_t host = colon != NULL ? (size_t)(colon - address) : 0;
    bool ok = host > 0 && strlen(address) < JOIN_ADDRESS_MAX && parse_i64(colon + 1, &port) &&
              port >= port_min && port <= 65535;
    for (size_t i = 0; ok && i < host; i++)
        ok = isalnum((unsigned char)address[i]) || strchr(".-_*", address[i]) != NULL;
    if (!ok)
        return error_set(error, STATUS_USAGE, "\"%.80s\" is no HOST:PORT, such as 127.0.0.1:7701",
                         address);
    return STATUS_OK;
}

void join_token_format(const struct join_token *token, char out[JOIN_TOKEN_TEXT_MAX])
{
    char server[KEY_DIGITS + 1], secret[KEY_DIGITS + 1];
    hex_format(token->server_key, CURVE_KEY_SIZE, server);
    hex_format(token->secret, CURVE_KEY_SIZE, secret);
    int length =
        snprintf(out, JOIN_TOKEN_TEXT_MAX, PREFIX "%s-%s-%s", server, secret, token->address);
    CHECK(length < JOIN_TOKEN_TEXT_MAX);
}

enum status join_token_parse(const char *text, struct join_token *token_out, struct error *error)
{
    struct join_token token;
    size_t length = strlen(text);
    if (length <= ADDRESS_AT || length - ADDRESS_AT >= JOIN_ADDRESS_MAX ||
        strncmp(text, PREFIX, SERVER_AT) != 0 || text[SECRET_AT - 1] != '-' ||
        text[ADDRESS_AT - 1] != '-' ||
        !hex_parse(text + SERVER_AT, CURVE_KEY_SIZE, token.server_key) ||
        !hex_parse(text + SECRET_AT, CURVE_KEY_SIZE, token.secret))
        return error_set(error, STATUS_USAGE,
                         "this is no join token: it is one line that begins with " PREFIX
                         " (of %d bytes or more); `tailor worker join-token` prints one",
                         ADDRESS_AT + 3);
    TRY(address_check(text + ADDRESS_AT, 1, error));
    memcpy(token.address, text + ADDRESS_AT, length - ADDRESS_AT + 1);
    *token_out = token;
    return STATUS_OK;
}
