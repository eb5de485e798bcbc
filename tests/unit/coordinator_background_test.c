/* SPDX-License-Identifier: Apache-2.0
 *
 * background: what a full disk delays, what it refuses, and in which order things end.
 */
#include <stdatomic.h>
#include <string.h>

#include "coordinator/background.h"
#include "tests/test.h"

/* A "database": works append letters; end() moves them to `disk`, or fails. */
struct tape {
    char pending[64], disk[64];
    size_t marked;
    atomic_int failures; /* of the next ends */
    int begins, ends;
    bool open;            /* a batch is */
    int alone, not_alone; /* works that must be alone, and were or were not */
};

static struct tape tape;
static char done[64], refused[64];

static void add_letter(char *text, char letter)
{
    size_t length = strlen(text);
    text[length] = letter;
    text[length + 1] = '\0';
}

static enum status tape_begin(void *context, struct error *error)
{
    (void)context, (void)error;
    tape.pending[0] = '\0';
    tape.begins++;
    tape.open = true;
    return STATUS_OK;
}

static enum status tape_mark(void *context, struct error *error)
{
    (void)context, (void)error;
    tape.marked = strlen(tape.pending);
    return STATUS_OK;
}

static enum status tape_keep(void *context, struct error *error)
{
    (void)context, (void)error;
    return STATUS_OK;
}

static enum status tape_undo(void *context, struct error *error)
{
    (void)context, (void)error;
    tape.pending[tape.marked] = '\0';
    return STATUS_OK;
}

static enum status tape_end(void *context, struct error *error)
{
    (void)context;
    if (tape.failures > 0) {
        tape.failures--;
        return error_set(error, STATUS_IO, "the tape is full");
    }
    tape.ends++;
    tape.open = false;
    for (const char *letter = tape.pending; *letter != '\0'; letter++)
        add_letter(tape.disk, *letter);
    return STATUS_OK;
}

static void tape_abandon(void *context)
{
    (void)context;
    tape.pending[0] = '\0';
}

static const struct background_batch BATCH = {tape_begin, tape_mark, tape_keep,
                                              tape_undo,  tape_end,  tape_abandon};

struct letter {
    struct work work;
    char letter;
    enum status outcome;
};

static enum status run_letter(void *context, void *argument, struct error *error)
{
    const struct letter *letter = argument;
    (void)context;
    add_letter(tape.pending, letter->letter);
    if (letter->outcome != STATUS_OK)
        return error_set(error, letter->outcome, "letter %c is not liked", letter->letter);
    return STATUS_OK;
}

static enum status run_read(void *context, void *argument, struct error *error)
{
    (void)context, (void)argument, (void)error;
    return STATUS_OK;
}

static enum status run_alone(void *context, void *argument, struct error *error)
{
    (void)context, (void)argument, (void)error;
    tape.alone += !tape.open;
    tape.not_alone += tape.open;
    return STATUS_OK;
}

static void on_letter(void *argument, enum status status, const struct error *error)
{
    const struct letter *letter = argument;
    add_letter(status == STATUS_OK ? done : refused, letter->letter);
    if (status == STATUS_IO)
        EXPECT_CONTAINS("the tape is full", error->text);
}

static void letter_add(struct background *background, struct letter *letter, enum work_kind kind,
                       char name, enum status outcome)
{
    *letter = (struct letter){.letter = name, .outcome = outcome};
    letter->work = (struct work){.kind = kind,
                                 .run = kind == WORK_READ    ? run_read
                                        : kind == WORK_ALONE ? run_alone
                                                             : run_letter,
                                 .done = on_letter,
                                 .argument = letter};
    background_add(background, &letter->work);
}

static struct event_base *begin(struct background **background_out)
{
    tape = (struct tape){0};
    done[0] = refused[0] = '\0';
    struct event_base *base = event_base_new();
    *background_out = background_start("the tape", base, NULL, &BATCH);
    return base;
}

static void turn_until(struct event_base *base, struct background *background)
{
    while (background_waiting(background) > 0)
        event_base_loop(base, EVLOOP_ONCE);
}

TEST(works_are_done_in_order_and_one_that_fails_leaves_nothing)
{
    struct background *background;
    struct event_base *base = begin(&background);
    struct letter letters[4];
    letter_add(background, &letters[0], WORK_MUST, 'a', STATUS_OK);
    letter_add(background, &letters[1], WORK_WRITE, 'b', STATUS_CONFLICT);
    letter_add(background, &letters[2], WORK_READ, 'r', STATUS_OK);
    letter_add(background, &letters[3], WORK_WRITE, 'c', STATUS_OK);
    turn_until(base, background);
    EXPECT_STR("arc", done);
    EXPECT_STR("b", refused);
    EXPECT_STR("ac", tape.disk);
    background_stop(background);
    event_base_free(base);
}

