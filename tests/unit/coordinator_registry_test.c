/* SPDX-License-Identifier: Apache-2.0
 *
 * registry, fair_share, quota.
 */
#include <math.h>
#include <time.h>

#include "coordinator/fair_share.h"
#include "coordinator/quota.h"
#include "coordinator/registry.h"
#include "tests/test.h"

static const struct worker_offer offer = {.incarnation = 1, .slots = 4, .pool = 1};

static struct registry with_worker(uint32_t *index_out)
{
    struct registry registry;
    registry_init(&registry, 10000, 0);
    EXPECT_I64(REGISTRY_NEW, registry_hear(&registry, 77, &offer, 0, index_out));
    return registry;
}

TEST(a_silent_worker_is_lost_after_lost_after_and_not_before)
{
    uint32_t worker, lost[4];
    struct registry registry = with_worker(&worker);
    for (int64_t now = 1000; now < 10000; now += 1000) {
        EXPECT_I64(0, registry_tick(&registry, now, lost, 4));
    }
    EXPECT_I64(1, registry_tick(&registry, 10000, lost, 4));
    EXPECT_I64(worker, lost[0]);
    EXPECT_I64(WORKER_LOST, registry.workers[worker].state);
    EXPECT_I64(0, registry_tick(&registry, 11000, lost, 4));
    EXPECT_I64(REGISTRY_BACK, registry_hear(&registry, 77, &offer, 11500, &worker));
    EXPECT_I64(WORKER_UP, registry.workers[worker].state);
    registry_release(&registry);
}

TEST(silence_between_two_ticks_is_measured_from_the_moment_it_was_heard)
{
    uint32_t worker, lost[4];
    struct registry registry = with_worker(&worker);
    registry_tick(&registry, 500, lost, 4);
    registry_hear(&registry, 77, &offer, 1400, &worker);
    for (int64_t now = 1500; now <= 10500; now += 1000) {
        registry_tick(&registry, now, lost, 4);
    }
    EXPECT_I64(WORKER_UP, registry.workers[worker].state); /* 9100 ms */
    EXPECT_I64(1, registry_tick(&registry, 11400, lost, 4));
    registry_release(&registry);
}

TEST(an_hour_in_which_the_coordinator_took_no_turn_is_no_silence)
{
    uint32_t worker, lost[4];
    struct registry registry = with_worker(&worker);
    registry_tick(&registry, 1000, lost, 4);
    EXPECT_I64(0, registry_tick(&registry, 3600000, lost, 4));
    EXPECT_I64(WORKER_UP, registry.workers[worker].state);
    registry_release(&registry);
}

TEST(slots_are_held_until_they_are_given_back)
{
    uint32_t index, lost[4];
    struct registry registry = with_worker(&index);
    struct worker *worker = &registry.workers[index];
    worker_take(worker, 5, 1, 3);
    EXPECT_I64(1, worker_free(worker));
    for (int64_t now = 1000; now <= 10000; now += 1000) {
        registry_tick(&registry, now, lost, 4);
    }
    EXPECT_I64(0, worker_free(worker)); /* lost */
    registry_hear(&registry, 77, &offer, 11000, &index);
    EXPECT_I64(1, worker_free(worker)); /* back, and still held */
    EXPECT_I64(0, worker_give(worker, 5, 2));
    EXPECT_I64(3, worker_give(worker, 5, 1));
    EXPECT_I64(0, worker_give(worker, 5, 1));
    EXPECT_I64(4, worker_free(worker));
    registry_drain(&registry, index, true);
    EXPECT_I64(0, worker_free(worker));
    registry_release(&registry);
}

TEST(another_incarnation_holds_nothing)
{
    uint32_t index;
    struct registry registry = with_worker(&index);
    worker_take(&registry.workers[index], 5, 1, 3);
    struct worker_offer again = offer;
    again.incarnation = 2;
    EXPECT_I64(REGISTRY_RESTARTED, registry_hear(&registry, 77, &again, 100, &index));
    EXPECT_I64(4, worker_free(&registry.workers[index]));
    registry_release(&registry);
}

