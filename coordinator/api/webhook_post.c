/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected: libevent's own client, which has no bound for a whole exchange, checks no certificate
 * by itself, and looks names up with a resolver of its own.
 */
#include "coordinator/api/webhook_post.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/api/webhook_address.h"
#include "lib/check.h"
#include "lib/limits.h"
#include "lib/text.h"

enum { ANSWER_BYTES_MAX = 65536 }; /* read of an answer, and thrown away */

struct transfer {
    struct webhook_post *post;
    size_t answered;
    bool refused; /* its address is not public */
};

void webhook_post_start(void)
{
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

/* ---- what libcurl asks ----------------------------------------------------------------------- */

static curl_socket_t on_socket(void *argument, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfer *it = argument;
    (void)purpose;
    if (!it->post->private && !webhook_address_is_public(&address->addr)) {
        it->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t on_answer(char *bytes, size_t size, size_t count, void *argument)
{
    struct transfer *it = argument;
    (void)bytes;
    it->answered += size * count;
    return it->answered <= ANSWER_BYTES_MAX ? size * count : 0;
}

static int on_progress(void *argument, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct transfer *it = argument;
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(it->post->given_up);
}

/* ---- one attempt ----------------------------------------------------------------------------- */

static struct curl_slist *headers_of(const struct webhook_post *post)
{
    char line[512];
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");
    snprintf(line, sizeof(line), "webhook-id: %s", post->id);
    list = curl_slist_append(list, line);
    snprintf(line, sizeof(line), "webhook-timestamp: %" PRId64, post->timestamp_s);
    list = curl_slist_append(list, line);
    snprintf(line, sizeof(line), "webhook-signature: %s", post->signature);
    list = curl_slist_append(list, line);
    list = curl_slist_append(list, "Expect:"); /* not asked first whether the body is wanted */
    CHECK(list != NULL);
    return list;
}

static void set_options(CURL *curl, struct transfer *it, struct curl_slist *headers)
{
    const struct webhook_post *post = it->post;
    curl_easy_setopt(curl, CURLOPT_URL, post->url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "tailor/" TAILOR_VERSION);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->body_length);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, post->body);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, post->private ? "https,http" : "https");
    if (post->ca != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, post->ca);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)WEBHOOK_DEADLINE_MS);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L); /* a lookup that hangs is left behind */
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, it);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, it);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, it);
}

static void say(struct transfer *it, CURLcode result, const char *words)
{
    struct webhook_post *post = it->post;
    bool answered = post->code >= 200 && (result == CURLE_OK || result == CURLE_WRITE_ERROR);
    if (answered && post->code < 300)
        post->cause[0] = '\0';
    else if (answered)
        snprintf(post->cause, sizeof(post->cause), "the receiver answered %" PRId64, post->code);
    else if (it->refused)
        snprintf(post->cause, sizeof(post->cause),
                 "its name leads to an address that is not public");
    else
        text_clean(words[0] != '\0' ? words : curl_easy_strerror(result), post->cause,
                   sizeof(post->cause));
}

void webhook_post(struct webhook_post *post)
{
    char words[CURL_ERROR_SIZE] = "";
    long code = 0;
    struct transfer it = {.post = post};
    CURL *curl = curl_easy_init();
    CHECK(curl != NULL);
    struct curl_slist *headers = headers_of(post);
    set_options(curl, &it, headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    post->code = code;
    say(&it, result, words);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
}
