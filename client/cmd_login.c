/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor login: an address with a code in it, as tailor up prints, becomes a profile with a token
 * of its own. The code stands behind a '#', so it is in no server's log.
 */
#include <string.h>

#include "client/commands.h"
#include "client/remote.h"

#define MARK "/#login="

static enum status login_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote_options *options = call->options;
    const char *text = call->arguments[0], *mark = strstr(text, MARK);
    struct service service = {.arena = arena};
    if (!mark || !strstr(text, "://")) {
        return error_set(error, STATUS_USAGE,
                         "\"%.200s\" is no address to log in with: tailor up prints one, such as "
                         "http://127.0.0.1:7700" MARK "…",
                         text);
    }
    const char *server = arena_strndup(arena, text, (size_t)(mark - text));
    service.profile =
        (struct profile){.name = options->profile ? options->profile : strstr(server, "://") + 3,
                         .server = server,
                         .ca = options->ca,
                         .tenant = options->tenant};
    Api__Login *request = service_request(&service, ROUTE_LOGIN);
    json_t *reply;
    request->code = arena_strdup(arena, mark + strlen(MARK));
    TRY(service_call(&service, ROUTE_LOGIN, &request->base, &reply, error));
    service.profile.token = arena_strdup(arena, remote_text(reply, "secret"));
    json_decref(reply);
    TRY(profile_save(&service.profile, error));
    if (!call->globals->quiet) {
        printf("the profile %s is an administrator of %s for 30 days; tailor token create makes "
               "lasting ones\n",
               service.profile.name, server);
    }
    return STATUS_OK;
}

static enum status login_run(const struct call *call, struct error *error)
{
    return remote_within(login_in, call, error);
}

static const struct option_row login_rows[] = {
    REMOTE_ROW("profile", 0, OPTION_STRING, profile, "NAME",
               "what to call it; default: host and port"),
    REMOTE_ROW("tenant", 0, OPTION_STRING, tenant, "NAME",
               "whose things are meant without --tenant"),
    REMOTE_ROW("ca", 0, OPTION_STRING, ca, "FILE",
               "PEM file that the server's certificate is checked with"),
};

const struct command cmd_login = {
    .noun = "login",
    .summary = "Become an administrator of a service, by the address that tailor up prints",
    .details = "The address works once. The profile that it makes becomes the default.",
    .example = "tailor login 'http://127.0.0.1:7700/#login=tlr_…'",
    .arguments = {{.placeholder = "URL"}},
    OPTION_ROWS(login_rows),
    .options_size = sizeof(struct remote_options),
    .run = login_run};
