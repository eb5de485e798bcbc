/* SPDX-License-Identifier: Apache-2.0
 *
 * Invariant: `counted` is the spec that `passages` belongs to; both are touched under the lock.
 */
#include "lib/failpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/text.h"

enum { SPEC_BYTES = 128 };

struct failpoint {
    const char *name;
    int64_t count;
    bool onwards;
    const char *action;
};

static bool is_named(const char *name)
{
    static const char *const names[] = {
#define FAILPOINT(name, program, kind, help) #name,
#include "lib/failpoint.def"
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* The file's first line; nothing if it is not there. */
static void read_spec(const char *path, char out[SPEC_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, out, SPEC_BYTES - 1) : 0;
    if (fd >= 0)
        close(fd);
    out[got > 0 ? got : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

static void parse(char *text, struct failpoint *out)
{
    char *rest = text;
    out->name = strsep(&rest, ":");
    char *count = strsep(&rest, ":");
    CHECK(is_named(out->name));
    CHECK(count != NULL && count[0] != '\0');
    size_t length = strlen(count);
    out->onwards = count[length - 1] == '+';
    count[length - out->onwards] = '\0';
    CHECK(parse_i64(count, &out->count) && out->count >= 1);
    out->action = rest != NULL ? rest : "error";
}

static bool act(const char *action)
{
    if (strcmp(action, "kill") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(action, "stop") == 0) {
        kill(getpid(), SIGSTOP);
        return false;
    }
    bool full = strcmp(action, "full") == 0;
    CHECK(full || strcmp(action, "error") == 0);
    errno = full ? ENOSPC : EIO;
    return true;
}

bool failpoint_fails(const char *name)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static char counted[SPEC_BYTES];
    static int64_t passages;
    const char *given = getenv("TAILOR_FAIL");
    char spec[SPEC_BYTES] = "";
    struct failpoint point;
    if (given == NULL)
        return false;
    CHECK(is_named(name));
    if (given[0] == '@') {
        read_spec(given + 1, spec);
    } else {
        CHECK(strlen(given) < sizeof(spec));
        memcpy(spec, given, strlen(given) + 1);
    }
    pthread_mutex_lock(&lock);
    if (strcmp(spec, counted) != 0) {
        memcpy(counted, spec, sizeof(spec));
        passages = 0;
    }
    bool acts = false;
    if (spec[0] != '\0') {
        parse(spec, &point);
        acts = strcmp(point.name, name) == 0 &&
               (++passages == point.count || (point.onwards && passages > point.count));
    }
    pthread_mutex_unlock(&lock);
    return acts && act(point.action);
}
