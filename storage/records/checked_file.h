/* SPDX-License-Identifier: Apache-2.0
 *
 * checked_file: a layer under SQLite that gives each page of the database a checksum.
 *
 * SQLite checks its WAL, but believes what it reads from the database file. Here the last
 * CHECKED_RESERVE bytes of a page hold a checksum of the rest and of the page's number: a flipped
 * bit, a torn page or one that lies in another's place is an I/O error when it is read
 * (SQLITE_IOERR_DATA), never data. Private to storage/records.
 *
 * Open with the VFS's name, ask for the reserve while the file is empty, and keep exclusive locking
 * on: these files have no shared memory.
 */
#ifndef TAILOR_STORAGE_RECORDS_CHECKED_FILE_H
#define TAILOR_STORAGE_RECORDS_CHECKED_FILE_H

#define CHECKED_VFS "tailor-checked"

enum { CHECKED_PAGE = 4096, CHECKED_RESERVE = 8 };

/* Makes the VFS known; again: nothing. It lies over SQLite's default at the time of each open. */
void checked_file_register(void);

#endif
