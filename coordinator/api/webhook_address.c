/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables are the IANA registries of special-purpose addresses: all that is not globally
 * reachable. Rejected: a list of names. Whoever owns a name points it where he likes, and elsewhere
 * after it was checked.
 */
#include "coordinator/api/webhook_address.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"

struct prefix4 {
    uint8_t bytes[4];
    int bits;
};

static const struct prefix4 SPECIAL4[] = {
    {{0, 0, 0, 0}, 8},      {{10, 0, 0, 0}, 8},     {{100, 64, 0, 0}, 10}, {{127, 0, 0, 0}, 8},
    {{169, 254, 0, 0}, 16}, {{172, 16, 0, 0}, 12},  {{192, 0, 0, 0}, 24},  {{192, 0, 2, 0}, 24},
    {{192, 88, 99, 0}, 24}, {{192, 168, 0, 0}, 16}, {{198, 18, 0, 0}, 15}, {{198, 51, 100, 0}, 24},
    {{203, 0, 113, 0}, 24}, {{224, 0, 0, 0}, 4},    {{240, 0, 0, 0}, 4},
};

struct prefix6 {
    uint8_t bytes[6];
    int bits;
};

/* Of 2000::/3, the unicast addresses; nothing else is public. */
static const struct prefix6 SPECIAL6[] = {
    {{0x20, 0x01, 0x00}, 23},       /* Teredo, ORCHID and other protocols' own */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x3f, 0xff, 0x00}, 20},       /* documentation */
};

static bool has_prefix(const uint8_t *address, const uint8_t *prefix, int bits)
{
    int whole = bits / 8, rest = bits % 8;
    if (memcmp(address, prefix, (size_t)whole) != 0)
        return false;
    return rest == 0 || (uint8_t)((address[whole] ^ prefix[whole]) >> (8 - rest)) == 0;
}

static bool is_public4(const uint8_t address[4])
{
    for (size_t i = 0; i < sizeof(SPECIAL4) / sizeof(SPECIAL4[0]); i++)
        if (has_prefix(address, SPECIAL4[i].bytes, SPECIAL4[i].bits))
            return false;
    return true;
}

static bool is_public6(const uint8_t address[16])
{
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(address, nat64, sizeof(nat64)) == 0) /* the network's own way to an IPv4 address */
        return is_public4(address + 12);
    if (address[0] == 0x20 && address[1] == 0x02) /* 6to4 */
        return is_public4(address + 2);
    if (address[0] >> 5 != 1)
        return false;
    for (size_t i = 0; i < sizeof(SPECIAL6) / sizeof(SPECIAL6[0]); i++)
        if (has_prefix(address, SPECIAL6[i].bytes, SPECIAL6[i].bits))
            return false;
    return true;
}

bool webhook_address_is_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return is_public4(
            (const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr);
    if (address->sa_family == AF_INET6)
        return is_public6(((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr);
    return false;
}

/* ---- the URL --------------------------------------------------------------------------------- */

/* A host that is an address says so itself; libcurl has put it into its usual form. */
static bool host_is_private(const char *host)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    char bare[INET6_ADDRSTRLEN];
    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1)
        return !webhook_address_is_public((const struct sockaddr *)&v4);
    int length = snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(host + 1, "]"), host + 1);
    if (host[0] == '[' && length < (int)sizeof(bare) &&
        inet_pton(AF_INET6, bare, &v6.sin6_addr) == 1)
        return !webhook_address_is_public((const struct sockaddr *)&v6);
    return false;
}

static enum status check_parts(const char *scheme, const char *host, const char *user, bool private,
                               struct error *error)
{
    bool http = strcmp(scheme, "http") == 0;
    if (!http && strcmp(scheme, "https") != 0)
        return error_set(error, STATUS_USAGE, "url: %s is not spoken; https is", scheme);
    if (user != NULL)
        return error_set(error, STATUS_USAGE,
                         "url: no name or password in it: the signature says who posts");
    if (private)
        return STATUS_OK;
    if (http)
        return error_set(error, STATUS_UNSUPPORTED,
                         "url: events are posted by https only; http needs tailord "
                         "--webhook-private");
    if (host_is_private(host))
        return error_set(error, STATUS_UNSUPPORTED,
                         "url: %s is no public address; it needs tailord --webhook-private", host);
    return STATUS_OK;
}

enum status webhook_url_check(const char *url, bool private, struct error *error)
{
    char *scheme = NULL, *host = NULL, *user = NULL;
    CURLU *parts = curl_url();
    enum status status;
    CHECK(parts != NULL);
    CURLUcode code = curl_url_set(parts, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
    if (code != CURLUE_OK || curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
        status = error_set(error, STATUS_USAGE,
                           "url: \"%.200s\" is no URL, such as https://example.com/hook", url);
    } else {
        curl_url_get(parts, CURLUPART_USER, &user, 0);
        status = check_parts(scheme, host, user, private, error);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_url_cleanup(parts);
    return status;
}
