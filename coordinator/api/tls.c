/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected: client certificates; who a person is, is a token's business (exchange.c).
 */
#include "coordinator/api/tls.h"

#include <event2/bufferevent_ssl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/log.h"

struct tls {
    SSL_CTX *context;
    char certificate[PATH_MAX], key[PATH_MAX];
    int64_t expires_s;
};

static enum status failed(const char *path, struct error *error)
{
    char cause[256];
    unsigned long code = ERR_peek_last_error();
    ERR_error_string_n(code, cause, sizeof(cause));
    ERR_clear_error();
    return error_set(error, STATUS_FORMAT, "%s: not usable for TLS (%s)", path,
                     code != 0 ? cause : "no reason given");
}

static int64_t expiry_s(SSL_CTX *context)
{
    struct tm end = {0};
    X509 *certificate = SSL_CTX_get0_certificate(context);
    if (certificate == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1)
        return 0;
    return (int64_t)timegm(&end);
}

static enum status load(const struct tls *tls, SSL_CTX **context_out, struct error *error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    enum status status = STATUS_OK;
    CHECK(context != NULL);
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    if (SSL_CTX_use_certificate_chain_file(context, tls->certificate) != 1)
        status = failed(tls->certificate, error);
    else if (SSL_CTX_use_PrivateKey_file(context, tls->key, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(context) != 1)
        status = failed(tls->key, error);
    if (status != STATUS_OK) {
        SSL_CTX_free(context);
        return status;
    }
    *context_out = context;
    return STATUS_OK;
}

enum status tls_open(const char *certificate, const char *key, struct tls **tls_out,
                     struct error *error)
{
    struct tls *tls = mem_alloc(sizeof(*tls));
    CHECK(snprintf(tls->certificate, PATH_MAX, "%s", certificate) < PATH_MAX);
    CHECK(snprintf(tls->key, PATH_MAX, "%s", key) < PATH_MAX);
    enum status status = load(tls, &tls->context, error);
    if (status != STATUS_OK) {
        mem_free(tls);
        return status;
    }
    tls->expires_s = expiry_s(tls->context);
    *tls_out = tls;
    return STATUS_OK;
}

enum status tls_reload(struct tls *tls, struct error *error)
{
    SSL_CTX *context;
    TRY(load(tls, &context, error));
    SSL_CTX_free(tls->context); /* connections hold theirs */
    tls->context = context;
    tls->expires_s = expiry_s(context);
    log_info("certificate %s read again", tls->certificate);
    return STATUS_OK;
}

void tls_close(struct tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->context);
    mem_free(tls);
}

struct bufferevent *tls_accept(struct tls *tls, struct event_base *base)
{
    SSL *connection = SSL_new(tls->context);
    CHECK(connection != NULL);
    struct bufferevent *channel = bufferevent_openssl_socket_new(
        base, -1, connection, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    CHECK(channel != NULL);
    bufferevent_openssl_set_allow_dirty_shutdown(channel, 1);
    return channel;
}

bool tls_is_for(const struct tls *tls, const char *name)
{
    X509 *certificate = SSL_CTX_get0_certificate(tls->context);
    return certificate != NULL && X509_check_host(certificate, name, 0, 0, NULL) == 1;
}

int64_t tls_expires_s(const struct tls *tls)
{
    return tls->expires_s;
}
