/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor doctor: is this machine fit, and what will be slow on it. Reads, measures 10 ms, changes
 * nothing.
 *
 * A check is a row: what, its value, a verdict. "bad" means that training will not work (exit code
 * 1), "look" that it will be slower or may stop. Rejected: testing by training; `tailor run --plan`
 * does that for one job.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "client/commands.h"
#include "client/doctor.h"
#include "client/trainer.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/memory.h"
#include "lib/pool.h"
#include "lib/text.h"

void exam_report(struct exam *exam, const char *check, const char *value, const char *verdict)
{
    table_row(exam->table, check, value, verdict);
    exam->bad += strncmp(verdict, "bad", 3) == 0;
}

/* A small file of /proc or /sys, whose size the kernel gives as 0; "" when it is not there. */
static void read_kernel_file(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t length = file ? fread(out, 1, size - 1, file) : 0;
    out[length] = '\0';
    if (file) {
        fclose(file);
    }
}

static void check_programs(struct exam *exam)
{
    struct arena arena = {0};
    struct utsname system;
    const char *trainer = trainer_find(&arena, false);
    exam_report(exam, "tailor", TAILOR_VERSION, "ok");
    exam_report(exam, "tailor-trainer", trainer ? trainer : "not found",
                trainer ? "ok" : "bad: install it beside tailor or in PATH");
    if (uname(&system) == 0) {
        exam_report(
            exam, "system",
            arena_printf(&arena, "%s %s %s", system.sysname, system.release, system.machine), "ok");
    }
    arena_release(&arena);
}

static void check_cores(struct exam *exam)
{
    char value[64];
    int usable = cpu_count();
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    snprintf(value, sizeof(value), "%d of %ld", usable, online);
    exam_report(exam, "cores", value,
                usable < online ? "ok; an affinity mask or a cgroup quota keeps the others away"
                                : "ok");
}

