/* SPDX-License-Identifier: Apache-2.0
 *
 * place: which ranks of a gang work in one and the same run directory.
 *
 * Ranks on one host, or over a shared file system, have one; ranks of several hosts have one a
 * host, under any path. In each the lowest rank *keeps* it: it writes manifests and removes what
 * they supersede, so that no directory has two writers or none.
 *
 * Found by trying: a rank creates a file, and whoever sees it is in its place. Rejected: host names
 * and device numbers, which say nothing about a network's file system.
 */
#ifndef TAILOR_WORKER_TRAINER_PLACE_H
#define TAILOR_WORKER_TRAINER_PLACE_H

#include "lib/status.h"
#include "worker/trainer/gang.h"

/* Sets gang->keeper. Collective; `dir` is there. */
enum status place_find(struct gang *gang, const char *dir, struct error *error);

#endif
