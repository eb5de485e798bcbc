/* SPDX-License-Identifier: Apache-2.0
 *
 * rendezvous: what whoever starts the ranks of an attempt tells each of them.
 *
 *     tailor-trainer train … --rank R --ranks N --comm shm|tcp --rendezvous WHERE --term T
 *
 * WHERE is by shm a name of [A-Za-z0-9._-] that is unique on the host, by tcp every rank's
 * "host:port", in order, with commas between.
 */
#ifndef TAILOR_PROTO_RENDEZVOUS_H
#define TAILOR_PROTO_RENDEZVOUS_H

/* The term's secret is in the environment, as hex digits: not on the command line, which every user
 * of a host may read. */
#define RENDEZVOUS_SECRET_VARIABLE "TAILOR_GANG_SECRET"

enum { RENDEZVOUS_SECRET_BYTES = 32, RENDEZVOUS_RANKS_MAX = 64 };

#endif
