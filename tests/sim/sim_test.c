/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator at a size for every day: a few seeds of every scenario; tests/sim.sh runs it at
 * full size. That its invariants can fail is shown by tests/sim/mutations.sh.
 */
#include "tests/sim/sim.h"
#include "tests/test.h"

enum { SEEDS = 3 };

static struct sim_result runs(enum sim_scenario scenario, uint64_t seed, int32_t workers,
                              int32_t jobs, int32_t tenants)
{
    struct sim_options options = {.scenario = scenario,
                                  .seed = seed,
                                  .workers = workers,
                                  .jobs = jobs,
                                  .tenants = tenants,
                                  .slots = 4};
    struct sim_result result;
    sim_run(&options, &result);
    if (result.breaches.length > 0) {
        test_fail(__FILE__, __LINE__, "expected no breach, got:\n%s", result.breaches.data);
    }
    buf_release(&result.breaches);
    return result;
}

TEST(chaos_breaks_no_invariant)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim_result result = runs(SIM_CHAOS, seed, 20, 300, 8);
        /* It is chaos only if the failures that it is about took place. */
        EXPECT(result.retries > 10);
        EXPECT(result.fenced > 0);
        EXPECT(result.boots > 0);
        EXPECT(result.yields > 0);
        EXPECT(result.failed > 0);
        EXPECT(result.succeeded > 200);
    }
}

TEST(busy_tenants_get_their_shares)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim_result result = runs(SIM_BUSY, seed, 20, 400, 8);
        EXPECT(result.retries > 0);
        EXPECT(result.share_off > 0);
    }
}

TEST(a_hog_does_not_delay_visitors)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim_result result = runs(SIM_HOG, seed, 20, 300, 8);
        EXPECT(result.yields > 0);
        EXPECT_I64(300, result.succeeded);
    }
}

TEST(big_gangs_are_not_starved_by_small_jobs)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim_result result = runs(SIM_WHALE, seed, 20, 800, 8);
        EXPECT_I64(0, result.yields);
        EXPECT_I64(800, result.succeeded);
    }
}

TEST(an_absent_coordinator_ends_no_attempt)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim_result result = runs(SIM_AWAY, seed, 20, 300, 8);
        EXPECT(result.boots > 2);
        EXPECT_I64(300, result.succeeded);
    }
}

TEST(a_seed_gives_the_same_run_twice)
{
    struct sim_result first = runs(SIM_CHAOS, 7, 10, 100, 4);
    struct sim_result second = runs(SIM_CHAOS, 7, 10, 100, 4);
    EXPECT_I64(first.ended_ms, second.ended_ms);
    EXPECT_I64(first.starts, second.starts);
    EXPECT_I64(first.fenced, second.fenced);
}

TEST_MAIN()
