/* SPDX-License-Identifier: Apache-2.0
 *
 * tls: HTTPS, by OpenSSL under libevent's bufferevents: a certificate with its chain and its key,
 * both PEM files, TLS 1.2 at least.
 *
 * tls_reload reads both files again (SIGHUP): new connections get the new certificate, old ones
 * keep theirs. When the files do not fit together, the old certificate stays.
 */
#ifndef TAILOR_COORDINATOR_API_TLS_H
#define TAILOR_COORDINATOR_API_TLS_H

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/status.h"

struct tls;

enum status tls_open(const char *certificate, const char *key, struct tls **tls_out,
                     struct error *error);
enum status tls_reload(struct tls *tls, struct error *error);
void tls_close(struct tls *tls);
/* The server's side of a connection to come. */
struct bufferevent *tls_accept(struct tls *tls, struct event_base *base);
/* Is the certificate one for this name? */
bool tls_is_for(const struct tls *tls, const char *name);
int64_t tls_expires_s(const struct tls *tls); /* since 1970 */

#endif
