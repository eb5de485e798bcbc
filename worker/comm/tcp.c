/* SPDX-License-Identifier: Apache-2.0
 *
 * tcp: an exchange is one message to every peer and one from every peer, in one loop over
 * nonblocking sockets.
 *
 * Both sides know the sizes, so a message is read straight to where its bytes belong. Invariants:
 * of a peer that is done with this exchange only the head of its next message is read, where a
 * poison would stand; a closed connection matters once something is still expected from it, so a
 * rank may leave when it has everything. Who has the first failure: a poison that says it counts
 * more than a connection that closed, because a survivor sends its poison before it leaves.
 *
 * Rejected: a thread a peer, and epoll; the loop is over at most 63 sockets, all of which are busy.
 */
#include "worker/comm/tcp.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/limits.h"

/* How long a failing rank tries to tell peers that do not read: short against any deadline. */
enum { SPIN_US = 50, FLUSH_MS = 200, FLUSH_LOOK_US = 500 };

/* Of all peers' pieces together: several times what a connection has under way. */
#define PIECES_BYTES (4 * MIB)

/* ---- life --------------------------------------------------------------------------------------
 */

static enum status open_tcp(struct comm *comm, const struct comm_options *options,
                            struct error *error)
{
    struct tcp *tcp = mem_alloc(sizeof(*tcp));
    comm->transport = tcp;
    comm->to_bytes_max = comm->same_bytes_max = PIECES_BYTES / (size_t)options->world / 64 * 64;
    tcp->spins = comm_spins(options->world);
    for (int32_t r = 0; r < options->world; r++) {
        tcp->peers[r].fd = -1;
        if (r != options->rank) {
            tcp->peers[r].inbox = mem_alloc(comm->to_bytes_max + comm->same_bytes_max);
        }
    }
    return tcp_join(comm, tcp, options, error);
}

static void peer_close(struct tcp_peer *peer)
{
    if (peer->fd >= 0) {
        close(peer->fd);
        peer->fd = -1;
    }
}

/* ---- transfers ---------------------------------------------------------------------------------
 */

static size_t parts_left(const struct tcp_transfer *transfer, struct iovec vectors[FRAME_PARTS])
{
    size_t skip = transfer->done, count = 0;
    for (int i = 0; i < FRAME_PARTS; i++) {
        size_t bytes = transfer->parts[i].bytes;
        size_t begin = skip < bytes ? skip : bytes;
        skip -= begin;
        if (begin < bytes) {
            char *data = transfer->parts[i].data;
            vectors[count++] = (struct iovec){data + begin, bytes - begin};
        }
    }
    return count;
}

enum moved { MOVED_NOTHING, MOVED_BYTES, MOVED_CLOSED };

static enum moved peer_send(struct tcp_peer *peer)
{
    struct iovec vectors[FRAME_PARTS];
    if (peer->out.done == peer->out.bytes) {
        return MOVED_NOTHING;
    }
    struct msghdr message = {.msg_iov = vectors};
    message.msg_iovlen = parts_left(&peer->out, vectors);
    ssize_t sent = failpoint_fails("rank_send")
                       ? -1
                       : sendmsg(peer->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        return errno == EAGAIN || errno == EINTR ? MOVED_NOTHING : MOVED_CLOSED;
    }
    peer->out.done += (size_t)sent;
    return MOVED_BYTES;
}

static enum moved peer_receive(struct tcp_peer *peer)
{
    struct iovec vectors[FRAME_PARTS];
    if (peer->in.done == peer->in.bytes) {
        return MOVED_NOTHING;
    }
    struct msghdr message = {.msg_iov = vectors};
    message.msg_iovlen = parts_left(&peer->in, vectors);
    ssize_t got = recvmsg(peer->fd, &message, MSG_DONTWAIT);
    if (got <= 0) {
        return got < 0 && (errno == EAGAIN || errno == EINTR) ? MOVED_NOTHING : MOVED_CLOSED;
    }
    peer->in.done += (size_t)got;
    return MOVED_BYTES;
}

/* The head of the next message of a peer that is done with this exchange. */
static enum moved peer_look_ahead(struct tcp_peer *peer)
{
    size_t left = sizeof(peer->frame_in) - peer->head_bytes;
    if (left == 0) {
        return MOVED_NOTHING;
    }
    ssize_t got = recv(peer->fd, (char *)&peer->frame_in + peer->head_bytes, left, MSG_DONTWAIT);
    if (got <= 0) {
        return got < 0 && (errno == EAGAIN || errno == EINTR) ? MOVED_NOTHING : MOVED_CLOSED;
    }
    peer->head_bytes += (size_t)got;
    return MOVED_BYTES;
}

