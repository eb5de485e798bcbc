/* SPDX-License-Identifier: Apache-2.0
 *
 * tcp_join: from endpoints to proven connections.
 *
 * Rank r connects to every lower rank and is connected to by every higher one. On each connection
 *     connector  HELLO      who, of which term, and a nonce
 *     acceptor   CHALLENGE  its nonce, and its proof over both
 *     connector  PROOF      its own
 *     acceptor   WELCOME
 * so each side has proved that it knows the secret over a nonce of the other. Everything goes on in
 * one poll loop: a link that is silent, slow or talks nonsense is dropped at its own time limit and
 * holds up no other; the connector tries again until the deadline. Links of strangers are bounded
 * in number, the oldest goes first. The listener is closed as soon as all have joined.
 *
 * Rejected: a rendezvous server, one more thing that can fail; the endpoints come with the job.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/failpoint.h"
#include "worker/comm/proof.h"
#include "worker/comm/tcp.h"

enum {
    LINKS_MAX = 2 * COMM_WORLD_MAX, /* half of them for strangers */
    LINK_MS = 2000,                 /* for a handshake; at most a quarter of the deadline */
    RETRY_MS = 5,
    HELLO_MAGIC = 0x6f6c6574, /* "telo" */
    WELCOME_MAGIC = 0x636c6577,
    ENDPOINT_MAX = 300
};

enum { CLAIM_ACCEPT = 1, CLAIM_CONNECT };

struct hello {
    uint32_t magic;
    int32_t world, from, to;
    uint64_t term;
    uint8_t nonce[NONCE_BYTES];
};

struct challenge {
    uint8_t nonce[NONCE_BYTES];
    uint8_t proof[PROOF_BYTES];
};

struct proof_message {
    uint8_t proof[PROOF_BYTES];
};

struct welcome {
    uint32_t magic;
};

/* What a link waits for. */
enum link_state {
    LINK_FREE,
    LINK_CONNECTION,
    LINK_CHALLENGE,
    LINK_WELCOME,
    LINK_HELLO,
    LINK_PROOF
};

struct link {
    enum link_state state;
    int fd;
    int64_t since_us;
    int32_t peer; /* not known before HELLO: −1 */
    struct proof_claim claim;
    size_t got;
    union {
        struct hello hello;
        struct challenge challenge;
        struct proof_message proof;
        struct welcome welcome;
        char bytes[1];
    } in;
};

struct join {
    struct comm *comm;
    struct tcp *tcp;
    const struct comm_options *options;
    int listener;
    int64_t link_us;                     /* time limit of a link */
    int64_t retry_at_us[COMM_WORLD_MAX]; /* of connecting to a lower rank */
    struct link links[LINKS_MAX];
};

/* ---- endpoints ---------------------------------------------------------------------------------
 */

static enum status endpoint_resolve(const char *endpoint, bool passive, struct addrinfo **out,
                                    struct error *error)
{
    char host[ENDPOINT_MAX];
    const char *colon = strrchr(endpoint, ':');
    size_t length = colon ? (size_t)(colon - endpoint) : 0;
    const char *begin = endpoint;
    if (length >= 2 && begin[0] == '[' && begin[length - 1] == ']') {
        begin++;
        length -= 2;
    }
    if (!colon || length == 0 || length >= sizeof(host) || colon[1] == '\0') {
        return error_set(error, STATUS_USAGE, "endpoint \"%s\" is not host:port", endpoint);
    }
    memcpy(host, begin, length);
    host[length] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0};
    int failure = getaddrinfo(host, colon + 1, &hints, out);
    if (failure != 0) {
        return error_set(error, STATUS_USAGE, "endpoint %s: %s", endpoint, gai_strerror(failure));
    }
    return STATUS_OK;
}

static enum status listener_open(struct join *join, struct error *error)
{
    const char *endpoint = join->options->endpoints[join->comm->rank];
    struct addrinfo *address;
    int yes = 1;
    TRY(endpoint_resolve(endpoint, true, &address, error));
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool listens = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
                   bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, 128) == 0;
    int cause = errno;
    freeaddrinfo(address);
    if (!listens) {
        if (fd >= 0) {
            close(fd);
        }
        return error_set(error, STATUS_CONFLICT, "endpoint %s: cannot listen: %s", endpoint,
                         strerror(cause));
    }
    join->listener = fd;
    return STATUS_OK;
}

