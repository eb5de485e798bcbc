/* SPDX-License-Identifier: Apache-2.0
 *
 * sim_main: sim [--scenario NAME] [--seed N] [--seeds N] [--workers N] [--jobs N] [--tenants N]
 * [--slots N] [--trace]: runs seeds one after another, prints every breach with its seed, and a
 * last line "N passed, N failed".
 */
#include <string.h>

#include "lib/check.h"
#include "lib/option.h"
#include "tests/sim/sim.h"

struct arguments {
    const char *scenario;
    int64_t seed, seeds, workers, jobs, tenants, slots;
    bool trace, quiet;
};

static const struct option_row rows[] = {
    {"scenario", 0, OPTION_STRING, offsetof(struct arguments, scenario), "NAME",
     "chaos, busy, hog, whale or away; all by default"},
    {"seed", 0, OPTION_I64, offsetof(struct arguments, seed), "N", "the first seed (1)"},
    {"seeds", 0, OPTION_I64, offsetof(struct arguments, seeds), "N", "how many (1)"},
    {"workers", 0, OPTION_I64, offsetof(struct arguments, workers), "N", "1000"},
    {"jobs", 0, OPTION_I64, offsetof(struct arguments, jobs), "N", "10000"},
    {"tenants", 0, OPTION_I64, offsetof(struct arguments, tenants), "N", "200"},
    {"slots", 0, OPTION_I64, offsetof(struct arguments, slots), "N", "of each worker (4)"},
    {"trace", 0, OPTION_FLAG, offsetof(struct arguments, trace), NULL, "print every change"},
    {"quiet", 'q', OPTION_FLAG, offsetof(struct arguments, quiet), NULL, "no line for each run"},
};

static bool run(const struct arguments *arguments, enum sim_scenario scenario, int64_t seed)
{
    struct sim_options options = {.scenario = scenario,
                                  .seed = (uint64_t)seed,
                                  .workers = (int32_t)arguments->workers,
                                  .jobs = (int32_t)arguments->jobs,
                                  .tenants = (int32_t)arguments->tenants,
                                  .slots = (int32_t)arguments->slots,
                                  .trace = arguments->trace ? stdout : NULL};
    struct sim_result result;
    sim_run(&options, &result);
    bool good = result.breaches.length == 0;
    if (!good) {
        fputs(result.breaches.data, stdout);
    }
    if (!arguments->quiet || !good) {
        printf("%s %s seed %lld: %lld fake seconds, %lld starts, %lld retries, %lld yields, %lld "
               "fenced, %lld boots; %lld succeeded, %lld failed, %lld cancelled; wait %.2f of its "
               "bound, share off by %.3f, longest tick %.1f ms\n",
               good ? "ok" : "FAIL", sim_scenario_name(scenario), (long long)seed,
               (long long)result.ended_ms / 1000, (long long)result.starts,
               (long long)result.retries, (long long)result.yields, (long long)result.fenced,
               (long long)result.boots, (long long)result.succeeded, (long long)result.failed,
               (long long)result.cancelled, result.wait_ratio, result.share_off, result.cycle_ms);
        fflush(stdout);
    }
    buf_release(&result.breaches);
    return good;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {
        .seed = 1, .seeds = 1, .workers = 1000, .jobs = 10000, .tenants = 200, .slots = 4};
    struct option_list positional = {0};
    struct error error;
    enum status status =
        option_parse(rows, sizeof(rows) / sizeof(*rows), argc - 1, (const char *const *)argv + 1,
                     &arguments, &positional, &error);
    if (status == STATUS_CANCELLED) {
        option_print_help(stdout, rows, sizeof(rows) / sizeof(*rows));
        return 0;
    }
    if (status != STATUS_OK) {
        fatal(status_exit_code(status), "%s", error.text);
    }
    int64_t passed = 0, failed = 0;
    for (int64_t seed = arguments.seed; seed < arguments.seed + arguments.seeds; seed++) {
        for (int s = 0; s < SIM_SCENARIOS; s++) {
            const char *name = sim_scenario_name((enum sim_scenario)s);
            if (!arguments.scenario || strcmp(arguments.scenario, name) == 0) {
                bool good = run(&arguments, (enum sim_scenario)s, seed);
                passed += good;
                failed += !good;
            }
        }
    }
    printf("%lld passed, %lld failed\n", (long long)passed, (long long)failed);
    return failed > 0 || passed == 0;
}