TEST(a_full_disk_refuses_what_can_be_told_and_keeps_what_must_be_in_its_order)
{
    struct background *background;
    struct event_base *base = begin(&background);
    struct letter letters[5];
    struct error error;
    tape.failures = 1000;
    letter_add(background, &letters[0], WORK_MUST, 'a', STATUS_OK);
    letter_add(background, &letters[1], WORK_WRITE, 'b', STATUS_OK);
    letter_add(background, &letters[2], WORK_MUST, 'c', STATUS_OK);
    while (strlen(refused) == 0)
        event_base_loop(base, EVLOOP_ONCE);
    EXPECT(background_stuck(background, &error));
    EXPECT_STR("the tape is full", error.text);
    EXPECT_STR("", done); /* nobody was told anything else */
    EXPECT_STR("", tape.disk);
    letter_add(background, &letters[3], WORK_MUST, 'd', STATUS_OK);
    tape.failures = 0;
    turn_until(base, background);
    EXPECT_STR("acd", done);
    EXPECT_STR("acd", tape.disk);
    EXPECT_STR("b", refused);
    EXPECT(!background_stuck(background, &error));
    background_stop(background);
    event_base_free(base);
}

TEST(what_is_asked_for_while_the_disk_is_full_is_refused_and_what_must_be_waits_in_its_order)
{
    struct background *background;
    struct letter letters[4];
    struct error error;
    struct event_base *base = begin(&background);
    tape.failures = 1000000;
    letter_add(background, &letters[0], WORK_MUST, 'a', STATUS_OK);
    while (!background_stuck(background, &error))
        event_base_loop(base, EVLOOP_NONBLOCK);
    letter_add(background, &letters[1], WORK_MUST, 'b', STATUS_OK);
    letter_add(background, &letters[2], WORK_WRITE, 'c', STATUS_OK);
    letter_add(background, &letters[3], WORK_MUST, 'd', STATUS_OK);
    while (refused[0] == '\0') /* while it is full still */
        event_base_loop(base, EVLOOP_NONBLOCK);
    EXPECT_STR("c", refused);
    EXPECT_STR("", done);
    tape.failures = 0;
    turn_until(base, background);
    EXPECT_STR("abd", done);
    EXPECT_STR("abd", tape.disk);
    background_stop(background);
    event_base_free(base);
}

TEST(stopping_with_a_full_disk_gives_up_and_says_so)
{
    struct background *background;
    struct event_base *base = begin(&background);
    struct letter letters[2];
    tape.failures = 1000000;
    letter_add(background, &letters[0], WORK_MUST, 'a', STATUS_OK);
    letter_add(background, &letters[1], WORK_WRITE, 'b', STATUS_OK);
    background_stop(background);
    EXPECT_STR("", done);
    EXPECT_I64(2, (int64_t)strlen(refused));
    event_base_free(base);
}

TEST(reads_alone_need_no_transaction)
{
    struct background *background;
    struct event_base *base = begin(&background);
    struct letter letter;
    letter_add(background, &letter, WORK_READ, 'r', STATUS_OK);
    turn_until(base, background);
    EXPECT_STR("r", done);
    EXPECT_I64(0, tape.begins);
    background_stop(background);
    event_base_free(base);
}

TEST(what_must_be_alone_is_in_no_batch_whatever_waits_around_it)
{
    enum { ROUNDS = 100 };
    static struct letter letters[ROUNDS][3];
    struct background *background;
    struct event_base *base = begin(&background);
    for (int i = 0; i < ROUNDS; i++) {
        letter_add(background, &letters[i][0], WORK_MUST, i == 0 ? 'a' : '\0', STATUS_OK);
        letter_add(background, &letters[i][1], WORK_ALONE, '\0', STATUS_OK);
        letter_add(background, &letters[i][2], WORK_MUST, i == 0 ? 'b' : '\0', STATUS_OK);
    }
    turn_until(base, background);
    EXPECT_I64(ROUNDS, tape.alone);
    EXPECT_I64(0, tape.not_alone);
    EXPECT_STR("ab", tape.disk); /* and keeps its place */
    background_stop(background);
    event_base_free(base);
}

TEST_MAIN()