/* ---- links -------------------------------------------------------------------------------------
 */

static void link_drop(struct link *link)
{
    close(link->fd);
    *link = (struct link){.state = LINK_FREE, .fd = -1};
}

/* A free link; if there is none, the oldest of those whose other side is not known. */
static struct link *link_new(struct join *join, int fd, enum link_state state, int32_t peer)
{
    struct link *chosen = NULL;
    for (int i = 0; i < LINKS_MAX; i++) {
        struct link *link = &join->links[i];
        bool better = !chosen || (chosen->state != LINK_FREE &&
                                  (link->state == LINK_FREE || link->since_us < chosen->since_us));
        if ((link->state == LINK_FREE || link->state == LINK_HELLO || link->state == LINK_PROOF) &&
            better) {
            chosen = link;
        }
    }
    CHECK(chosen != NULL); /* own connections take less than half */
    if (chosen->state != LINK_FREE) {
        link_drop(chosen);
    }
    *chosen = (struct link){.state = state, .fd = fd, .since_us = comm_now_us(), .peer = peer};
    return chosen;
}

static void nodelay(int fd)
{
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

/* A message is far smaller than the buffer of a fresh socket: if it does not fit, the link is odd.
 */
static bool link_send(const struct link *link, const void *message, size_t bytes)
{
    return !failpoint_fails("rank_send") &&
           send(link->fd, message, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)bytes;
}

static void link_joined(struct join *join, struct link *link)
{
    struct tcp_peer *peer = &join->tcp->peers[link->peer];
    if (peer->fd >= 0) {
        close(peer->fd); /* the newer one is what its other side holds */
    }
    peer->fd = link->fd;
    *link = (struct link){.state = LINK_FREE, .fd = -1};
}

static struct proof_claim claim_of(const struct join *join, uint8_t purpose, int32_t from,
                                   int32_t to)
{
    return (struct proof_claim){.purpose = purpose,
                                .from = from,
                                .to = to,
                                .world = join->options->world,
                                .term = join->options->term};
}

/* ---- connector ---------------------------------------------------------------------------------
 */

static void connect_to(struct join *join, int32_t peer)
{
    struct addrinfo *address;
    join->retry_at_us[peer] = comm_now_us() + RETRY_MS * 1000;
    /* Every time anew: a name may come to point to a host later than we start. */
    if (endpoint_resolve(join->options->endpoints[peer], false, &address, NULL) != STATUS_OK) {
        return;
    }
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        if (connect(fd, address->ai_addr, address->ai_addrlen) == 0 || errno == EINPROGRESS) {
            link_new(join, fd, LINK_CONNECTION, peer);
        } else {
            close(fd);
        }
    }
    freeaddrinfo(address);
}

/* A port of this host that nobody listens on yet may be given to our own end: then we have
 * connected to ourselves, and hold the port that the peer needs. */
static bool is_own_end(int fd)
{
    struct sockaddr_storage own = {0}, other = {0};
    socklen_t own_size = sizeof(own), other_size = sizeof(other);
    return getsockname(fd, (struct sockaddr *)&own, &own_size) == 0 &&
           getpeername(fd, (struct sockaddr *)&other, &other_size) == 0 && own_size == other_size &&
           memcmp(&own, &other, own_size) == 0;
}

/* False drops the link, here and below. */
static bool on_connection(struct join *join, struct link *link)
{
    int failure = 0;
    socklen_t size = sizeof(failure);
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0 || failure != 0 ||
        is_own_end(link->fd)) {
        return false;
    }
    struct hello hello = {.magic = HELLO_MAGIC,
                          .world = join->options->world,
                          .from = join->comm->rank,
                          .to = link->peer,
                          .term = join->options->term};
    nonce_make(hello.nonce);
    link->claim = claim_of(join, CLAIM_ACCEPT, link->peer, join->comm->rank);
    memcpy(link->claim.nonces[0], hello.nonce, NONCE_BYTES);
    nodelay(link->fd);
    link->state = LINK_CHALLENGE;
    return link_send(link, &hello, sizeof(hello));
}

