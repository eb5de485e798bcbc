/* SPDX-License-Identifier: Apache-2.0
 *
 * GPUs as the agent knows them, told by a stub of NVML (nvml_stub.c): which there are, who gets
 * one, and what puts one into quarantine. Time is an argument.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"
#include "tests/test.h"
#include "worker/agent/gpus.h"

static struct gpus gpus;
static char told[64]; /* the file that the stub reads; "": not made yet */
static int64_t now_ms;

static void tell(const char *lines)
{
    FILE *file = fopen(told, "w");
    CHECK(file != NULL && fputs(lines, file) >= 0 && fclose(file) == 0);
}

static void open_with(const char *lines)
{
    char library[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", library, sizeof(library) - 32);
    CHECK(length > 0);
    library[length] = '\0';
    strcpy(strrchr(library, '/'), "/libnvml_stub.so");
    if (told[0] == '\0') {
        snprintf(told, sizeof(told), "/tmp/tailor-gpus-XXXXXX");
        CHECK(close(mkstemp(told)) == 0);
    }
    setenv("TAILOR_NVML", library, 1);
    setenv("TAILOR_NVML_STUB", told, 1);
    unsetenv("CUDA_VISIBLE_DEVICES");
    tell(lines);
    now_ms = 1000000;
    gpus_open(&gpus);
}

static void close_all(void)
{
    gpus_close(&gpus);
    unlink(told);
    told[0] = '\0';
}

/* So much later, has the number of healthy ones changed? */
static bool turned(int64_t seconds)
{
    now_ms += seconds * 1000;
    return gpus_turn(&gpus, now_ms);
}

#define TWO "GPU-aaaa H100 500 0 0\nGPU-bbbb H100 600 0 0\n"

TEST(a_host_without_a_library_or_a_driver_has_no_gpus_and_no_failure)
{
    setenv("TAILOR_NVML", "/nowhere/libnvidia-ml.so.1", 1);
    gpus_open(&gpus);
    EXPECT_I64(0, gpus.count);
    EXPECT(!gpus_turn(&gpus, 1000));
    EXPECT_I64(-1, gpus_take(&gpus));
    gpus_close(&gpus);
    open_with(TWO);
    gpus_close(&gpus);
    unsetenv("TAILOR_NVML_STUB");
    gpus_open(&gpus);
    EXPECT_I64(0, gpus.count);
    close_all();
}

TEST(each_gpu_is_known_by_its_uuid_and_how_it_does)
{
    open_with(TWO);
    REQUIRE(gpus.count == 2);
    EXPECT_STR("GPU-bbbb", gpus.list[1].uuid);
    EXPECT_STR("H100", gpus.list[1].name);
    EXPECT_I64(INT64_C(80) << 30, gpus.list[1].memory_bytes);
    EXPECT_I64(INT64_C(600) << 20, gpus.list[1].used_bytes);
    EXPECT_I64(87, gpus.list[1].busy_percent);
    EXPECT_I64(61, gpus.list[1].celsius);
    EXPECT_I64(-1, gpus.list[1].watts);
    EXPECT_I64(2, gpus_healthy(&gpus));
    close_all();
}

TEST(gpus_of_another_kind_and_those_that_cannot_be_asked_are_left_out)
{
    open_with("GPU-aaaa H100 0 0 0\nGPU-bbbb L4 0 0 0\nGPU-cccc lost 0 0 0\nGPU-dddd H100 0 0 0\n");
    REQUIRE(gpus.count == 2);
    EXPECT_STR("GPU-dddd", gpus.list[1].uuid);
    close_all();
}

TEST(cuda_visible_devices_names_the_ones_that_count_by_number_or_uuid)
{
    static const struct {
        const char *visible;
        int count;
        const char *first;
    } cases[] = {{"1", 1, "GPU-bbbb"},
                 {"1,0", 2, "GPU-aaaa"},
                 {"GPU-bbbb", 1, "GPU-bbbb"},
                 {"GPU-aa,7", 1, "GPU-aaaa"},
                 {"", 0, ""},
                 {"GPU-cccc", 0, ""}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        open_with(TWO);
        gpus_close(&gpus);
        setenv("CUDA_VISIBLE_DEVICES", cases[i].visible, 1);
        gpus_open(&gpus);
        EXPECT_I64(cases[i].count, gpus.count);
        EXPECT_STR(cases[i].first, gpus.list[0].uuid);
        close_all();
    }
}

TEST(a_rank_gets_a_free_gpu_and_rather_one_whose_memory_has_come_back)
{
    open_with(TWO);
    EXPECT_I64(0, gpus_take(&gpus));
    EXPECT_I64(1, gpus_take(&gpus));
    EXPECT_I64(-1, gpus_take(&gpus));
    gpus_give(&gpus, 0, now_ms);
    tell("GPU-aaaa H100 9000 0 0\nGPU-bbbb H100 600 0 0\n");
    turned(3);
    gpus_give(&gpus, 1, now_ms);
    turned(3);
    EXPECT_I64(1, gpus_take(&gpus));
    EXPECT_I64(0, gpus_take(&gpus)); /* better than none, so soon */
    close_all();
}

TEST(an_uncorrected_memory_error_is_quarantine_until_the_worker_starts_again)
{
    open_with(TWO);
    EXPECT(!turned(3));
    tell("GPU-aaaa H100 500 2 0\nGPU-bbbb H100 600 0 0\n");
    EXPECT(turned(3));
    EXPECT_I64(1, gpus_healthy(&gpus));
    EXPECT_CONTAINS("2 uncorrected memory errors", gpus.list[0].fault);
    EXPECT_I64(1, gpus_take(&gpus));
    EXPECT_I64(-1, gpus_take(&gpus));
    tell(TWO);
    EXPECT(!turned(3));
    EXPECT_I64(1, gpus_healthy(&gpus));
    gpus_close(&gpus);
    gpus_open(&gpus);
    EXPECT_I64(2, gpus_healthy(&gpus));
    close_all();
}

TEST(an_xid_is_quarantine_unless_a_program_brings_it_on_itself)
{
    open_with(TWO);
    tell("GPU-aaaa H100 500 0 31\nGPU-bbbb H100 600 0 43\n");
    EXPECT(!turned(3));
    EXPECT_I64(2, gpus_healthy(&gpus));
    tell("GPU-aaaa H100 500 0 31\nGPU-bbbb H100 600 0 79\n");
    EXPECT(turned(3));
    EXPECT_STR("", gpus.list[0].fault);
    EXPECT_CONTAINS("Xid 79", gpus.list[1].fault);
    EXPECT(!turned(3));
    close_all();
}

TEST(memory_that_does_not_come_back_from_a_rank_is_quarantine_until_it_does)
{
    open_with(TWO);
    EXPECT_I64(0, gpus_take(&gpus));
    tell("GPU-aaaa H100 40000 0 0\nGPU-bbbb H100 600 0 0\n");
    EXPECT(!turned(60)); /* it has a rank */
    gpus_give(&gpus, 0, now_ms);
    EXPECT(!turned(5)); /* a driver takes a moment */
    EXPECT(turned(6));
    EXPECT_CONTAINS("38.6 GiB did not come back", gpus.list[0].fault);
    EXPECT_I64(1, gpus_take(&gpus));
    EXPECT_I64(-1, gpus_take(&gpus));
    tell("GPU-aaaa H100 550 0 0\nGPU-bbbb H100 600 0 0\n");
    EXPECT(turned(3));
    EXPECT_I64(0, gpus_take(&gpus));
    close_all();
}

TEST_MAIN()
