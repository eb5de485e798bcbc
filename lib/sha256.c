/* SPDX-License-Identifier: Apache-2.0
 *
 * sha256: a thin wrapper; the streaming state is OpenSSL's own context.
 *
 * An EVP call on SHA-256 fails only for want of memory or by our misuse, so failures are CHECKs.
 * Rejected: our own SHA-256; content digests bound the time to verify a model, and libcrypto's
 * assembly is several times faster.
 */
#include "lib/sha256.h"

#include <openssl/evp.h>
#include <sys/mman.h>

#include "lib/check.h"
#include "lib/file.h"

struct sha256 *sha256_create(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    CHECK(context != NULL);
    CHECK(EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1);
    return (struct sha256 *)context;
}

void sha256_update(struct sha256 *sha, const void *data, size_t size)
{
    if (size > 0) {
        CHECK(EVP_DigestUpdate((EVP_MD_CTX *)sha, data, size) == 1);
    }
}

void sha256_finish_hex(struct sha256 *sha, char hex_out[SHA256_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[SHA256_SIZE];
    unsigned size = 0;
    CHECK(EVP_DigestFinal_ex((EVP_MD_CTX *)sha, digest, &size) == 1 && size == SHA256_SIZE);
    EVP_MD_CTX_free((EVP_MD_CTX *)sha);
    for (int i = 0; i < SHA256_SIZE; i++) {
        hex_out[2 * i] = digits[digest[i] >> 4];
        hex_out[2 * i + 1] = digits[digest[i] & 15];
    }
    hex_out[2 * SHA256_SIZE] = '\0';
}

void sha256_hex(const void *data, size_t size, char hex_out[SHA256_HEX_SIZE])
{
    struct sha256 *sha = sha256_create();
    sha256_update(sha, data, size);
    sha256_finish_hex(sha, hex_out);
}

enum status sha256_file_hex(const char *path, char hex_out[SHA256_HEX_SIZE], struct error *error)
{
    struct file_map map;
    TRY(file_map_open(path, &map, error));
    if (map.size > 0) {
        madvise((void *)map.data, map.size, MADV_SEQUENTIAL);
    }
    sha256_hex(map.data, map.size, hex_out);
    file_map_close(&map);
    return STATUS_OK;
}
