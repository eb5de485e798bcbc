/* SPDX-License-Identifier: Apache-2.0
 *
 * on_page: the dashboard. It asks for no token: what it shows it gets from the other routes, with
 * the session of who looks at it.
 *
 * The policy allows what comes from this server and nothing else, no script or style inside a page,
 * and no page around this one. A browser may keep the files that the page names, and asks each time
 * whether they are still the same; the page itself it asks for anew.
 */
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/page_files.h"

#define POLICY                                                                                     \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "              \
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

/* Has who asks this file already? */
static bool is_there(struct exchange *exchange, const struct page_file *file)
{
    const char *has =
        evhttp_find_header(evhttp_request_get_input_headers(exchange->http), "If-None-Match");
    exchange->tag = arena_printf(&exchange->arena, "\"%.32s\"", page_file_digest(file));
    return has != NULL && strcmp(has, exchange->tag) == 0;
}

static void show(struct exchange *exchange, const char *name, bool kept)
{
    const struct page_file *file = page_file_find(name);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(exchange->http);
    struct error error;
    if (file == NULL) {
        enum status status =
            error_set(&error, STATUS_NOT_FOUND, "the dashboard has no file \"%.63s\"", name);
        exchange_done(exchange, status, &error);
        return;
    }
    evhttp_add_header(headers, "Content-Security-Policy", POLICY);
    evhttp_add_header(headers, "Referrer-Policy", "no-referrer");
    exchange->content_type = file->type;
    if (kept && is_there(exchange, file))
        exchange->code = 304;
    else
        buf_append(&exchange->text, file->begin, (size_t)(file->end - file->begin));
    exchange_done(exchange, STATUS_OK, NULL);
}

void page_show(struct exchange *exchange)
{
    show(exchange, "index.html", false);
}

void page_file_show(struct exchange *exchange)
{
    const Api__TenantRequest *request = exchange->request;
    show(exchange, request->name, true);
}