/* ---- one peer's part of an exchange -------------------------------------------------------------
 */

static bool is_done(const struct tcp_peer *peer)
{
    return peer->in.done == peer->in.bytes && peer->out.done == peer->out.bytes;
}

bool tcp_fail_as_told(const struct comm *comm, const struct tcp_frame *frame,
                      struct comm_failure *failure)
{
    int32_t failed = frame->failed_rank;
    return comm_fail(failure, failed >= 0 && failed < comm->world ? failed : COMM_NOBODY, "%.*s",
                     COMM_REASON_BYTES - 1, frame->reason);
}

/* The head of a message: ours, a poison, or nonsense. */
static bool frame_check(struct comm *comm, int32_t rank, const struct comm_exchange *exchange,
                        struct comm_failure *failure)
{
    struct tcp *tcp = comm->transport;
    struct tcp_peer *peer = &tcp->peers[rank];
    const struct tcp_frame *frame = &peer->frame_in;
    if (frame->magic != FRAME_MAGIC) {
        return comm_fail(failure, rank, "it sent something else than a frame");
    }
    if (frame->kind == FRAME_POISON) {
        return tcp_fail_as_told(comm, frame, failure);
    }
    if (frame->kind != FRAME_DATA || frame->sequence != comm->sequence) {
        return comm_fail(failure, rank, "it sent exchange %u instead of %u", frame->sequence,
                         comm->sequence);
    }
    peer->checked = true;
    return comm_agrees(comm, rank, &exchange->agreement, &frame->agreement, failure);
}

/* Begins where the last exchange ended: the head of the message may be there already. */
static void peer_begin(struct comm *comm, int32_t rank, struct comm_exchange *exchange)
{
    struct tcp *tcp = comm->transport;
    struct tcp_peer *peer = &tcp->peers[rank];
    peer->frame_out = (struct tcp_frame){.magic = FRAME_MAGIC,
                                         .kind = FRAME_DATA,
                                         .sequence = comm->sequence,
                                         .failed_rank = COMM_NOBODY,
                                         .agreement = exchange->agreement};
    peer->out = (struct tcp_transfer){
        .parts = {{&peer->frame_out, sizeof(peer->frame_out)}, exchange->to[rank], exchange->same}};
    exchange->from[rank].data = peer->inbox;
    if (!exchange->all[rank].data) {
        exchange->all[rank].data = peer->inbox + comm->to_bytes_max;
    }
    CHECK(exchange->from[rank].bytes <= comm->to_bytes_max);
    CHECK(exchange->all[rank].bytes <= comm->same_bytes_max);
    peer->in = (struct tcp_transfer){.parts = {{&peer->frame_in, sizeof(peer->frame_in)},
                                               exchange->from[rank],
                                               exchange->all[rank]},
                                     .done = peer->head_bytes};
    for (int i = 0; i < FRAME_PARTS; i++) {
        peer->out.bytes += peer->out.parts[i].bytes;
        peer->in.bytes += peer->in.parts[i].bytes;
    }
    peer->head_bytes = 0;
    peer->checked = false;
    peer->progress_us = comm_now_us();
}

enum outcome {
    IDLE,
    PROGRESS,
    LOST, /* closed although something is still expected; `failure` says so */
    SAID  /* a poison, or nonsense; `failure` says what */
};

static enum outcome peer_step(struct comm *comm, int32_t rank, const struct comm_exchange *exchange,
                              struct comm_failure *failure)
{
    struct tcp *tcp = comm->transport;
    struct tcp_peer *peer = &tcp->peers[rank];
    enum moved sent = MOVED_CLOSED, got = MOVED_CLOSED;
    if (peer->fd >= 0) {
        sent = peer_send(peer);
        got = peer_receive(peer);
    }
    if (!peer->checked && peer->in.done >= sizeof(peer->frame_in) &&
        !frame_check(comm, rank, exchange, failure)) {
        return SAID;
    }
    if (peer->fd >= 0 && peer->in.done == peer->in.bytes) { /* then frame_in is free */
        got = peer_look_ahead(peer) == MOVED_CLOSED ? MOVED_CLOSED : got;
        if (peer->head_bytes == sizeof(peer->frame_in) && peer->frame_in.kind == FRAME_POISON) {
            tcp_fail_as_told(comm, &peer->frame_in, failure);
            return SAID;
        }
    }
    if (got == MOVED_CLOSED || (sent == MOVED_CLOSED && got == MOVED_NOTHING)) {
        peer_close(peer);
        comm_fail(failure, rank, "its connection was closed");
        return is_done(peer) ? IDLE : LOST;
    }
    if (sent != MOVED_BYTES && got != MOVED_BYTES) {
        return IDLE;
    }
    peer->progress_us = comm_now_us();
    return PROGRESS;
}