TEST(a_forgotten_worker_makes_room_and_may_come_back)
{
    uint32_t first, second, index;
    struct registry registry = with_worker(&first);
    registry_forget(&registry, first);
    EXPECT(!registry_find(&registry, 77, &index));
    EXPECT_I64(REGISTRY_NEW, registry_hear(&registry, 78, &offer, 0, &second));
    EXPECT_I64(first, second);
    EXPECT_I64(REGISTRY_NEW, registry_hear(&registry, 77, &offer, 0, &index));
    EXPECT(index != second);
    EXPECT(registry_find(&registry, 78, &index) && index == second);
    registry_release(&registry);
}

TEST(the_oldest_warm_object_makes_room)
{
    struct worker worker = {0};
    for (uint32_t object = 1; object <= REGISTRY_WARM_MAX; object++) {
        worker_warm(&worker, object);
    }
    worker_warm(&worker, 1); /* used again */
    worker_warm(&worker, 99);
    EXPECT_I64(REGISTRY_WARM_MAX, worker.warm_count);
    EXPECT_I64(3, worker.warm[0]);
    EXPECT_I64(1, worker.warm[REGISTRY_WARM_MAX - 2]);
    EXPECT_I64(99, worker.warm[REGISTRY_WARM_MAX - 1]);
}

TEST(usage_fades_by_half_every_half_life)
{
    struct fair_share share = {.usage = 8000, .weight = 2};
    fair_share_charge(&share, 0, 3000, 1000);
    EXPECT_CLOSE(1000, share.usage, 1e-9);
    EXPECT_CLOSE(500, fair_share_level(&share), 1e-9);
    fair_share_charge(&share, 5, 2000, 1000); /* the past changes nothing */
    EXPECT_CLOSE(1000, share.usage, 1e-9);
}

TEST(usage_in_small_steps_is_usage_in_one)
{
    struct fair_share once = {.weight = 1}, often = {.weight = 1};
    fair_share_charge(&once, 3, 7000, 1000);
    for (int64_t now = 7; now <= 7000; now += 7) {
        fair_share_charge(&often, 3, now, 1000);
    }
    EXPECT_CLOSE(once.usage, often.usage, 1e-6);
    EXPECT_CLOSE(3 * 1000 / M_LN2, once.usage, 50); /* where it settles */
}

TEST(a_newcomer_enters_level_with_the_least_served)
{
    struct fair_share share = {.weight = 2};
    fair_share_enter(&share, 700);
    EXPECT_CLOSE(700, fair_share_level(&share), 1e-9);
    fair_share_enter(&share, 300);
    EXPECT_CLOSE(700, fair_share_level(&share), 1e-9);
}

TEST(months_are_those_of_the_calendar)
{
    for (int64_t day = -200000; day < 200000; day += 13) {
        time_t seconds = day * 86400 + 86399;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        int64_t expected = (tm.tm_year + 1900) * 12 + tm.tm_mon;
        if (quota_month(seconds * 1000) != expected) {
            test_fail(__FILE__, __LINE__, "day %lld: expected month %lld, got %d", (long long)day,
                      (long long)expected, quota_month(seconds * 1000));
            return;
        }
    }
}

TEST(a_quota_bounds_jobs_slots_and_hours)
{
    struct quota quota = {.running_slots_max = 6, .queued_jobs_max = 2, .month_slot_hours_max = 1};
    struct quota_use use = {0};
    struct error error;
    EXPECT_I64(STATUS_OK, quota_admit(&quota, 1, 6, &error));
    EXPECT_I64(STATUS_LIMIT, quota_admit(&quota, 2, 1, &error));
    EXPECT_CONTAINS("quota is 2", error.text);
    EXPECT_I64(STATUS_LIMIT, quota_admit(&quota, 0, 7, &error));
    EXPECT_CONTAINS("needs 7 slots at once", error.text);
    EXPECT_I64(2, quota_slots_left(&quota, &use, 4, 0));
    EXPECT_I64(0, quota_slots_left(&quota, &use, 9, 0));
    quota_charge(&use, 2, 1799999, 1000);
    EXPECT_I64(6, quota_slots_left(&quota, &use, 0, 1000));
    quota_charge(&use, 2, 1, 1000);
    EXPECT_I64(0, quota_slots_left(&quota, &use, 0, 1000));
    EXPECT_I64(6, quota_slots_left(&quota, &use, 0, INT64_C(31) * 86400000)); /* February */
    struct quota none = {0};
    EXPECT_I64(INT32_MAX, quota_slots_left(&none, &use, 1000, 1000));
    EXPECT_I64(STATUS_OK, quota_admit(&none, 1000000, 1000, &error));
}

TEST_MAIN()
