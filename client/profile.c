/* SPDX-License-Identifier: Apache-2.0
 *
 * profile: see profile.h. Rejected: a token on the command line; every user of the machine reads
 * that.
 */
#include "client/profile.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/text.h"

#define SERVER_DEFAULT "http://127.0.0.1:7700"

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

static enum status config_dir(struct arena *arena, const char **dir_out, struct error *error)
{
    const char *config = environment("XDG_CONFIG_HOME"), *home = environment("HOME");
    if (!config && !home) {
        return error_set(error, STATUS_NOT_FOUND, "HOME is not set, so there is no profile");
    }
    *dir_out = config ? arena_printf(arena, "%s/tailor", config)
                      : arena_printf(arena, "%s/.config/tailor", home);
    return STATUS_OK;
}

/* The file's content, or an empty object. */
static enum status load(struct arena *arena, const char **path_out, json_t **root_out,
                        struct error *error)
{
    const char *dir;
    TRY(config_dir(arena, &dir, error));
    *path_out = arena_printf(arena, "%s/profiles.json", dir);
    if (!file_exists(*path_out)) {
        *root_out = json_object();
        return STATUS_OK;
    }
    return json_read_file(*path_out, CONFIG_BYTES_MAX, root_out, error);
}

static const char *text_of(struct arena *arena, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? arena_strdup(arena, text) : NULL;
}

static void take(struct arena *arena, const char *name, const json_t *object,
                 struct profile *profile)
{
    *profile = (struct profile){.name = arena_strdup(arena, name),
                                .server = text_of(arena, object, "server"),
                                .token = text_of(arena, object, "token"),
                                .ca = text_of(arena, object, "ca"),
                                .tenant = text_of(arena, object, "tenant")};
}

static enum status no_profile(const json_t *all, const char *name, struct error *error)
{
    const char *names[64];
    size_t count = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)all, key, value)
    {
        if (count < sizeof(names) / sizeof(names[0])) {
            names[count++] = key;
        }
    }
    const char *near = nearest_name(name, names, count);
    if (near) {
        return error_set(error, STATUS_NOT_FOUND, "there is no profile %s: did you mean %s?", name,
                         near);
    }
    return error_set(error, STATUS_NOT_FOUND, "there is no profile %s: tailor up makes one", name);
}

/* The profile of that name, or the one whose server it is. */
static enum status choose(struct arena *arena, const json_t *root, const char *server,
                          const char *name, struct profile *profile, struct error *error)
{
    const json_t *all = json_object_get(root, "profiles");
    const char *given = name ? name : environment("TAILOR_PROFILE");
    const char *chosen = given ? given : json_string_value(json_object_get(root, "default"));
    const json_t *object = chosen ? json_object_get(all, chosen) : NULL;
    const char *key;
    json_t *value;
    if (!object && given) {
        return no_profile(all, given, error);
    }
    if (object) {
        take(arena, chosen, object, profile);
    }
    if (!server || (profile->server && strcmp(profile->server, server) == 0)) {
        return STATUS_OK;
    }
    *profile = (struct profile){.server = server};
    json_object_foreach((json_t *)all, key, value)
    {
        const char *theirs = json_string_value(json_object_get(value, "server"));
        if (theirs && strcmp(theirs, server) == 0) {
            take(arena, key, value, profile);
        }
    }
    return STATUS_OK;
}

enum status profile_open(struct arena *arena, const char *server, const char *name,
                         struct profile *profile_out, struct error *error)
{
    const char *path;
    json_t *root;
    struct profile profile = {0};
    if (!server) {
        server = environment("TAILOR_SERVER");
    }
    TRY(load(arena, &path, &root, error));
    enum status status = choose(arena, root, server, name, &profile, error);
    json_decref(root);
    TRY(status);
    if (environment("TAILOR_TOKEN")) {
        profile.token = environment("TAILOR_TOKEN");
    }
    if (environment("TAILOR_CA")) {
        profile.ca = environment("TAILOR_CA");
    }
    if (!profile.server) {
        profile.server = SERVER_DEFAULT;
    }
    size_t length = strlen(profile.server);
    while (length > 0 && profile.server[length - 1] == '/') {
        length--;
    }
    profile.server = arena_strndup(arena, profile.server, length);
    *profile_out = profile;
    return STATUS_OK;
}

static enum status save(struct arena *arena, const struct profile *profile, struct error *error)
{
    const char *path, *dir;
    json_t *root;
    TRY(config_dir(arena, &dir, error));
    TRY(dir_create(dir, error));
    TRY(load(arena, &path, &root, error));
    json_t *all = json_object_get(root, "profiles");
    if (!json_is_object(all)) {
        all = json_object();
        json_object_set_new(root, "profiles", all);
    }
    json_t *object = json_object();
    json_object_set_new(object, "server", json_string(profile->server));
    json_object_set_new(object, "token", json_string(profile->token));
    json_object_set_new(object, "tenant", json_string(profile->tenant));
    json_object_set_new(object, "ca", json_string(profile->ca));
    json_object_set_new(all, profile->name, object);
    json_object_set_new(root, "default", json_string(profile->name));
    enum status status = json_write_file(path, root, error);
    json_decref(root);
    return status;
}

enum status profile_save(const struct profile *profile, struct error *error)
{
    struct arena arena = {0};
    mode_t mask = umask(077); /* tokens: nobody else reads them, not even for a moment */
    enum status status = save(&arena, profile, error);
    umask(mask);
    arena_release(&arena);
    return status;
}
