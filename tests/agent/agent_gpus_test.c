/* SPDX-License-Identifier: Apache-2.0
 *
 * GPUs in the service: tailor-worker with a stub of NVML (nvml_stub.c), and a tailor-trainer-cuda
 * that notes which GPU it may see and then trains on an emulated one (tests/cuda).
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/metrics_read.h"
#include "lib/check.h"
#include "lib/file.h"
#include "proto/message.h"
#include "tests/agent/agent_fixture.h"

static char dir[] = "/tmp/tailor-agent-gpus-XXXXXX";
static char told[64], seen[64], trainer[64];

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void seen_read(struct buf *out)
{
    buf_release(out);
    file_read(seen, 4096, out, NULL);
    buf_append(out, "", 1);
}

/* A directory with the two trainers, and two GPUs that are well. False: this build has none to
 * emulate. */
static bool host_make(void)
{
    char path[PATH_MAX];
    static const char script[] = "#!/bin/sh\n"
                                 "echo \"$CUDA_VISIBLE_DEVICES\" >>\"$TEST_SEEN\"\n"
                                 "exec \"$TEST_TRAINER\" \"$@\"\n";
    if (access(TEST_BUILD_DIR "/tests/emulated_trainer", X_OK) != 0)
        return false;
    CHECK(mkdtemp(dir) != NULL);
    snprintf(told, sizeof(told), "%s/told", dir);
    snprintf(seen, sizeof(seen), "%s/seen", dir);
    snprintf(trainer, sizeof(trainer), "%s/tailor-trainer", dir);
    snprintf(path, sizeof(path), "%s-cuda", trainer);
    write_file(told, "GPU-aaaa H100 500 0 0\nGPU-bbbb H100 500 0 0\n");
    write_file(path, script);
    CHECK(chmod(path, 0700) == 0);
    CHECK(symlink(TEST_BUILD_DIR "/tailor-trainer", trainer) == 0);
    setenv("TAILOR_NVML", TEST_BUILD_DIR "/tests/libnvml_stub.so", 1);
    setenv("TAILOR_NVML_STUB", told, 1);
    setenv("TEST_SEEN", seen, 1);
    setenv("TEST_TRAINER", TEST_BUILD_DIR "/tests/emulated_trainer", 1);
    unsetenv("CUDA_VISIBLE_DEVICES");
    agent_trainer = trainer;
    return true;
}

static Api__Worker *worker_with_gpus(struct arena *arena)
{
    Api__WorkerList *list = message_new(arena, &api__worker_list__descriptor);
    coordinator_workers(service.coordinator, arena, 0, list);
    for (size_t i = 0; i < list->n_workers; i++)
        if (list->workers[i]->gpus > 0)
            return list->workers[i];
    return NULL;
}

static int64_t slots_with_gpus(void)
{
    struct arena arena = {0};
    const Api__Worker *worker = worker_with_gpus(&arena);
    int64_t slots = worker != NULL ? worker->slots : -1;
    arena_release(&arena);
    return slots;
}

static void expect_gpus(void)
{
    struct arena arena = {0};
    const Api__Worker *worker = worker_with_gpus(&arena);
    REQUIRE(worker != NULL && worker->n_gpu_list == 2);
    EXPECT_I64(2, worker->gpus);
    EXPECT_STR("cuda-H100", worker->numerics);
    EXPECT_STR("GPU-aaaa", worker->gpu_list[0]->uuid);
    EXPECT_CONTAINS("1 uncorrected memory errors", worker->gpu_list[0]->quarantine);
    EXPECT(worker->gpu_list[1]->quarantine == NULL);
    EXPECT_I64(INT64_C(500) << 20, worker->gpu_list[1]->memory_used_bytes);
    EXPECT_I64(61, worker->gpu_list[1]->celsius);
    EXPECT(!worker->gpu_list[1]->has_watts);
    arena_release(&arena);
}

TEST(jobs_on_gpus_go_to_gpus_one_a_rank_and_not_to_one_in_quarantine)
{
    struct buf lines = {0}, metrics = {0};
    if (!host_make()) {
        test_skip("no emulated GPU in this build");
        return;
    }
    open_all();
    agent_device = "cuda";
    agent_join(0, 2);
    IN_TIME(slots_with_gpus() == 2);
    int64_t processor = submit(&(struct wanted){.steps = 1});
    int64_t two = submit(&(struct wanted){.device = "cuda", .ranks = 2, .steps = 1});
    IN_TIME(service_state(&service, two) >= SUCCEEDED);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_QUEUED, service_state(&service, processor));
    agent_device = "cpu";
    agent_join(1, 1);
    IN_TIME(service_state(&service, processor) >= SUCCEEDED);
    EXPECT_I64(SUCCEEDED, service_state(&service, two));
    EXPECT_I64(SUCCEEDED, service_state(&service, processor));
    seen_read(&lines);
    EXPECT_I64(18, (int64_t)strlen(lines.data)); /* two ranks, and nobody else */
    EXPECT_CONTAINS("GPU-aaaa\n", lines.data);
    EXPECT_CONTAINS("GPU-bbbb\n", lines.data);

    write_file(told, "GPU-aaaa H100 500 1 0\nGPU-bbbb H100 500 0 0\n");
    IN_TIME(slots_with_gpus() == 1);
    write_file(seen, "");
    int64_t one = submit(&(struct wanted){.device = "cuda", .steps = 1});
    int64_t too_many = submit(&(struct wanted){.device = "cuda", .ranks = 2, .steps = 1});
    IN_TIME(service_state(&service, one) >= SUCCEEDED);
    EXPECT_I64(SUCCEEDED, service_state(&service, one));
    EXPECT_I64(API__JOB_STATE__JOB_STATE_QUEUED, service_state(&service, too_many));
    seen_read(&lines);
    EXPECT_STR("GPU-bbbb\n", lines.data);
    expect_gpus();
    coordinator_metrics(service.coordinator, 0, &metrics);
    buf_append(&metrics, "", 1);
    EXPECT_CONTAINS("gpu=\"GPU-aaaa\"} 1\n", metrics.data);
    EXPECT_CONTAINS("gpu=\"GPU-bbbb\"} 0.87", metrics.data);
    EXPECT_I64(1, service_count_events(&service, 0, "gpu_quarantined"));
    buf_release(&metrics);
    buf_release(&lines);
    close_all();
    dir_remove(dir, NULL);
}

TEST_MAIN()
