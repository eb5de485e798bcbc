/* SPDX-License-Identifier: Apache-2.0
 *
 * sha256: content digests by OpenSSL's libcrypto (which uses the SHA instructions).
 */
#ifndef TAILOR_LIB_SHA256_H
#define TAILOR_LIB_SHA256_H

#include <stddef.h>

#include "lib/status.h"

enum { SHA256_SIZE = 32, SHA256_HEX_SIZE = 65 };

struct sha256; /* streaming state */

struct sha256 *sha256_create(void);
void sha256_update(struct sha256 *sha, const void *data, size_t size);
void sha256_finish_hex(struct sha256 *sha, char hex_out[SHA256_HEX_SIZE]); /* frees sha */
void sha256_hex(const void *data, size_t size, char hex_out[SHA256_HEX_SIZE]);
enum status sha256_file_hex(const char *path, char hex_out[SHA256_HEX_SIZE], struct error *error);

#endif
