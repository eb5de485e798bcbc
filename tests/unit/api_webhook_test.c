/* SPDX-License-Identifier: Apache-2.0
 *
 * webhook: where it may post to, and the signature of Standard Webhooks.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/api/webhook_address.h"
#include "coordinator/api/webhook_message.h"
#include "lib/check.h"
#include "tests/test.h"

static bool is_public(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return webhook_address_is_public((const struct sockaddr *)&v4);
    CHECK(inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
    return webhook_address_is_public((const struct sockaddr *)&v6);
}

TEST(only_addresses_of_the_public_internet_are_public)
{
    static const char *const open[] = {
        "8.8.8.8",     "1.1.1.1",     "9.255.255.255",  "11.0.0.0",        "100.63.255.255",
        "100.128.0.0", "172.15.0.1",  "172.32.0.1",     "192.167.255.255", "223.255.255.255",
        "169.253.0.1", "2606:4700::", "2a00:1450::200e"};
    static const char *const closed[] = {"0.0.0.0",
                                         "10.0.0.1",
                                         "100.64.0.1",
                                         "127.0.0.1",
                                         "127.255.255.255",
                                         "169.254.169.254",
                                         "172.16.0.1",
                                         "172.31.255.255",
                                         "192.168.1.1",
                                         "198.18.0.1",
                                         "224.0.0.1",
                                         "255.255.255.255",
                                         "::",
                                         "::1",
                                         "fe80::1",
                                         "fc00::1",
                                         "fd12:3456::1",
                                         "ff02::1",
                                         "::ffff:10.0.0.1",
                                         "::ffff:8.8.8.8",
                                         "64:ff9b::7f00:1",
                                         "2002:7f00:1::",
                                         "2001:db8::1",
                                         "2001::1"};
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
        if (!is_public(open[i]))
            test_fail(__FILE__, __LINE__, "expected %s to be public", open[i]);
    for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
        if (is_public(closed[i]))
            test_fail(__FILE__, __LINE__, "expected %s not to be public", closed[i]);
    const struct sockaddr local = {.sa_family = AF_UNIX};
    EXPECT(!webhook_address_is_public(&local));
}

TEST(a_signature_is_the_one_that_the_standards_own_example_has)
{
    static const char body[] = "{\"test\": 2432232314}";
    char signature[WEBHOOK_SIGNATURE_SIZE];
    webhook_message_sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek",
                         1614265330, body, strlen(body), signature);
    EXPECT_STR("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", signature);
}

TEST(no_two_secrets_are_the_same)
{
    char one[WEBHOOK_SECRET_SIZE], other[WEBHOOK_SECRET_SIZE];
    webhook_secret_make(one);
    webhook_secret_make(other);
    EXPECT(strncmp(one, "whsec_", 6) == 0 && strlen(one) == WEBHOOK_SECRET_SIZE - 1);
    EXPECT(strcmp(one, other) != 0);
}

TEST_MAIN()
