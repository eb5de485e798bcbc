/* SPDX-License-Identifier: Apache-2.0
 *
 * Every file passes through here, because SQLite has one VFS for a connection; only a database's
 * own is checked. A read of less than a page (of the header, when the file is opened) reads and
 * checks the whole page.
 *
 * The reserve that the file's header names (byte 20) says whether it has checksums at all;
 * records.c refuses one that has not. Rejected: a checksum column in each row; it guards neither
 * the indexes nor the schema, and every statement has to know it.
 */
#include "storage/records/checked_file.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/map.h"

enum { CONTENT = CHECKED_PAGE - CHECKED_RESERVE, RESERVE_OFFSET = 20 };

struct checked_file {
    sqlite3_file base;
    sqlite3_file *real; /* of sqlite3_malloc */
    bool checked;
};

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct checked_file *)file)->real;
}

/* ---- pages ---- */
static void page_sum(const unsigned char *page, sqlite3_int64 offset,
                     unsigned char out[CHECKED_RESERVE])
{
    /* The number is the seed, plus 1: a page of zeros has no sum of zeros. */
    uint64_t sum = hash_bytes(page, CONTENT, (uint64_t)(offset / CHECKED_PAGE) + 1);
    for (int i = 0; i < CHECKED_RESERVE; i++)
        out[i] = (unsigned char)(sum >> (8 * i));
}

static bool page_is_sound(const unsigned char *page, sqlite3_int64 offset)
{
    unsigned char sum[CHECKED_RESERVE];
    page_sum(page, offset, sum);
    return memcmp(sum, page + CONTENT, sizeof(sum)) == 0;
}

static int read_real(sqlite3_file *file, void *out, int size, sqlite3_int64 offset)
{
    return real_of(file)->pMethods->xRead(real_of(file), out, size, offset);
}

static int checked_read(sqlite3_file *file, void *out, int size, sqlite3_int64 offset)
{
    const struct checked_file *own = (struct checked_file *)file;
    unsigned char page[CHECKED_PAGE];
    if (!own->checked)
        return read_real(file, out, size, offset);
    for (int done = 0; done < size;) {
        sqlite3_int64 at = offset + done, begin = at - at % CHECKED_PAGE;
        int skip = (int)(at - begin);
        int length = CHECKED_PAGE - skip < size - done ? CHECKED_PAGE - skip : size - done;
        int code = read_real(file, page, CHECKED_PAGE, begin);
        if (code == SQLITE_IOERR_SHORT_READ) /* behind the end: SQLite knows what that means */
            return read_real(file, out, size, offset);
        if (code != SQLITE_OK)
            return code;
        if (!page_is_sound(page, begin))
            return SQLITE_IOERR_DATA;
        memcpy((char *)out + done, page + skip, (size_t)length);
        done += length;
    }
    return SQLITE_OK;
}

static int checked_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    const struct checked_file *own = (struct checked_file *)file;
    unsigned char page[CHECKED_PAGE];
    if (own->checked) {
        CHECK(size == CHECKED_PAGE && offset % CHECKED_PAGE == 0); /* SQLite writes whole pages */
        memcpy(page, data, CONTENT);
        page_sum(page, offset, page + CONTENT);
        data = page;
    }
    if (failpoint_fails("records_write"))
        return errno == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    return own->real->pMethods->xWrite(own->real, data, size, offset);
}

/* ---- the rest is passed on ---- */
static int checked_close(sqlite3_file *file)
{
    int code = real_of(file)->pMethods->xClose(real_of(file));
    sqlite3_free(real_of(file));
    return code;
}

static int checked_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int checked_sync(sqlite3_file *file, int flags)
{
    if (failpoint_fails("records_fsync"))
        return SQLITE_IOERR_FSYNC;
    return real_of(file)->pMethods->xSync(real_of(file), flags);
}

static int checked_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int checked_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int checked_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int checked_is_locked(sqlite3_file *file, int *out)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int checked_control(sqlite3_file *file, int op, void *argument)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, argument);
}

static int checked_sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int checked_characteristics(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static const sqlite3_io_methods METHODS = {
    .iVersion = 1, /* no shared memory, no mapping: a mapped page would not be checked */
    .xClose = checked_close,
    .xRead = checked_read,
    .xWrite = checked_write,
    .xTruncate = checked_truncate,
    .xSync = checked_sync,
    .xFileSize = checked_size,
    .xLock = checked_lock,
    .xUnlock = checked_unlock,
    .xCheckReservedLock = checked_is_locked,
    .xFileControl = checked_control,
    .xSectorSize = checked_sector_size,
    .xDeviceCharacteristics = checked_characteristics,
};

/* An empty file is about to become one with checksums. */
static bool has_sums(sqlite3_file *real)
{
    unsigned char reserve;
    int code = real->pMethods->xRead(real, &reserve, 1, RESERVE_OFFSET);
    return code != SQLITE_OK || reserve == CHECKED_RESERVE;
}

static int checked_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                        int *flags_out)
{
    struct checked_file *own = (struct checked_file *)file;
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    (void)vfs;
    memset(own, 0, sizeof(*own));
    own->real = sqlite3_malloc(real->szOsFile);
    if (own->real == NULL)
        return SQLITE_NOMEM;
    memset(own->real, 0, (size_t)real->szOsFile);
    int code = real->xOpen(real, name, own->real, flags, flags_out);
    if (code == SQLITE_OK) {
        own->checked = (flags & SQLITE_OPEN_MAIN_DB) != 0 && has_sums(own->real);
        own->base.pMethods = &METHODS;
    } else {
        sqlite3_free(own->real);
    }
    return code;
}

static void register_once(void)
{
    static sqlite3_vfs vfs;
    CHECK(sqlite3_initialize() == SQLITE_OK);
    vfs = *sqlite3_vfs_find(NULL); /* paths, randomness, time: the default's own */
    vfs.zName = CHECKED_VFS;
    vfs.szOsFile = (int)sizeof(struct checked_file);
    vfs.xOpen = checked_open;
    CHECK(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK);
}

void checked_file_register(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_once);
}
