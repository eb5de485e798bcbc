/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/agent/credential.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"

#define CREDENTIAL_FILE "credential.json"

static enum status text_field(const json_t *json, const char *key, char *out, size_t size,
                              struct error *error)
{
    const char *text = "";
    TRY(json_get_string(json, key, &text, error));
    if (strlen(text) >= size)
        return error_set(error, STATUS_FORMAT, "\"%s\" is too long", key);
    snprintf(out, size, "%s", text);
    return STATUS_OK;
}

static enum status fields_read(const json_t *json, struct credential *out, struct error *error)
{
    uint8_t key[CURVE_KEY_SIZE];
    TRY(text_field(json, "address", out->address, sizeof(out->address), error));
    TRY(text_field(json, "server_key", out->server_key, KEY_TEXT_SIZE, error));
    TRY(text_field(json, "public_key", out->public_key, KEY_TEXT_SIZE, error));
    TRY(text_field(json, "secret_key", out->secret_key, KEY_TEXT_SIZE, error));
    TRY(text_field(json, "join_key", out->join_key, KEY_TEXT_SIZE, error));
    TRY(text_field(json, "cluster", out->cluster, sizeof(out->cluster), error));
    TRY(json_get_i64(json, "worker", 0, INT64_MAX, &out->worker, error));
    TRY(address_check(out->address, 1, error));
    if (strlen(out->secret_key) != KEY_TEXT_SIZE - 1 ||
        zmq_z85_decode(key, out->secret_key) == NULL ||
        strlen(out->server_key) != KEY_TEXT_SIZE - 1 ||
        zmq_z85_decode(key, out->server_key) == NULL)
        return error_set(error, STATUS_FORMAT, "a key is none");
    return STATUS_OK;
}

static enum status load(const char *path, struct credential *out, struct error *error)
{
    json_t *json;
    struct stat info;
    if (stat(path, &info) == 0 && (info.st_mode & 077) != 0)
        return error_set(error, STATUS_DENIED,
                         "%s can be read by others: take that away with chmod 600", path);
    TRY(json_read_file(path, CONFIG_BYTES_MAX, &json, error));
    enum status status = fields_read(json, out, error);
    json_decref(json);
    if (status != STATUS_OK)
        error_prefix(error, "%s: ", path);
    return status;
}

static enum status make(const char *text, struct credential *out, struct error *error)
{
    struct join_token token;
    TRY(join_token_parse(text, &token, error));
    snprintf(out->address, sizeof(out->address), "%s", token.address);
    CHECK(zmq_z85_encode(out->server_key, token.server_key, CURVE_KEY_SIZE) != NULL);
    CHECK(zmq_z85_encode(out->join_key, token.secret, CURVE_KEY_SIZE) != NULL);
    CHECK(zmq_curve_keypair(out->public_key, out->secret_key) == 0);
    return STATUS_OK;
}

enum status credential_open(const char *data, const char *token, struct credential *credential_out,
                            struct error *error)
{
    char path[PATH_MAX];
    struct credential credential = {0};
    TRY(dir_create(data, error));
    path_join(path, sizeof(path), data, CREDENTIAL_FILE);
    if (file_exists(path)) {
        TRY(load(path, &credential, error));
        if (credential.worker > 0 || token == NULL) {
            *credential_out = credential;
            return STATUS_OK;
        }
    }
    if (token == NULL)
        return error_set(error, STATUS_USAGE,
                         "%s is new: give --join with a token of \"tailor worker join-token\"",
                         data);
    struct credential made = {0};
    TRY(make(token, &made, error));
    TRY(credential_save(data, &made, error));
    *credential_out = made;
    return STATUS_OK;
}

enum status credential_save(const char *data, const struct credential *credential,
                            struct error *error)
{
    char path[PATH_MAX];
    path_join(path, sizeof(path), data, CREDENTIAL_FILE);
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "address", credential->address,
                  "server_key", credential->server_key, "public_key", credential->public_key,
                  "secret_key", credential->secret_key, "join_key", credential->join_key, "cluster",
                  credential->cluster, "worker", (json_int_t)credential->worker);
    CHECK(json != NULL);
    mode_t before = umask(0077);
    enum status status = json_write_file(path, json, error);
    umask(before);
    json_decref(json);
    return status;
}