static bool on_challenge(struct join *join, struct link *link)
{
    memcpy(link->claim.nonces[1], link->in.challenge.nonce, NONCE_BYTES);
    if (!proof_holds(join->options->secret, &link->claim, link->in.challenge.proof)) {
        return false;
    }
    struct proof_message message;
    link->claim.purpose = CLAIM_CONNECT;
    link->claim.from = join->comm->rank;
    link->claim.to = link->peer;
    proof_make(join->options->secret, &link->claim, message.proof);
    link->state = LINK_WELCOME;
    return link_send(link, &message, sizeof(message));
}

static bool on_welcome(struct join *join, struct link *link)
{
    if (link->in.welcome.magic != WELCOME_MAGIC) {
        return false;
    }
    link_joined(join, link);
    return true;
}

/* ---- acceptor ----------------------------------------------------------------------------------
 */

static void accept_all(struct join *join)
{
    int fd;
    while ((fd = accept4(join->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        link_new(join, fd, LINK_HELLO, COMM_NOBODY);
    }
}

static bool on_hello(struct join *join, struct link *link)
{
    const struct hello *hello = &link->in.hello;
    if (hello->magic != HELLO_MAGIC || hello->world != join->options->world ||
        hello->term != join->options->term || hello->to != join->comm->rank ||
        hello->from <= join->comm->rank || hello->from >= join->options->world) {
        return false;
    }
    struct challenge challenge;
    link->peer = hello->from;
    link->claim = claim_of(join, CLAIM_ACCEPT, join->comm->rank, link->peer);
    nonce_make(challenge.nonce);
    memcpy(link->claim.nonces[0], hello->nonce, NONCE_BYTES);
    memcpy(link->claim.nonces[1], challenge.nonce, NONCE_BYTES);
    proof_make(join->options->secret, &link->claim, challenge.proof);
    nodelay(link->fd);
    link->state = LINK_PROOF;
    return link_send(link, &challenge, sizeof(challenge));
}

static bool on_proof(struct join *join, struct link *link)
{
    link->claim.purpose = CLAIM_CONNECT;
    link->claim.from = link->peer;
    link->claim.to = join->comm->rank;
    const struct welcome welcome = {WELCOME_MAGIC};
    if (!proof_holds(join->options->secret, &link->claim, link->in.proof.proof) ||
        !link_send(link, &welcome, sizeof(welcome))) {
        return false;
    }
    link_joined(join, link);
    return true;
}

/* ---- the loop ----------------------------------------------------------------------------------
 */

/* What each state waits for, and what then happens. */
static const struct {
    size_t bytes;
    bool (*then)(struct join *join, struct link *link);
} link_states[] = {
    [LINK_CONNECTION] = {0, on_connection},
    [LINK_CHALLENGE] = {sizeof(struct challenge), on_challenge},
    [LINK_WELCOME] = {sizeof(struct welcome), on_welcome},
    [LINK_HELLO] = {sizeof(struct hello), on_hello},
    [LINK_PROOF] = {sizeof(struct proof_message), on_proof},
};

static bool link_ready(struct join *join, struct link *link)
{
    size_t wanted = link_states[link->state].bytes;
    if (link->got < wanted) {
        ssize_t got = recv(link->fd, link->in.bytes + link->got, wanted - link->got, MSG_DONTWAIT);
        if (got <= 0) {
            return got < 0 && (errno == EAGAIN || errno == EINTR);
        }
        link->got += (size_t)got;
    }
    if (link->got < wanted) {
        return true;
    }
    link->got = 0;
    return link_states[link->state].then(join, link);
}

/* A link whose other side has proved itself has the whole deadline. */
static bool link_is_late(const struct join *join, const struct link *link)
{
    return link->state != LINK_WELCOME && comm_now_us() - link->since_us >= join->link_us;
}

static void poll_once(struct join *join)
{
    struct pollfd polls[LINKS_MAX + 1];
    struct link *polled[LINKS_MAX + 1];
    nfds_t count = 0;
    polls[count++] = (struct pollfd){.fd = join->listener, .events = POLLIN};
    for (int i = 0; i < LINKS_MAX; i++) {
        struct link *link = &join->links[i];
        if (link->state != LINK_FREE) {
            polled[count] = link;
            polls[count++] = (struct pollfd){
                .fd = link->fd, .events = link->state == LINK_CONNECTION ? POLLOUT : POLLIN};
        }
    }
    poll(polls, count, COMM_LOOK_MS);
    for (nfds_t i = 1; i < count; i++) {
        bool keep = polls[i].revents == 0 || link_ready(join, polled[i]);
        if (!keep || (polled[i]->state != LINK_FREE && link_is_late(join, polled[i]))) {
            link_drop(polled[i]);
        }
    }
    if (polls[0].revents != 0) {
        accept_all(join);
    }
}

/* Ranks that had joined may be lost, or give up, while others are awaited. What they send may also
 * be their first exchange, which stays where it is. */
static bool all_are_well(struct join *join, struct comm_failure *failure)
{
    for (int32_t r = 0; r < join->options->world; r++) {
        if (join->tcp->peers[r].fd >= 0 && tcp_peer_health(join->comm, r, failure) != TCP_WELL) {
            return false;
        }
    }
    return true;
}

static bool is_connecting(const struct join *join, int32_t peer)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        enum link_state state = join->links[i].state;
        if (join->links[i].peer == peer &&
            (state == LINK_CONNECTION || state == LINK_CHALLENGE || state == LINK_WELCOME)) {
            return true;
        }
    }
    return false;
}

