/* SPDX-License-Identifier: Apache-2.0
 *
 * sha256: the vectors of FIPS 180-4.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "lib/file.h"
#include "lib/sha256.h"
#include "tests/test.h"

#define EMPTY_HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC_HEX   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

TEST(digests_are_those_of_the_standard)
{
    char hex[SHA256_HEX_SIZE];
    sha256_hex(NULL, 0, hex);
    EXPECT_STR(EMPTY_HEX, hex);
    sha256_hex("abc", 3, hex);
    EXPECT_STR(ABC_HEX, hex);
}

TEST(a_stream_gives_the_digest_of_the_whole)
{
    char hex[SHA256_HEX_SIZE];
    struct sha256 *sha = sha256_create();
    for (int i = 0; i < 1000000; i += 1000) {
        char block[1000];
        memset(block, 'a', sizeof(block));
        sha256_update(sha, block, sizeof(block));
    }
    sha256_update(sha, NULL, 0);
    sha256_finish_hex(sha, hex);
    EXPECT_STR("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", hex);
}

TEST(a_file_has_the_digest_of_its_bytes)
{
    char dir[] = "/tmp/lib_sha256_test.XXXXXX";
    REQUIRE(mkdtemp(dir) != NULL);
    char path[PATH_MAX];
    char hex[SHA256_HEX_SIZE] = "";
    path_join(path, sizeof(path), dir, "f");
    struct error error = {0};
    EXPECT_I64(STATUS_NOT_FOUND, sha256_file_hex(path, hex, &error));
    EXPECT_STR("", hex);
    EXPECT_I64(STATUS_OK, file_write_atomic(path, "abc", 3, &error));
    EXPECT_I64(STATUS_OK, sha256_file_hex(path, hex, &error));
    EXPECT_STR(ABC_HEX, hex);
    EXPECT_I64(STATUS_OK, file_write_atomic(path, "", 0, &error));
    EXPECT_I64(STATUS_OK, sha256_file_hex(path, hex, &error));
    EXPECT_STR(EMPTY_HEX, hex);
    EXPECT_I64(STATUS_OK, dir_remove(dir, &error));
}

TEST_MAIN()
