/* SPDX-License-Identifier: Apache-2.0
 *
 * source_bytes: read(2) → [inflate | zstd] → a window of WINDOW_BYTES.
 *
 * The file is read, not mapped: a file that another process truncates meanwhile must give an error,
 * not a SIGBUS. Both codecs allow several members (frames) one behind the other, as `cat a.gz b.gz`
 * makes them. A stream that ends inside a member is an error: a cut-off download would otherwise
 * train on half the data.
 */
#include "worker/data/source_bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "lib/arena.h"
#include "lib/limits.h"

enum { WINDOW_BYTES = 256 * 1024, ZSTD_WINDOW_LOG_MAX = 27 };

enum codec { CODEC_PLAIN, CODEC_GZ, CODEC_ZSTD };

struct source_bytes {
    char *path;
    int fd;
    enum codec codec;
    bool checked; /* the first window was looked at for foreign formats */
    bool inside;  /* inside a compressed member: the file may not end here */
    uint8_t *input;
    size_t input_at, input_count;
    uint8_t *window; /* decompressed; unused for plain files, whose input is handed out */
    size_t total;    /* handed out so far */
    z_stream gz;
    ZSTD_DStream *zstd;
};

/* Formats that people hand in and that are not JSON; the fix is followed by the path. */
static const struct foreign {
    const char *magic;
    size_t length;
    const char *what;
    const char *fix;
} foreign_formats[] = {
    {"PAR1", 4, "a Parquet file",
     "python3 -c \"import pandas, sys; "
     "pandas.read_parquet(sys.argv[1]).to_json('data.jsonl', orient='records', lines=True)\""},
    {"ARROW1", 6, "an Arrow file",
     "python3 -c \"import pandas, sys; "
     "pandas.read_feather(sys.argv[1]).to_json('data.jsonl', orient='records', lines=True)\""},
    {"PK\x03\x04", 4, "a zip archive, as torch.save writes",
     "python3 -c \"import json, sys, torch; "
     "json.dump(torch.load(sys.argv[1]), open('data.json', 'w'))\""},
    {"\x80", 1, "a Python pickle",
     "python3 -c \"import json, pickle, sys; "
     "json.dump(pickle.load(open(sys.argv[1], 'rb')), open('data.json', 'w'))\""},
    {"BZh", 3, "a bzip2 file", "bunzip2 --keep"},
    {"\xfd\x37zXZ", 5, "an xz file", "xz --decompress --keep"},
    {"\xff\xfe", 2, "UTF-16 text", "iconv -f UTF-16 -t UTF-8 -o data.json"},
    {"\xfe\xff", 2, "UTF-16 text", "iconv -f UTF-16 -t UTF-8 -o data.json"},
};

static enum status foreign_check(const struct source_bytes *bytes, const void *window, size_t count,
                                 struct error *error)
{
    for (size_t i = 0; i < sizeof(foreign_formats) / sizeof(foreign_formats[0]); i++) {
        const struct foreign *row = &foreign_formats[i];
        if (count >= row->length && memcmp(window, row->magic, row->length) == 0) {
            return error_set(error, STATUS_UNSUPPORTED,
                             "%s is %s; JSON lines or a JSON list is needed, convert it: %s %s",
                             bytes->path, row->what, row->fix, bytes->path);
        }
    }
    return STATUS_OK;
}

/* Fills the input buffer when it is used up; input_count 0 afterwards means the end. */
static enum status input_fill(struct source_bytes *bytes, struct error *error)
{
    if (bytes->input_at < bytes->input_count) {
        return STATUS_OK;
    }
    ssize_t got;
    do {
        got = read(bytes->fd, bytes->input, WINDOW_BYTES);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return error_set(error, STATUS_IO, "%s: %s", bytes->path, strerror(errno));
    }
    bytes->input_at = 0;
    bytes->input_count = (size_t)got;
    return STATUS_OK;
}

static enum status codec_detect(struct source_bytes *bytes, struct error *error)
{
    TRY(input_fill(bytes, error));
    const uint8_t *magic = bytes->input;
    size_t count = bytes->input_count;
    if (count >= 2 && magic[0] == 0x1f && magic[1] == 0x8b) {
        bytes->codec = CODEC_GZ;
        CHECK(inflateInit2(&bytes->gz, 15 + 16) == Z_OK); /* the largest window; gzip only */
    } else if (count >= 4 && (memcmp(magic, "\x28\xb5\x2f\xfd", 4) == 0 ||
                              ((magic[0] & 0xf0) == 0x50 && /* a skippable frame comes first */
                               memcmp(magic + 1, "\x2a\x4d\x18", 3) == 0))) {
        bytes->codec = CODEC_ZSTD;
        bytes->zstd = ZSTD_createDStream();
        CHECK(bytes->zstd != NULL);
        ZSTD_DCtx_setParameter(bytes->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    }
    if (bytes->codec != CODEC_PLAIN) {
        bytes->window = mem_alloc(WINDOW_BYTES);
    }
    return STATUS_OK;
}

enum status source_bytes_open(const char *path, struct source_bytes **bytes_out,
                              struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        enum status status = errno == ENOENT   ? STATUS_NOT_FOUND
                             : errno == EACCES ? STATUS_DENIED
                                               : STATUS_IO;
        return error_set(error, status, "%s: %s", path, strerror(errno));
    }
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return error_set(error, STATUS_UNSUPPORTED, "%s is not a regular file", path);
    }
    struct source_bytes *bytes = mem_alloc(sizeof(*bytes));
    bytes->path = mem_strdup(path);
    bytes->fd = fd;
    bytes->input = mem_alloc(WINDOW_BYTES);
    enum status status = codec_detect(bytes, error);
    if (status != STATUS_OK) {
        source_bytes_close(bytes);
        return status;
    }
    *bytes_out = bytes;
    return STATUS_OK;
}

