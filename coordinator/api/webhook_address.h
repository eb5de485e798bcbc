/* SPDX-License-Identifier: Apache-2.0
 *
 * webhook_address: where webhooks may post to. A tenant names the URL, and the coordinator stands
 * in the platform's own network: without a bound it would knock for the tenant at doors that the
 * tenant cannot reach (server-side request forgery). So only https and only addresses of the
 * public internet are allowed, unless tailord was started with --webhook-private.
 *
 * webhook_url_check refuses early, with a sentence for who adds it. What counts is the address that
 * is really connected to, after every lookup: webhook_address_is_public, asked by webhook_post.c.
 */
#ifndef TAILOR_COORDINATOR_API_WEBHOOK_ADDRESS_H
#define TAILOR_COORDINATOR_API_WEBHOOK_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "lib/status.h"

/* STATUS_USAGE: no URL, or one with a name and password in it; STATUS_UNSUPPORTED: http or a
 * private address, and not `private`. */
enum status webhook_url_check(const char *url, bool private, struct error *error);
/* False for loopback, link-local, private, shared, documentation, multicast and reserved addresses,
 * also inside an IPv6 address that maps or tunnels to such a one, and for other families. */
bool webhook_address_is_public(const struct sockaddr *address);

#endif
