/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_image: head | body | groups | rows | tokens | report, each at a multiple of 64 bytes.
 *
 * The head holds a digest of all that follows, so any flipped bit is found before a token is used.
 * A cache directory may also be shared, so image_check then looks at every index and id: bytes that
 * someone made up, with a digest that fits, must not lead outside the block either.
 * Structures are stored as they lie in memory (little endian, this compiler's layout);
 * IMAGE_VERSION and the sizes in the head change with them.
 */
#include "worker/data/dataset_image.h"

#include <string.h>

#include "lib/arena.h"
#include "lib/limits.h"
#include "worker/data/admission_parts.h"

enum { IMAGE_ALIGN = 64, IMAGE_VERSION = 1 };

static const char IMAGE_MAGIC[8] = {'t', 'a', 'i', 'l', 'd', 'a', 't', 'a'};

struct section {
    uint64_t at, size; /* bytes from the image's start */
};

struct image_head {
    char magic[8];
    uint32_t version;
    uint32_t group_size, row_size, part_size; /* of the structures */
    uint64_t size;                            /* of the whole image */
    char digest[SHA256_HEX_SIZE];             /* of everything behind the head */
    char zero[95];                            /* up to the body, so that no byte goes unchecked */
};

struct image_body {
    char key[SHA256_HEX_SIZE];
    int64_t group_count, row_count, token_count, pair_count;
    int32_t row_tokens_max, group_rows_max;
    struct section groups, rows, tokens, report;
};

enum { BODY_AT = sizeof(struct image_head) };

_Static_assert(BODY_AT % IMAGE_ALIGN == 0, "the body is aligned, and the head has no padding");

static struct section section_add(uint64_t *end, size_t count, size_t item)
{
    struct section section = {.at = *end, .size = size_mul(count, item)};
    *end = size_add(section.at, section.size);
    *end = size_add(*end, IMAGE_ALIGN - 1) / IMAGE_ALIGN * IMAGE_ALIGN;
    return section;
}

static void section_put(char *image, struct section section, const void *data)
{
    if (section.size > 0) {
        memcpy(image + section.at, data, section.size);
    }
}

static struct image_head head_make(uint64_t size)
{
    struct image_head head = {.version = IMAGE_VERSION,
                              .group_size = sizeof(struct data_group),
                              .row_size = sizeof(struct data_row),
                              .part_size = sizeof(struct admission_part),
                              .size = size};
    memcpy(head.magic, IMAGE_MAGIC, sizeof(head.magic));
    return head;
}

enum status image_create(const struct dataset_build *build, const struct admission *admission,
                         const char key[SHA256_HEX_SIZE], void **image_out, size_t *size_out,
                         struct error *error)
{
    struct buf report = {0};
    admission_pack(admission, &report);
    struct image_body body = {.group_count = build->group_count,
                              .row_count = build->row_count,
                              .token_count = build->token_count,
                              .pair_count = build->pair_count,
                              .row_tokens_max = build->row_tokens_max,
                              .group_rows_max = build->group_rows_max};
    memcpy(body.key, key, sizeof(body.key));
    uint64_t size = BODY_AT;
    section_add(&size, 1, sizeof(body));
    body.groups = section_add(&size, (size_t)build->group_count, sizeof(*build->groups));
    body.rows = section_add(&size, (size_t)build->row_count, sizeof(*build->rows));
    body.tokens = section_add(&size, (size_t)build->token_count, sizeof(*build->tokens));
    body.report = section_add(&size, report.length, 1);
    void *memory;
    enum status status = mem_map(size, "the dataset's tokens", &memory, error);
    if (status == STATUS_OK) {
        char *image = memory;
        struct image_head head = head_make(size);
        memcpy(image + BODY_AT, &body, sizeof(body));
        section_put(image, body.groups, build->groups);
        section_put(image, body.rows, build->rows);
        section_put(image, body.tokens, build->tokens);
        section_put(image, body.report, report.data);
        sha256_hex(image + BODY_AT, size - BODY_AT, head.digest);
        memcpy(image, &head, sizeof(head));
        *image_out = memory;
        *size_out = size;
    }
    buf_release(&report);
    return status;
}

static bool section_fits(struct section section, size_t size, int64_t count, size_t item)
{
    return count >= 0 && section.at % IMAGE_ALIGN == 0 && section.at <= size &&
           section.size <= size - section.at && section.size % item == 0 &&
           section.size / item == (uint64_t)count;
}

/* Do all indices stay inside, and are all ids the tokenizer's? */
static bool content_fits(const struct dataset *dataset, int32_t tokenizer_size)
{
    int64_t row_end = 0, token_end = 0, pairs = 0;
    for (int64_t i = 0; i < dataset->group_count; i++) {
        const struct data_group *group = &dataset->groups[i];
        if (group->row0 != row_end || group->rows < 1 || group->rows > dataset->group_rows_max ||
            group->rows > dataset->row_count - row_end || group->source < 0 ||
            group->source >= dataset->source_count || group->pairs < 0) {
            return false;
        }
        row_end += group->rows;
        pairs += group->pairs;
    }
    for (int64_t i = 0; i < dataset->row_count; i++) {
        const struct data_row *row = &dataset->rows[i];
        if (row->token0 != token_end || row->tokens < 1 || row->tokens > dataset->row_tokens_max ||
            row->tokens > dataset->token_count - token_end || row->answer_token < 0 ||
            row->answer_token > row->tokens) {
            return false;
        }
        token_end += row->tokens;
    }
    for (int64_t i = 0; i < dataset->token_count; i++) {
        if (dataset->tokens[i] < 0 || dataset->tokens[i] >= tokenizer_size) {
            return false;
        }
    }
    return row_end == dataset->row_count && token_end == dataset->token_count &&
           pairs == dataset->pair_count && dataset->group_rows_max <= GROUP_RESPONSES_MAX;
}

static const struct image_body *body_of(const void *image)
{
    return (const struct image_body *)((const char *)image + BODY_AT);
}

/* Everything but the report, whose reader returns whether it is whole. */
static bool arrays_attach(const void *image, struct dataset *dataset,
                          struct admission **admission_out)
{
    const char *bytes = image;
    const struct image_body *body = body_of(image);
    dataset->group_count = body->group_count;
    dataset->row_count = body->row_count;
    dataset->token_count = body->token_count;
    dataset->pair_count = body->pair_count;
    dataset->row_tokens_max = body->row_tokens_max;
    dataset->group_rows_max = body->group_rows_max;
    dataset->groups = (const struct data_group *)(bytes + body->groups.at);
    dataset->rows = (const struct data_row *)(bytes + body->rows.at);
    dataset->tokens = (const int32_t *)(bytes + body->tokens.at);
    if (!admission_unpack(bytes + body->report.at, body->report.size, admission_out)) {
        return false;
    }
    dataset->source_count = admission_source_count(*admission_out);
    return true;
}

const char *image_check(const void *image, size_t size, const char key[SHA256_HEX_SIZE],
                        int32_t tokenizer_size)
{
    struct image_head head;
    if (size < BODY_AT + sizeof(struct image_body)) {
        return "it is too short";
    }
    memcpy(&head, image, sizeof(head));
    struct image_head expected = head_make(size);
    if (memcmp(&head, &expected, offsetof(struct image_head, digest)) != 0) {
        return memcmp(head.magic, IMAGE_MAGIC, sizeof(head.magic)) != 0 ? "it is not a token cache"
                                                                        : "version or size differ";
    }
    sha256_hex((const char *)image + BODY_AT, size - BODY_AT, expected.digest);
    if (memcmp(&head, &expected, sizeof(head)) != 0) {
        return "its digest does not match";
    }
    const struct image_body *body = body_of(image);
    if (memcmp(body->key, key, sizeof(body->key)) != 0) {
        return "it is of other data";
    }
    if (!section_fits(body->groups, size, body->group_count, sizeof(struct data_group)) ||
        !section_fits(body->rows, size, body->row_count, sizeof(struct data_row)) ||
        !section_fits(body->tokens, size, body->token_count, sizeof(int32_t)) ||
        !section_fits(body->report, size, (int64_t)body->report.size, 1)) {
        return "its parts do not fit";
    }
    struct dataset dataset = {0};
    struct admission *admission;
    if (!arrays_attach(image, &dataset, &admission)) {
        return "its report is broken";
    }
    admission_free(admission);
    return content_fits(&dataset, tokenizer_size) ? NULL : "its indices do not fit";
}

void image_attach(const void *image, struct dataset *dataset, struct admission **admission_out)
{
    CHECK(arrays_attach(image, dataset, admission_out));
}
