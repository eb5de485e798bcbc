/* SPDX-License-Identifier: Apache-2.0
 *
 * http: see http.h. A handle for each call: the client makes few, and nothing is left over from
 * one to the next.
 */
#include "client/http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"

struct receiver {
    CURL *curl;
    const struct http_request *request;
    struct buf *text;
    bool too_long, stopped;
};

static size_t receive(char *data, size_t size, size_t count, void *context)
{
    struct receiver *it = context;
    size_t length = size * count;
    long code = 0;
    curl_easy_getinfo(it->curl, CURLINFO_RESPONSE_CODE, &code);
    if (it->request->take && code == 200) {
        it->stopped = !it->request->take(it->request->context, data, length);
        return it->stopped ? 0 : length;
    }
    it->too_long = it->text->length + length > HTTP_ANSWER_MAX;
    if (it->too_long) {
        return 0;
    }
    buf_append(it->text, data, length);
    return length;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
    struct buf line = {0};
    buf_printf(&line, "%s%s", name, value);
    struct curl_slist *longer = curl_slist_append(list, line.data);
    CHECK(longer != NULL);
    buf_release(&line);
    return longer;
}

static struct curl_slist *headers_of(const struct http_request *request)
{
    struct curl_slist *list = add_header(NULL, "Expect:", ""); /* no pause before a long body */
    if (request->token) {
        list = add_header(list, "Authorization: Bearer ", request->token);
    }
    if (request->header) {
        list = add_header(list, "", request->header);
    }
    if (request->body) {
        list = add_header(list, "Content-Type: ", request->content_type);
    }
    return list;
}

static void set_up(CURL *curl, const struct http_request *request, struct curl_slist *headers)
{
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)HTTP_CONNECT_S);
    if (request->ca) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, request->ca);
    }
    double timeout_s = request->timeout_s > 0 ? request->timeout_s : HTTP_TIMEOUT_S;
    if (!request->take || request->timeout_s > 0) {
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(timeout_s * 1000) + 1);
    } else { /* the server sends a comment every 15 s */
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)HTTP_TIMEOUT_S);
    }
    if (request->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->length);
    }
}

enum status http_call(const struct http_request *request, int *code_out, struct buf *text_out,
                      struct error *error)
{
    char cause[CURL_ERROR_SIZE] = "";
    long code = 0;
    CURL *curl = curl_easy_init();
    CHECK(curl != NULL);
    struct receiver receiver = {.curl = curl, .request = request, .text = text_out};
    struct curl_slist *headers = headers_of(request);
    buf_clear(text_out);
    set_up(curl, request, headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, cause);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &receiver);
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (receiver.too_long) {
        return error_set(error, STATUS_LIMIT, "an answer of more than %d bytes", HTTP_ANSWER_MAX);
    }
    if (result == CURLE_URL_MALFORMAT || result == CURLE_UNSUPPORTED_PROTOCOL) {
        return error_set(error, STATUS_USAGE,
                         "\"%.200s\" is no server: write it as http://HOST:PORT", request->url);
    }
    if (result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_SSL_CACERT_BADFILE) {
        return error_set(error, STATUS_DENIED,
                         "\"%.200s\" does not prove who it is (%s): name the file that its "
                         "certificate is checked with by --ca FILE, TAILOR_CA or the profile",
                         request->url, cause[0] ? cause : curl_easy_strerror(result));
    }
    if (result != CURLE_OK && !receiver.stopped) {
        return error_set(error, STATUS_COMMUNICATION, "%s",
                         cause[0] ? cause : curl_easy_strerror(result));
    }
    *code_out = (int)code;
    return STATUS_OK;
}

void http_escape(const char *text, struct buf *out)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     strchr("-._~", c);
        if (plain) {
            buf_append_char(out, (char)c);
        } else {
            buf_printf(out, "%%%02X", c);
        }
    }
}