void source_bytes_close(struct source_bytes *bytes)
{
    if (bytes == NULL) {
        return;
    }
    if (bytes->codec == CODEC_GZ) {
        inflateEnd(&bytes->gz);
    }
    ZSTD_freeDStream(bytes->zstd);
    close(bytes->fd);
    mem_free(bytes->input);
    mem_free(bytes->window);
    mem_free(bytes->path);
    mem_free(bytes);
}

/* One call of inflate on what lies in the input; *made_out is what it wrote. */
static enum status gz_step(struct source_bytes *bytes, size_t *made_out, struct error *error)
{
    bytes->gz.next_in = bytes->input + bytes->input_at;
    bytes->gz.avail_in = (uInt)(bytes->input_count - bytes->input_at);
    bytes->gz.next_out = bytes->window;
    bytes->gz.avail_out = WINDOW_BYTES;
    int code = inflate(&bytes->gz, Z_NO_FLUSH);
    bytes->input_at = bytes->input_count - bytes->gz.avail_in;
    *made_out = WINDOW_BYTES - bytes->gz.avail_out;
    if (code == Z_STREAM_END) {
        bytes->inside = false;
        inflateReset(&bytes->gz);
    } else if (code != Z_OK && code != Z_BUF_ERROR) {
        return error_set(error, STATUS_FORMAT, "%s: the gzip data is broken: %s", bytes->path,
                         bytes->gz.msg != NULL ? bytes->gz.msg : zError(code));
    }
    return STATUS_OK;
}

static enum status zstd_step(struct source_bytes *bytes, size_t *made_out, struct error *error)
{
    ZSTD_inBuffer in = {bytes->input, bytes->input_count, bytes->input_at};
    ZSTD_outBuffer out = {bytes->window, WINDOW_BYTES, 0};
    size_t code = ZSTD_decompressStream(bytes->zstd, &out, &in);
    if (ZSTD_isError(code)) {
        return error_set(error, STATUS_FORMAT, "%s: the zstd data is broken: %s", bytes->path,
                         ZSTD_getErrorName(code));
    }
    bytes->input_at = in.pos;
    bytes->inside = code != 0;
    *made_out = out.pos;
    return STATUS_OK;
}

/* Steps the codec until it makes bytes; 0 made means the clean end of the file. */
static enum status window_decompress(struct source_bytes *bytes, size_t *made_out,
                                     struct error *error)
{
    *made_out = 0;
    while (*made_out == 0) {
        TRY(input_fill(bytes, error));
        bool ended = bytes->input_count == 0;
        if (ended && !bytes->inside) {
            return STATUS_OK;
        }
        if (!ended) {
            bytes->inside = true;
        }
        /* At the end of the file a codec may still hold output back: it gets one more call. */
        TRY(bytes->codec == CODEC_GZ ? gz_step(bytes, made_out, error)
                                     : zstd_step(bytes, made_out, error));
        if (ended && bytes->inside && *made_out == 0) {
            return error_set(error, STATUS_FORMAT,
                             "%s ends in the middle of its compressed data: is the copy complete?",
                             bytes->path);
        }
    }
    return STATUS_OK;
}

enum status source_bytes_next(struct source_bytes *bytes, const char **data_out, size_t *size_out,
                              struct error *error)
{
    const uint8_t *data = bytes->window;
    size_t size = 0;
    if (bytes->codec == CODEC_PLAIN) {
        TRY(input_fill(bytes, error));
        data = bytes->input;
        size = bytes->input_count;
        bytes->input_at = size; /* all of it is handed out */
    } else {
        TRY(window_decompress(bytes, &size, error));
    }
    bytes->total += size;
    if (bytes->total > DATA_FILE_BYTES_MAX) {
        return error_set(error, STATUS_LIMIT, "%s: more than %zu GiB of text; split the file",
                         bytes->path, DATA_FILE_BYTES_MAX / GIB);
    }
    if (!bytes->checked) {
        bytes->checked = true;
        TRY(foreign_check(bytes, data, size, error));
    }
    *data_out = (const char *)data;
    *size_out = size;
    return STATUS_OK;
}
