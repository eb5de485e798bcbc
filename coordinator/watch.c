/* SPDX-License-Identifier: Apache-2.0
 *
 * watch: waking those who follow. One zero-delay event a turn, however much happened in it.
 */
#include "coordinator/state.h"
#include "lib/check.h"

static void on_wake(evutil_socket_t fd, short what, void *argument)
{
    struct coordinator *coordinator = argument;
    (void)fd, (void)what;
    for (struct watch *watch = coordinator->watches; watch != NULL;) {
        struct watch *next = watch->next;
        if (watch->woken) {
            watch->woken = false;
            watch->wake(watch->argument); /* may stop this watch, and no other */
        }
        watch = next;
    }
}

void watch_wake(struct coordinator *coordinator, enum watch_kind kind, int64_t job)
{
    bool any = false;
    for (struct watch *watch = coordinator->watches; watch != NULL; watch = watch->next)
        if (watch->kind == kind && (watch->job == 0 || watch->job == job))
            any = watch->woken = true;
    if (any && !coordinator->closing)
        event_base_once(coordinator->base, -1, EV_TIMEOUT, on_wake, coordinator,
                        &(struct timeval){0});
}

void coordinator_watch_start(struct coordinator *coordinator, struct watch *watch)
{
    watch->woken = false;
    watch->next = coordinator->watches;
    watch->link = &coordinator->watches;
    if (watch->next != NULL)
        watch->next->link = &watch->next;
    coordinator->watches = watch;
}

void coordinator_watch_stop(struct coordinator *coordinator, struct watch *watch)
{
    (void)coordinator;
    CHECK(watch->link != NULL);
    *watch->link = watch->next;
    if (watch->next != NULL)
        watch->next->link = watch->link;
    watch->link = NULL;
}