/* Sleeps until a socket is ready for what is wanted of it, at most COMM_LOOK_MS. */
static void sleep_for_peers(const struct comm *comm, const struct tcp *tcp)
{
    struct pollfd polls[COMM_WORLD_MAX];
    nfds_t count = 0;
    for (int32_t r = 0; r < comm->world; r++) {
        const struct tcp_peer *peer = &tcp->peers[r];
        short events = peer->out.done < peer->out.bytes ? POLLOUT : 0;
        if (peer->in.done < peer->in.bytes || peer->head_bytes < sizeof(peer->frame_in)) {
            events |= POLLIN;
        }
        if (peer->fd >= 0 && events != 0) {
            polls[count++] = (struct pollfd){.fd = peer->fd, .events = events};
        }
    }
    poll(polls, count, COMM_LOOK_MS);
}

/* Has somebody made no progress for too long? */
static bool peers_are_in_time(const struct comm *comm, const struct tcp *tcp,
                              struct comm_failure *failure)
{
    int64_t now_us = comm_now_us();
    for (int32_t r = 0; r < comm->world; r++) {
        const struct tcp_peer *peer = &tcp->peers[r];
        if (r != comm->rank && !is_done(peer) &&
            now_us - peer->progress_us >= comm->timeout_ms * 1000) {
            return comm_fail(failure, r, "no progress within %lld ms", (long long)comm->timeout_ms);
        }
    }
    return true;
}

/* One look at every peer. False when the exchange has failed, or may have: *lost. */
static bool peers_step(struct comm *comm, const struct comm_exchange *exchange, bool *pending,
                       bool *progress, bool *lost, struct comm_failure *failure)
{
    struct tcp *tcp = comm->transport;
    *pending = *progress = *lost = false;
    for (int32_t i = 1; i < comm->world; i++) {
        int32_t r = (comm->rank + i) % comm->world;
        struct comm_failure now;
        enum outcome outcome = peer_step(comm, r, exchange, &now);
        if (outcome == SAID || (outcome == LOST && !*lost)) {
            *failure = now;
            *lost = outcome == LOST;
        }
        if (outcome == SAID) {
            return false;
        }
        *progress = *progress || outcome == PROGRESS;
        *pending = *pending || !is_done(&tcp->peers[r]);
    }
    return !*lost;
}

static bool exchange_tcp(struct comm *comm, struct comm_exchange *exchange,
                         struct comm_failure *failure)
{
    struct tcp *tcp = comm->transport;
    for (int32_t r = 0; r < comm->world; r++) {
        if (r != comm->rank) {
            peer_begin(comm, r, exchange);
        }
    }
    int64_t spin_until_us = 0;
    for (;;) {
        bool pending, progress, lost;
        if (!peers_step(comm, exchange, &pending, &progress, &lost, failure)) {
            if (lost) { /* a poison that has just come counts more */
                peers_step(comm, exchange, &pending, &progress, &lost, failure);
            }
            return false;
        }
        if (!pending) {
            return true;
        }
        if (comm_aborted(comm)) {
            return comm_fail(failure, comm->rank, "%s", comm->abort_reason);
        }
        if (progress) {
            spin_until_us = tcp->spins && !comm->patient ? comm_now_us() + SPIN_US : 0;
        } else if (comm_now_us() < spin_until_us) {
            comm_relax();
        } else {
            if (!peers_are_in_time(comm, tcp, failure)) {
                return false;
            }
            sleep_for_peers(comm, tcp);
        }
    }
}

/* ---- poison ------------------------------------------------------------------------------------
 */

/* Reads and forgets. Peers that are telling us something must not wait for us to listen, and a
 * socket that is closed over unread bytes throws away what it has not sent yet. False once the peer
 * has closed. */
static bool peer_drain(struct tcp_peer *peer)
{
    static _Thread_local char junk[64 * 1024];
    ssize_t got;
    do {
        got = recv(peer->fd, junk, sizeof(junk), MSG_DONTWAIT);
    } while (got > 0 || (got < 0 && errno == EINTR));
    return got < 0 && errno == EAGAIN;
}

