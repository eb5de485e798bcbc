/* SPDX-License-Identifier: Apache-2.0
 *
 * model_fixture: see model_fixture.h. Whatever goes wrong in here is a bug of the test: CHECK.
 */
#include "tests/model_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/rng.h"
#include "tests/test.h"
#include "worker/model/weights.h"

enum { DIRS_MAX = 256 };

static char dirs[DIRS_MAX][64];
static int dir_count;
static pid_t owner; /* a child that ends leaves them alone */

static void dirs_remove(void)
{
    for (int i = 0; i < dir_count && owner == getpid(); i++) {
        dir_remove(dirs[i], NULL);
    }
}

void fixture_dir(char out[FIXTURE_PATH_MAX])
{
    CHECK(dir_count < DIRS_MAX);
    if (dir_count == 0) {
        owner = getpid();
        atexit(dirs_remove);
    }
    char *dir = dirs[dir_count++];
    snprintf(dir, sizeof(dirs[0]), "/tmp/tailor-test-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    snprintf(out, FIXTURE_PATH_MAX, "%s", dir);
}

const char *model_fixture_path(const char *dir, const char *name)
{
    static char paths[8][FIXTURE_PATH_MAX];
    static int next;
    char *path = paths[next++ % 8];
    path_join(path, FIXTURE_PATH_MAX, dir, name);
    return path;
}

void fixture_bytes(const char *dir, const char *name, const void *data, size_t size)
{
    CHECK(file_write_atomic(model_fixture_path(dir, name), data, size, NULL) == STATUS_OK);
}

void model_fixture_text(const char *dir, const char *name, const char *text)
{
    fixture_bytes(dir, name, text, strlen(text));
}

json_t *fixture_read(const char *dir, const char *name)
{
    json_t *json;
    CHECK(json_read_file(model_fixture_path(dir, name), 64 * MIB, &json, NULL) == STATUS_OK);
    return json;
}

struct device *fixture_device(void)
{
    static struct device *device;
    if (device == NULL) {
        CHECK(device_open(&(struct device_options){.isa = "ref", .threads = 2}, &device, NULL) ==
              STATUS_OK);
    }
    return device;
}

float *fixture_host(struct device *device, const float *block, size_t count)
{
    float *host = mem_alloc(size_mul(count, sizeof(*host)));
    device->ops->copy_out(device, host, block, count * sizeof(*host));
    return host;
}

struct model_config fixture_config(enum architecture architecture)
{
    return (struct model_config){
        .architecture = architecture,
        .L = 2,
        .C = 12,
        .H = 4,
        .G = 2,
        .D = 4,
        .F = 20,
        .V = 24,
        .positions_max = 64,
        .norm_epsilon = 1e-5f,
        .rope_theta = 10000,
        .qkv_bias = architecture == ARCHITECTURE_QWEN2,
        .qk_norm = architecture == ARCHITECTURE_QWEN3,
        .bos = 1,
        .eos = 2,
        .pad = -1,
    };
}

void fixture_model(const char *dir, const struct model_config *config,
                   const struct params_heads *heads, uint64_t seed)
{
    struct params_table table;
    params_table_init(&table, config, heads);
    float *block = mem_alloc(table.elements * sizeof(*block));
    for (int32_t i = 0; i < table.count; i++) {
        const struct tensor_place *place = &table.places[i];
        for (size_t e = 0; e < place->elements; e++) {
            double center = place->columns == 0 ? 1 : 0;
            block[place->offset + e] = (float)(center + 0.1 * rng_normal(seed, (uint64_t)i, e));
        }
    }
    json_t *json = model_config_json(config, heads->score, "float32");
    CHECK(json_write_file(model_fixture_path(dir, "config.json"), json, NULL) == STATUS_OK);
    CHECK(weights_write(fixture_device(), &table, block, &(struct weights_write_options){0},
                        model_fixture_path(dir, "model.safetensors"), NULL) == STATUS_OK);
    json_decref(json);
    mem_free(block);
    params_table_release(&table);
}

struct model *model_fixture_open(const char *dir, const struct model_open_options *options)
{
    struct model *model = NULL;
    struct error error;
    if (model_open(fixture_device(), dir, options, &model, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
        return NULL;
    }
    return model;
}

size_t fixture_safetensors(const char *header, size_t data_size, unsigned char *out, size_t size)
{
    size_t length = strlen(header);
    CHECK(8 + length + data_size <= size);
    memset(out, 0, 8 + length + data_size);
    for (int i = 0; i < 8; i++) {
        out[i] = (unsigned char)((uint64_t)length >> 8 * i);
    }
    memcpy(out + 8, header, length);
    return 8 + length + data_size;
}

struct model *model_fixture_random(struct device *device, const struct model_config *config,
                                   const struct params_heads *heads, int32_t positions)
{
    struct model *m = mem_alloc(sizeof(*m));
    struct error error;
    void *block;
    m->device = device;
    m->config = *config;
    m->heads = *heads;
    params_table_init(&m->table, &m->config, &m->heads);
    CHECK(device->ops->block_alloc(device, m->table.elements * sizeof(float), "test", &block,
                                   &error) == STATUS_OK);
    m->weights = block;
    float *host = mem_alloc(m->table.elements * sizeof(float));
    for (int32_t i = 0; i < m->table.count; i++) {
        const struct tensor_place *p = &m->table.places[i];
        for (size_t e = 0; e < p->elements; e++) {
            host[p->offset + e] =
                (float)(0.12 * rng_normal(11, (uint64_t)i, e)) + (p->columns == 0 ? 1.0f : 0);
        }
    }
    device->ops->copy_in(device, m->weights, host, m->table.elements * sizeof(float));
    mem_free(host);
    m->rope_positions = positions;
    const size_t bytes = sizeof(float) * (size_t)positions * (size_t)m->config.D;
    CHECK(device->ops->block_alloc(device, bytes, "test", &block, &error) == STATUS_OK);
    m->rope = block;
    host = mem_alloc(bytes);
    model_rope_table(&m->config, positions, host);
    device->ops->copy_in(device, m->rope, host, bytes);
    mem_free(host);
    return m;
}
