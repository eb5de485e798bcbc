/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/memory.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "tests/test.h"

static char root[64];

static void put(const char *dir, const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", root, dir);
    EXPECT_I64(STATUS_OK, dir_create(path, NULL));
    snprintf(path, sizeof(path), "%s/%s/%s", root, dir, name);
    EXPECT_I64(STATUS_OK, file_write_atomic(path, text, strlen(text), NULL));
}

static int64_t available(void)
{
    return (int64_t)memory_available(root);
}

TEST(the_least_of_machine_and_control_groups_is_available)
{
    snprintf(root, sizeof(root), "/tmp/lib_memory_test.XXXXXX");
    REQUIRE(mkdtemp(root) != NULL);
    EXPECT_I64(0, available());
    put("proc", "meminfo", "MemTotal:  9 kB\nMemFree:  1 kB\nMemAvailable:   8 kB\n");
    EXPECT_I64(8192, available());
    EXPECT_I64(9216, (int64_t)memory_total(root));

    put("proc/self", "cgroup", "0::/a/b\n");
    put("sys/fs/cgroup/a/b", "memory.max", "max\n");
    EXPECT_I64(8192, available());
    put("sys/fs/cgroup/a", "memory.max", "6000\n");
    EXPECT_I64(6000, available());
    put("sys/fs/cgroup/a", "memory.stat", "anon 1000\nfile 4000\n");
    EXPECT_I64(5000, available());
    put("sys/fs/cgroup/a/b", "memory.max", "7000\n");
    EXPECT_I64(5000, available());
    put("sys/fs/cgroup/a", "memory.stat", "anon 6001\n");
    EXPECT_I64(1, available());
    put("sys/fs/cgroup/a", "memory.max", "rubbish\n");
    EXPECT_I64(7000, available());

    put("proc/self", "cgroup", "4:cpu,cpuacct:/x\n3:memory:/x\n");
    EXPECT_I64(8192, available());
    put("sys/fs/cgroup/memory/x", "memory.limit_in_bytes", "4096\n");
    put("sys/fs/cgroup/memory/x", "memory.stat", "rss 7\ntotal_rss 96\n");
    EXPECT_I64(4000, available());
    EXPECT_I64(STATUS_OK, dir_remove(root, NULL));
}

TEST(anonymous_memory_grows_by_what_is_written)
{
    void *block;
    struct error error;
    size_t before = memory_anonymous("");
    EXPECT(before > 0);
    REQUIRE(mem_map(64 * MIB, "test", &block, &error) == STATUS_OK);
    EXPECT(memory_anonymous("") < before + 8 * MIB);
    memset(block, 1, 64 * MIB);
    EXPECT(memory_anonymous("") >= before + 60 * MIB);
    mem_unmap(block, 64 * MIB);
    EXPECT(memory_anonymous("") < before + 8 * MIB);
}

TEST_MAIN()
