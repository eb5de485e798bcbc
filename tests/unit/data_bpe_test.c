/* SPDX-License-Identifier: Apache-2.0
 *
 * Work of merging is counted, not timed: no word is worse than n log n, whoever made it.
 */
#include <math.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/limits.h"
#include "tests/test.h"
#include "worker/data/bpe.h"

enum { DOUBLINGS = 12, SMALL = 64 * KIB, LARGE = MIB };

static const char *const UNITS[] = {"a", "ab", "abb", "aab", "ba"};

/* a and b; aa, aaaa, … and ab, abab, …, each the doubling of the one before, the ranks of both
 * kinds in turn: whatever is merged makes the next merge possible on both sides. */
static void hostile_merges(struct bpe *bpe)
{
    int32_t run = 0, alternation = 3, next = 4;
    bpe->byte_level = true;
    bpe_create(bpe);
    bpe->bytes['a'] = 0;
    bpe->bytes['b'] = 1;
    bpe_add_merge(bpe, 0, 1, 0, alternation);
    for (uint32_t i = 0; i < DOUBLINGS; i++) {
        bpe_add_merge(bpe, run, run, 2 * i + 2, next);
        run = next++;
        bpe_add_merge(bpe, alternation, alternation, 2 * i + 1, next);
        alternation = next++;
    }
}

static uint64_t steps_of(const struct bpe *bpe, const char *unit, size_t size)
{
    struct bpe_scratch scratch = {0};
    struct ids ids = {0};
    char *word = mem_alloc(size);
    for (size_t i = 0; i < size; i++) {
        word[i] = unit[i % strlen(unit)];
    }
    bpe_word(bpe, &scratch, word, size, &ids);
    EXPECT(ids.count > 0 && ids.count < size);
    uint64_t steps = scratch.steps;
    mem_free(word);
    ids_release(&ids);
    bpe_scratch_release(&scratch);
    return steps;
}

/* At most n - 1 merges put in two entries each: under 3n entries, each moved log2(3n) levels down
 * when it leaves and as many up when it comes. */
TEST(the_work_of_merging_stays_below_n_log_n_and_doubles_with_the_word)
{
    struct bpe bpe = {0};
    hostile_merges(&bpe);
    for (size_t u = 0; u < sizeof(UNITS) / sizeof(UNITS[0]); u++) {
        double before = 0;
        for (size_t size = SMALL; size <= LARGE; size *= 2) {
            double steps = (double)steps_of(&bpe, UNITS[u], size), n = (double)size;
            double bound = 3 * n * (1 + 2 * log2(3 * n));
            if (!(steps >= n / 4 && steps <= bound && (before == 0 || steps <= 2.3 * before))) {
                test_fail(__FILE__, __LINE__,
                          "%zu bytes of \"%s\": expected at most %.0f steps and 2.3 times the %.0f "
                          "of half as many, got %.0f",
                          size, UNITS[u], bound, before, steps);
            }
            before = steps;
        }
    }
    bpe_release(&bpe);
}

TEST_MAIN()