/* What is half sent must be finished before, or the peer could not tell the poison from data. True
 * when nothing is left to do. */
static bool peer_poison(struct tcp_peer *peer, const struct tcp_frame *frame, bool *loaded)
{
    if (peer->fd < 0) {
        return true;
    }
    peer_drain(peer);
    for (;;) {
        bool sent_all = peer->out.done == peer->out.bytes;
        if (sent_all && *loaded) {
            shutdown(peer->fd, SHUT_WR);
            return true;
        }
        if (!*loaded && (sent_all || peer->out.done == 0)) {
            peer->frame_out = *frame;
            peer->out = (struct tcp_transfer){.parts = {{&peer->frame_out, sizeof(*frame)}},
                                              .bytes = sizeof(*frame)};
            *loaded = true;
        }
        enum moved sent = peer_send(peer);
        if (sent != MOVED_BYTES) {
            return sent == MOVED_CLOSED;
        }
    }
}

static void poison(struct comm *comm, struct comm_failure *failure)
{
    struct tcp *tcp = comm->transport;
    struct tcp_frame frame = {
        .magic = FRAME_MAGIC, .kind = FRAME_POISON, .failed_rank = failure->rank};
    memcpy(frame.reason, failure->reason, sizeof(frame.reason));
    bool loaded[COMM_WORLD_MAX] = {false};
    int64_t end_us = comm_now_us() + FLUSH_MS * 1000;
    tcp->poisoned = true;
    tcp->failed_rank = failure->rank;
    bool all;
    do {
        all = true;
        for (int32_t r = 0; r < comm->world; r++) {
            /* Whoever failed is told if that is possible at once. */
            bool told = peer_poison(&tcp->peers[r], &frame, &loaded[r]);
            all = all && (told || r == failure->rank);
        }
        if (!all) {
            usleep(FLUSH_LOOK_US);
        }
    } while (!all && comm_now_us() < end_us);
}

/* Gives what was sent last a chance to arrive: see peer_drain. */
static void linger(struct comm *comm, struct tcp *tcp)
{
    int64_t end_us = comm_now_us() + FLUSH_MS * 1000;
    bool open;
    do {
        open = false;
        for (int32_t r = 0; r < comm->world; r++) {
            struct tcp_peer *peer = &tcp->peers[r];
            if (peer->fd >= 0 && !peer_drain(peer)) {
                peer_close(peer);
            }
            open = open || (peer->fd >= 0 && r != tcp->failed_rank);
        }
        if (open) {
            usleep(FLUSH_LOOK_US);
        }
    } while (open && comm_now_us() < end_us);
}

static void close_tcp(struct comm *comm)
{
    struct tcp *tcp = comm->transport;
    if (tcp->poisoned) {
        linger(comm, tcp);
    }
    for (int32_t r = 0; r < comm->world; r++) {
        peer_close(&tcp->peers[r]);
        mem_free(tcp->peers[r].inbox);
    }
    mem_free(tcp);
}

enum tcp_health tcp_peer_health(const struct comm *comm, int32_t rank, struct comm_failure *failure)
{
    const struct tcp *tcp = comm->transport;
    const struct tcp_peer *peer = &tcp->peers[rank];
    struct tcp_frame frame;
    ssize_t got = peer->fd < 0 ? 0 : recv(peer->fd, &frame, sizeof(frame), MSG_PEEK | MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        comm_fail(failure, rank, "its connection was closed");
        return TCP_CLOSED;
    }
    /* Where a part of the head was read ahead, what comes next is no head. */
    if (got == (ssize_t)sizeof(frame) && peer->head_bytes == 0 && frame.magic == FRAME_MAGIC &&
        frame.kind == FRAME_POISON) {
        tcp_fail_as_told(comm, &frame, failure);
        return TCP_POISON;
    }
    return TCP_WELL;
}

static bool look(struct comm *comm, struct comm_failure *failure)
{
    bool closed = false;
    for (int32_t r = 0; r < comm->world; r++) {
        struct comm_failure now;
        enum tcp_health health = r == comm->rank ? TCP_WELL : tcp_peer_health(comm, r, &now);
        if (health == TCP_POISON || (health == TCP_CLOSED && !closed)) {
            *failure = now;
            closed = true;
        }
        if (health == TCP_POISON) {
            return false;
        }
    }
    return !closed;
}

const struct comm_ops comm_tcp_ops = {
    .open = open_tcp, .exchange = exchange_tcp, .poison = poison, .close = close_tcp, .look = look};