/* " avx2 " in the first "flags" line. */
static bool has_flag(const char *flags, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = flags; (at = strstr(at, name)); at += length) {
        if ((at == flags || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

static void check_instructions(struct exam *exam)
{
    enum { TEXT_MAX = 16384 };
    static const char *const names[] = {"avx2",     "fma",      "f16c",     "avx512f",
                                        "avx512bw", "avx512vl", "avx512dq", "avx512_bf16",
                                        "amx_tile", "amx_bf16"};
    char *text = mem_alloc(TEXT_MAX);
    struct buf value = {0};
    read_kernel_file("/proc/cpuinfo", text, TEXT_MAX);
    const char *line = strstr(text, "flags\t");
    char *flags = mem_strdup(line ? line : "");
    flags[strcspn(flags, "\n")] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (has_flag(flags, names[i])) {
            buf_printf(&value, "%s%s", value.length > 0 ? " " : "", names[i]);
        }
    }
    bool usable = has_flag(flags, "avx2") && has_flag(flags, "fma") && has_flag(flags, "f16c");
    bool wide = has_flag(flags, "avx512f") && has_flag(flags, "avx512bw") &&
                has_flag(flags, "avx512vl") && has_flag(flags, "avx512dq");
    exam_report(exam, "instructions", value.data ? value.data : "none that are used",
                !usable ? "bad: AVX2, FMA and F16C are needed"
                : wide  ? "ok"
                        : "look: without AVX-512 training is slower");
    buf_release(&value);
    mem_free(flags);
    mem_free(text);
}

static void check_memory(struct exam *exam)
{
    char text[256];
    char sizes[2][16];
    char value[96];
    double available = (double)memory_available("");
    double total = (double)memory_total("");
    format_bytes(available, sizes[0]);
    format_bytes(total, sizes[1]);
    snprintf(value, sizeof(value), "%s free of %s", sizes[0], sizes[1]);
    exam_report(exam, "memory", value,
                available < 2.0 * (double)GIB
                    ? "look: little; tailor run --plan says what a job needs"
                    : "ok");
    read_kernel_file("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof(text));
    bool never = strstr(text, "[never]") != NULL;
    text[strcspn(text, "\n")] = '\0';
    exam_report(exam, "huge pages", text[0] ? text : "unknown",
                never ? "look: off; set transparent_hugepage to madvise" : "ok");
}

static void check_disk(struct exam *exam)
{
    struct statvfs disk;
    char size[16];
    if (statvfs(".", &disk) != 0) {
        exam_report(exam, "disk here", strerror(errno),
                    "bad: the present directory cannot be read");
        return;
    }
    double available = (double)disk.f_bavail * (double)disk.f_frsize;
    format_bytes(available, size);
    struct buf value = {0};
    buf_printf(&value, "%s free", size);
    exam_report(exam, "disk here", value.data,
                access(".", W_OK) != 0           ? "look: it cannot be written"
                : available < 64.0 * (double)MIB ? "bad: full; nothing can be written here"
                : available < 10.0 * (double)GIB ? "look: little; a checkpoint is three times the "
                                                   "trained weights"
                                                 : "ok");
    buf_release(&value);
}

/* A graphics card of NVIDIA on the bus: class 03…, vendor 10de. */
static bool has_card(void)
{
    DIR *devices = opendir("/sys/bus/pci/devices");
    bool found = false;
    for (struct dirent *entry; devices && !found && (entry = readdir(devices));) {
        char path[512], vendor[16], class[16];
        snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.200s/vendor", entry->d_name);
        read_kernel_file(path, vendor, sizeof(vendor));
        snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.200s/class", entry->d_name);
        read_kernel_file(path, class, sizeof(class));
        found = strncmp(vendor, "0x10de", 6) == 0 && strncmp(class, "0x03", 4) == 0;
    }
    if (devices) {
        closedir(devices);
    }
    return found;
}

/* "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.04  Tue …": the first word that begins
 * with a digit. */
static const char *driver_version(char *text)
{
    for (char *rest = text, *word; (word = strsep(&rest, " \t\n")) != NULL;) {
        if (word[0] >= '0' && word[0] <= '9') {
            return word;
        }
    }
    return text[0] ? "of an unknown version" : "";
}

static int gpus_of_driver(void)
{
    DIR *gpus = opendir("/proc/driver/nvidia/gpus");
    int count = 0;
    for (struct dirent *entry; gpus && (entry = readdir(gpus));) {
        count += entry->d_name[0] != '.';
    }
    if (gpus) {
        closedir(gpus);
    }
    return count;
}

static void check_gpu(struct exam *exam)
{
    struct arena arena = {0};
    char driver[256];
    read_kernel_file("/proc/driver/nvidia/version", driver, sizeof(driver));
    doctor_gpus(exam, &(struct gpus_found){.driver = driver_version(driver),
                                           .card = has_card(),
                                           .count = gpus_of_driver(),
                                           .trainer = trainer_find(&arena, true)});
    arena_release(&arena);
}

static double now_s(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void check_clock(struct exam *exam)
{
    const double released = 1704067200; /* 2024-01-01: before this program was written */
    char value[64];
    time_t present = time(NULL);
    struct tm date;
    double began = now_s(CLOCK_MONOTONIC);
    double wall_began = now_s(CLOCK_REALTIME);
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    double passed = now_s(CLOCK_MONOTONIC) - began;
    double wall_passed = now_s(CLOCK_REALTIME) - wall_began;
    strftime(value, sizeof(value), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&present, &date));
    struct timex state = {0};
    bool unsynchronised = adjtimex(&state) == TIME_ERROR;
    exam_report(exam, "clock", value,
                (double)present < released
                    ? "bad: it is wrong, so certificates and leases will fail"
                : passed < 0.009 || wall_passed - passed > 0.1 || passed - wall_passed > 0.1
                    ? "bad: it jumps"
                : unsynchronised ? "look: not synchronised (ntp); workers compare times by it"
                                 : "ok");
}

static enum status run(const struct call *call, struct error *error)
{
    enum table_format format;
    TRY(call_format(call, TABLE_FORMAT_TABLE, &format, error));
    struct exam exam = {.table = table_create("check", "value", "verdict")};
    check_programs(&exam);
    check_cores(&exam);
    check_instructions(&exam);
    check_memory(&exam);
    check_disk(&exam);
    check_gpu(&exam);
    check_clock(&exam);
    doctor_programs(&exam);
    doctor_coordinator(&exam, call);
    table_print(exam.table, format, stdout);
    table_free(exam.table);
    if (exam.bad > 0) {
        return error_set(error, STATUS_FAILED, "%d check%s bad: see the verdicts", exam.bad,
                         exam.bad == 1 ? " is" : "s are");
    }
    return STATUS_OK;
}

static const struct option_row doctor_rows[] = {
    REMOTE_ROW("server", 0, OPTION_STRING, server, "URL",
               "the coordinator to look at; default: the profile's, if it answers"),
    REMOTE_ROW("profile", 0, OPTION_STRING, profile, "NAME", "whose coordinator"),
    REMOTE_ROW("ca", 0, OPTION_STRING, ca, "FILE", "PEM file that its certificate is checked with"),
};

const struct command cmd_doctor = {
    .noun = "doctor",
    .summary = "Check this machine: is it fit, and what will be slow",
    .details = "Needs no service; where one answers, its version and clock are compared too.\n"
               "Exit code 1 when something would not work.",
    .example = "tailor doctor -o json",
    OPTION_ROWS(doctor_rows),
    .options_size = sizeof(struct remote_options),
    .run = run};
