/* SPDX-License-Identifier: Apache-2.0
 *
 * A shim before SQLite's own VFS. Its files have the methods of version 1 only: with exclusive
 * locking a WAL needs no shared memory, and this holds the records to that.
 */
#include "tests/disk_fixture.h"

#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/check.h"
#include "lib/file.h"
#include "lib/limits.h"

struct disk_file {
    sqlite3_file base;
    char name[PATH_MAX];
    sqlite3_file *real; /* behind this struct */
};

static struct {
    sqlite3_vfs vfs, *real;
    int operations, fail_at, code;
    bool forever;
    char synced[PATH_MAX];
} disk;

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct disk_file *)file)->real;
}

static int operation(void)
{
    disk.operations++;
    bool fails = disk.fail_at > 0 && (disk.operations == disk.fail_at ||
                                      (disk.forever && disk.operations > disk.fail_at));
    return fails ? disk.code : SQLITE_OK;
}

static int file_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int file_get(sqlite3_file *file, void *out, int size, sqlite3_int64 offset)
{
    return real_of(file)->pMethods->xRead(real_of(file), out, size, offset);
}

static int file_put(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    int code = operation();
    return code != SQLITE_OK ? code
                             : real_of(file)->pMethods->xWrite(real_of(file), data, size, offset);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int code = operation();
    return code != SQLITE_OK ? code : real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int file_sync(sqlite3_file *file, int flags)
{
    const struct disk_file *own = (struct disk_file *)file;
    int code = operation();
    if (code == SQLITE_OK)
        code = own->real->pMethods->xSync(own->real, flags);
    if (code == SQLITE_OK && disk.synced[0] != '\0') {
        char path[PATH_MAX];
        struct buf content = {0};
        path_join(path, sizeof(path), disk.synced, path_base(own->name));
        CHECK(file_read(own->name, GIB, &content, NULL) == STATUS_OK);
        CHECK(file_write_atomic(path, content.data, content.length, NULL) == STATUS_OK);
        buf_release(&content);
    }
    return code;
}

static int file_length(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int file_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int file_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int file_is_locked(sqlite3_file *file, int *out)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int file_control(sqlite3_file *file, int op, void *argument)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, argument);
}

static int file_sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int file_characteristics(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static const sqlite3_io_methods METHODS = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_get,
    .xWrite = file_put,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_length,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_is_locked,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

static int disk_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *flags_out)
{
    struct disk_file *own = (struct disk_file *)file;
    (void)vfs;
    memset(own, 0, sizeof(*own));
    own->real = (sqlite3_file *)(own + 1);
    snprintf(own->name, sizeof(own->name), "%s", name != NULL ? name : "");
    int code = disk.real->xOpen(disk.real, name, own->real, flags, flags_out);
    own->base.pMethods = own->real->pMethods != NULL ? &METHODS : NULL;
    return code;
}

void disk_install(void)
{
    memset(&disk, 0, sizeof(disk));
    disk.real = sqlite3_vfs_find(NULL);
    disk.vfs = *disk.real;
    disk.vfs.zName = "disk_fixture";
    disk.vfs.szOsFile += (int)sizeof(struct disk_file);
    disk.vfs.xOpen = disk_open;
    CHECK(sqlite3_vfs_register(&disk.vfs, 1) == SQLITE_OK);
}

void disk_remove(void)
{
    CHECK(sqlite3_vfs_unregister(&disk.vfs) == SQLITE_OK);
    CHECK(sqlite3_vfs_register(disk.real, 1) == SQLITE_OK);
}

void disk_fail(int k, int code, bool forever)
{
    disk.operations = 0;
    disk.fail_at = k;
    disk.code = code;
    disk.forever = forever;
}

int disk_operations(void)
{
    return disk.operations;
}

void disk_keep_synced(const char *dir)
{
    snprintf(disk.synced, sizeof(disk.synced), "%s", dir != NULL ? dir : "");
}
