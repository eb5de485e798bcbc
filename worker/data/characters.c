/* SPDX-License-Identifier: Apache-2.0
 *
 * characters: ASCII by table, the rest by utf8proc's general category.
 *
 * Invariant: classes are those of the patterns of Hugging Face tokenizers 0.23 (Unicode 16),
 * compared for every code point. Its Digits step is newer (13 digits of Unicode 17 that are not
 * numbers here) and its normalizer older (Unicode 9), hence the new marks. Rejected: \s by
 * utf8proc's bidi class, which counts U+001C … U+001F as white space.
 */
#include "worker/data/characters.h"

#include <stddef.h>
#include <utf8proc.h>

/* O: other, L: letter, N: number, S: space. */
#define O CHARACTER_OTHER
#define L CHARACTER_LETTER
#define N CHARACTER_NUMBER
#define S CHARACTER_SPACE
const uint8_t character_ascii[128] = {
    O, O, O, O, O, O, O, O, O, S, S, S, S, S, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    S, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, N, N, N, N, N, N, N, N, N, N, O, O, O, O, O, O,
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O,
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O,
};

/* What Unicode 15.1 and 16 assigned after the Unicode 15.0 of utf8proc 2.8: Hugging Face's engine
 * knows it. Looked at only for code points that utf8proc calls unassigned. */
static const struct later {
    uint32_t first, last;
    enum character class;
} later[] = {
    {0x1c89, 0x1c8a, L},   {0xa7cb, 0xa7cd, L},   {0xa7da, 0xa7dc, L},   {0x105c0, 0x105f3, L},
    {0x10d40, 0x10d49, N}, {0x10d4a, 0x10d65, L}, {0x10d6f, 0x10d85, L}, {0x10ec2, 0x10ec4, L},
    {0x11380, 0x11389, L}, {0x1138b, 0x1138b, L}, {0x1138e, 0x1138e, L}, {0x11390, 0x113b5, L},
    {0x113b7, 0x113b7, L}, {0x113d1, 0x113d1, L}, {0x113d3, 0x113d3, L}, {0x116d0, 0x116e3, N},
    {0x11bc0, 0x11be0, L}, {0x11bf0, 0x11bf9, N}, {0x13460, 0x143fa, L}, {0x16100, 0x1611d, L},
    {0x16130, 0x16139, N}, {0x16d40, 0x16d6c, L}, {0x16d70, 0x16d79, N}, {0x18cff, 0x18cff, L},
    {0x1ccf0, 0x1ccf9, N}, {0x1e5d0, 0x1e5ed, L}, {0x1e5f0, 0x1e5f0, L}, {0x1e5f1, 0x1e5fa, N},
    {0x2ebf0, 0x2ee5d, L},
};
#undef O
#undef L
#undef N
#undef S

/* Marks that Unicode got after version 9, and the one later composition's second half. */
static const struct range {
    uint32_t first, last;
} new_marks[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},
    {0xc3c, 0xc3c},     {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},
    {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},   {0x10d24, 0x10d27},
    {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
    {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x11930, 0x11930}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0},
    {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42},
    {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1},
    {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
    {0x1e4ec, 0x1e4ef},
};

static enum character later_class(uint32_t point)
{
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        if (point >= later[i].first && point <= later[i].last) {
            return later[i].class;
        }
    }
    return CHARACTER_OTHER;
}

enum character character_of(uint32_t point)
{
    enum { NEXT_LINE = 0x85 }; /* a control character by category, white space by property */
    switch (utf8proc_category((utf8proc_int32_t)point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return CHARACTER_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return CHARACTER_NUMBER;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return CHARACTER_SPACE;
    case UTF8PROC_CATEGORY_CN:
        return later_class(point);
    default:
        return point == NEXT_LINE ? CHARACTER_SPACE : CHARACTER_OTHER;
    }
}

bool character_is_space(uint32_t point)
{
    return (point < 0x80 ? character_ascii[point] : character_of(point)) == CHARACTER_SPACE;
}

bool character_is_word(uint32_t point)
{
    enum { NON_JOINER = 0x200c, JOINER = 0x200d };
    /* Other_Alphabetic outside marks: circled and squared Latin letters. */
    bool enclosed =
        (point >= 0x24b6 && point <= 0x24e9) || (point >= 0x1f130 && point <= 0x1f149) ||
        (point >= 0x1f150 && point <= 0x1f169) || (point >= 0x1f170 && point <= 0x1f189);
    switch (utf8proc_category((utf8proc_int32_t)point)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    case UTF8PROC_CATEGORY_CN: /* the later numbers are all decimal */
        return character_of(point) != CHARACTER_OTHER;
    default:
        return enclosed || point == NON_JOINER || point == JOINER ||
               character_of(point) == CHARACTER_LETTER;
    }
}

bool character_is_new_mark(uint32_t point)
{
    if (point < new_marks[0].first) {
        return false;
    }
    for (size_t i = 0; i < sizeof(new_marks) / sizeof(new_marks[0]); i++) {
        if (point <= new_marks[i].last) {
            return point >= new_marks[i].first;
        }
    }
    return false;
}
