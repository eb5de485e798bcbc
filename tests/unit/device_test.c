/* SPDX-License-Identifier: Apache-2.0
 *
 * Which implementation a device gets, and what it says about itself.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "worker/ops/ops.h"

static enum status open_isa(const char *isa, struct device **device_out, struct error *error)
{
    return device_open(&(struct device_options){.isa = isa, .threads = 1}, device_out, error);
}

TEST(an_unknown_instruction_set_is_refused_with_the_known_ones)
{
    struct device *device = NULL;
    struct error error;
    EXPECT_I64(STATUS_USAGE, open_isa("sse9", &device, &error));
    EXPECT_STR("unknown instruction set \"sse9\": use auto, cpu, cuda, amx, avx512, avx2 or ref",
               error.text);
    EXPECT(device == NULL);
}

TEST(a_forced_instruction_set_is_what_runs_or_an_error_that_names_what_is_missing)
{
    static const char *const isas[] = {"ref", "avx2", "avx512", "amx"};
    for (size_t i = 0; i < 4; i++) {
        struct device *device;
        struct error error;
        enum status status = open_isa(isas[i], &device, &error);
        if (status == STATUS_OK) {
            EXPECT_STR(isas[i], device->ops->name);
            device_close(device);
            continue;
        }
        EXPECT_I64(STATUS_UNSUPPORTED, status);
        EXPECT_CONTAINS(isas[i], error.text);
        EXPECT_CONTAINS("lacks a", error.text);
    }
}

TEST(auto_takes_the_best_that_can_be_forced)
{
    static const char *const best_first[] = {"amx", "avx512", "avx2", "ref"};
    struct device *chosen;
    struct device *forced;
    struct error error;
    REQUIRE(open_isa("auto", &chosen, &error) == STATUS_OK);
    for (size_t i = 0; i < 4; i++) {
        if (open_isa(best_first[i], &forced, &error) == STATUS_OK) {
            EXPECT_STR(best_first[i], chosen->ops->name);
            device_close(forced);
            break;
        }
    }
    device_close(chosen);
}

TEST(cpu_is_the_best_processor_and_cuda_is_refused_where_it_is_not_linked_in)
{
    struct device *best, *cpu, *gpu = NULL;
    struct error error;
    REQUIRE(open_isa("auto", &best, &error) == STATUS_OK);
    REQUIRE(open_isa("cpu", &cpu, &error) == STATUS_OK);
    EXPECT_STR(best->ops->name, cpu->ops->name);
    EXPECT(device_shares_memory(cpu));
    EXPECT_I64(STATUS_UNSUPPORTED, open_isa("cuda", &gpu, &error));
    EXPECT_CONTAINS("run tailor-trainer-cuda", error.text);
    EXPECT(gpu == NULL);
    device_close(best);
    device_close(cpu);
}

TEST(the_environment_decides_where_nobody_asked)
{
    struct device *device;
    struct error error;
    setenv("TAILOR_ISA", "ref", 1);
    REQUIRE(open_isa(NULL, &device, &error) == STATUS_OK);
    EXPECT_STR("ref", device->ops->name);
    device_close(device);

    setenv("TAILOR_ISA", "sse9", 1);
    EXPECT_I64(STATUS_USAGE, open_isa(NULL, &device, &error));
    REQUIRE(open_isa("ref", &device, &error) == STATUS_OK);
    device_close(device);

    setenv("TAILOR_ISA", "", 1);
    REQUIRE(open_isa(NULL, &device, &error) == STATUS_OK);
    device_close(device);
    unsetenv("TAILOR_ISA");
}

TEST(numerics_name_what_the_bits_depend_on)
{
    struct device device = {.ops = &ops_ref, .dtype = DTYPE_FP32};
    EXPECT_STR("fp32-chain-2/ref", device_numerics(&device));
    device.dtype = DTYPE_BF16;
    EXPECT_STR("bf16-emulated-chain-2/ref", device_numerics(&device));
    device.ops = &ops_avx2;
    EXPECT_STR("bf16-emulated-chain-2", device_numerics(&device));
    device.ops = &ops_avx512;
    device.dtype = DTYPE_FP32;
    EXPECT_STR("fp32-chain-2", device_numerics(&device));
    device.ops = &ops_amx;
    EXPECT_STR("fp32-chain-2", device_numerics(&device));
    device.dtype = DTYPE_BF16;
    EXPECT_STR("bf16-amx-1", device_numerics(&device));
}

TEST(scratch_is_what_was_announced_and_never_shrinks)
{
    struct device *device;
    struct error error;
    REQUIRE(open_isa("auto", &device, &error) == STATUS_OK);
    const struct scratch_shape large = {.S = 64,
                                        .C = 32,
                                        .H = 2,
                                        .G = 1,
                                        .D = 16,
                                        .F = 64,
                                        .V = 100,
                                        .row_tokens_max = 64,
                                        .lora_rank = 8,
                                        .backward = true,
                                        .cross_entropy = true};
    const struct scratch_shape small = {.S = 1, .C = 1, .row_tokens_max = 1};
    EXPECT(device->ops->scratch_bytes(device, &small) <=
           device->ops->scratch_bytes(device, &large));
    REQUIRE(device->ops->scratch_reserve(device, &large, &error) == STATUS_OK);
    const size_t size = device->scratch_size;
    EXPECT_I64((int64_t)device->ops->scratch_bytes(device, &large), (int64_t)size);
    REQUIRE(device->ops->scratch_reserve(device, &small, &error) == STATUS_OK);
    EXPECT_I64((int64_t)size, (int64_t)device->scratch_size);
    device_close(device);
}

TEST(a_block_is_zeroed_and_keeps_what_is_copied_in)
{
    struct device *device;
    struct error error;
    REQUIRE(open_isa("auto", &device, &error) == STATUS_OK);
    void *block;
    REQUIRE(device->ops->block_alloc(device, 1000, "test", &block, &error) == STATUS_OK);
    const char zeros[16] = {0};
    const char text[16] = "fifteen letters";
    char back[16];
    device->ops->copy_out(device, back, block, sizeof(back));
    EXPECT_BYTES(zeros, back, sizeof(back));
    device->ops->copy_in(device, block, text, sizeof(text));
    device->ops->copy_out(device, back, block, sizeof(back));
    EXPECT_BYTES(text, back, sizeof(back));
    device->ops->zero(device, block, sizeof(text));
    device->ops->copy_out(device, back, block, sizeof(back));
    EXPECT_BYTES(zeros, back, sizeof(back));
    device->ops->block_free(device, block, 1000);
    device_close(device);
}

TEST_MAIN()