/* Begins what is to be begun. Returns the first rank that is missing, or COMM_NOBODY. */
static int32_t find_missing(struct join *join, bool present[COMM_WORLD_MAX])
{
    int32_t missing = COMM_NOBODY;
    for (int32_t r = join->options->world - 1; r >= 0; r--) {
        present[r] = r == join->comm->rank || join->tcp->peers[r].fd >= 0;
        missing = present[r] ? missing : r;
        if (!present[r] && r < join->comm->rank && !is_connecting(join, r) &&
            comm_now_us() >= join->retry_at_us[r]) {
            connect_to(join, r);
        }
    }
    return missing;
}

static enum status wait_for_all(struct join *join, int64_t deadline_us, struct error *error)
{
    bool present[COMM_WORLD_MAX];
    struct comm_failure failure;
    int32_t missing;
    while ((missing = find_missing(join, present)) != COMM_NOBODY) {
        bool well = all_are_well(join, &failure);
        if (well && comm_now_us() >= deadline_us) {
            char text[COMM_REASON_BYTES - 32];
            comm_list_missing(present, join->options->world, text, sizeof(text));
            well = comm_fail(&failure, missing, "%s did not join in time", text);
        }
        if (!well) {
            join->comm->ops->poison(join->comm, &failure);
            return error_set(error, STATUS_COMMUNICATION, "rank %d failed: %s", failure.rank,
                             failure.reason);
        }
        poll_once(join);
    }
    return STATUS_OK;
}

enum status tcp_join(struct comm *comm, struct tcp *tcp, const struct comm_options *options,
                     struct error *error)
{
    struct join *join = mem_alloc(sizeof(*join));
    *join = (struct join){.comm = comm, .tcp = tcp, .options = options, .listener = -1};
    int64_t link_ms = options->timeout_ms / 4;
    join->link_us = (link_ms < LINK_MS ? link_ms : LINK_MS) * 1000;
    enum status status = listener_open(join, error);
    if (status == STATUS_OK) {
        status = wait_for_all(join, comm_now_us() + options->timeout_ms * 1000, error);
        close(join->listener);
    }
    for (int i = 0; i < LINKS_MAX; i++) {
        if (join->links[i].state != LINK_FREE) {
            link_drop(&join->links[i]);
        }
    }
    mem_free(join);
    return status;
}
