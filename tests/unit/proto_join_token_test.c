/* SPDX-License-Identifier: Apache-2.0
 *
 * join_token: written and read back; anything else is refused, without repeating the secret.
 */
#include <string.h>

#include "proto/join_token.h"
#include "tests/test.h"

static struct join_token example(void)
{
    struct join_token token = {.address = "head-node.example:7701"};
    for (int i = 0; i < CURVE_KEY_SIZE; i++) {
        token.server_key[i] = (uint8_t)(i * 7);
        token.secret[i] = (uint8_t)(255 - i);
    }
    return token;
}

TEST(a_token_is_read_back_as_it_was_written)
{
    char text[JOIN_TOKEN_TEXT_MAX];
    struct error error;
    struct join_token token = example(), again;
    join_token_format(&token, text);
    REQUIRE(join_token_parse(text, &again, &error) == STATUS_OK);
    EXPECT_BYTES(token.server_key, again.server_key, CURVE_KEY_SIZE);
    EXPECT_BYTES(token.secret, again.secret, CURVE_KEY_SIZE);
    EXPECT_STR(token.address, again.address);
    EXPECT_I64((int64_t)strlen(text),
               (int64_t)strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.:"));
}

TEST(a_token_that_is_cut_or_changed_is_refused_and_never_repeated)
{
    char text[JOIN_TOKEN_TEXT_MAX], bad[JOIN_TOKEN_TEXT_MAX + 300];
    struct error error;
    struct join_token token = example(), again;
    join_token_format(&token, text);
    size_t length = strlen(text);
    for (size_t cut = 0; cut < length; cut++) {
        memcpy(bad, text, cut);
        bad[cut] = '\0';
        bool address_is_whole = cut > length - 4; /* ":770" is a port too */
        error.text[0] = '\0';
        if (!address_is_whole)
            EXPECT_I64(STATUS_USAGE, join_token_parse(bad, &again, &error));
        EXPECT(strstr(error.text, "fffefd") == NULL);
    }
    memcpy(bad, text, length + 1);
    bad[10] = 'X';
    EXPECT_I64(STATUS_USAGE, join_token_parse(bad, &again, &error));
    memset(bad + length, 'a', 200);
    bad[length + 200] = '\0';
    memcpy(bad, text, length);
    EXPECT_I64(STATUS_USAGE, join_token_parse(bad, &again, &error));
}

TEST(an_address_is_a_host_and_a_port)
{
    struct error error;
    EXPECT_I64(STATUS_OK, address_check("127.0.0.1:0", 0, &error));
    EXPECT_I64(STATUS_USAGE, address_check("127.0.0.1:0", 1, &error));
    const char *const bad[] = {"",       "host",    "host:",      ":1",          "host:65536",
                               "host:x", "ho st:1", "host/../:1", "host:1:2:-3", "h\n:1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        EXPECT_I64(STATUS_USAGE, address_check(bad[i], 0, &error));
    EXPECT_CONTAINS("is no HOST:PORT", error.text);
}

TEST_MAIN()
