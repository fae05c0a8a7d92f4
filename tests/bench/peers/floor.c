/* The floor under every bridge between Twilio's stream and Vapi's socket: the system calls, and nothing else.
 *
 *     floor --vapi ws://127.0.0.1:PORT/agent
 *
 * One thread, one epoll. For each readable socket: one recv, the frames in it counted by their length headers, and one
 * send of as many frames, PREPARED at the start, to the other leg. No JSON is read, no base64 made, no audio copied: the
 * bytes that go out have the right size and shape and always the same content. A bridge that does its work in any
 * language pays this much to the kernel, and then its own.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    AUDIO_BYTES = 160,
    AUDIO_BASE64 = 216,          /* no text shorter than this holds a frame of audio */
    FRAMES_AT_ONCE = 64,         /* prepared in a row, so that merged frames still go out in one send */
    MOST_OWED_BYTES = 1 << 20,   /* a leg that reads so much too slowly is given up */
    HTTP_BYTES = 4096,
    READ_BYTES = 65536,
    EVENTS = 512,
    TEXT = 1, BINARY = 2, CLOSE = 8,
};

enum state { CONNECTING, IN_HTTP, OPEN, GONE };

struct prepared { unsigned char *bytes; size_t frame, size; };

struct leg {
    int fd, is_line;             /* the line is Twilio's end, the agent Vapi's */
    enum state state;
    struct leg *other, *next_gone;
    const struct prepared *out;
    size_t owed;                 /* bytes of prepared frames not yet taken by the socket */
    int waits_to_write, said_close;
    unsigned texts;              /* whole text frames so far: the first two are `connected` and `start` */
    unsigned char head[14];      /* of the frame being read */
    unsigned have;
    uint64_t body, body_left;
    size_t http_have;
    char http[HTTP_BYTES];
};

static int epoll;
static struct leg *gone;         /* freed after the batch of events that may still name them */
static struct prepared to_line, to_agent;
static struct addrinfo *vapi;
static char upgrade[512];
static unsigned char buffer[READ_BYTES];
static struct leg the_door, the_stdin;

static void die(const char *what) { perror(what); exit(1); }

/* ---- SHA-1 and base64, for the handshake ---- */

static uint32_t rotl(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1_block(uint32_t h[5], const unsigned char *p) {
    uint32_t w[80], v[5];
    for (int i = 0; i < 80; i++)
        w[i] = i < 16 ? (uint32_t)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3]
                      : rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    memcpy(v, h, sizeof v);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? ((v[1] & v[2]) | (~v[1] & v[3])) + 0x5A827999
                     : i < 40 ? (v[1] ^ v[2] ^ v[3]) + 0x6ED9EBA1
                     : i < 60 ? ((v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3])) + 0x8F1BBCDC
                              : (v[1] ^ v[2] ^ v[3]) + 0xCA62C1D6;
        uint32_t next = rotl(v[0], 5) + f + v[4] + w[i];
        v[4] = v[3], v[3] = v[2], v[2] = rotl(v[1], 30), v[1] = v[0], v[0] = next;
    }
    for (int i = 0; i < 5; i++) h[i] += v[i];
}

/* Of at most 119 bytes: a key and the GUID are 60. */
static void sha1(const char *text, unsigned char digest[20]) {
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    unsigned char padded[128] = {0};
    size_t size = strnlen(text, 119), blocks = size < 56 ? 1 : 2;
    memcpy(padded, text, size);
    padded[size] = 0x80;
    padded[blocks * 64 - 2] = (unsigned char)(size * 8 >> 8);
    padded[blocks * 64 - 1] = (unsigned char)(size * 8);
    for (size_t i = 0; i < blocks; i++) sha1_block(h, padded + 64 * i);
    for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const unsigned char *from, size_t size, char *to) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        uint32_t three = (uint32_t)from[i] << 16 | (i + 1 < size ? from[i + 1] << 8 : 0) | (i + 2 < size ? from[i + 2] : 0);
        *to++ = letters[three >> 18];
        *to++ = letters[three >> 12 & 63];
        *to++ = i + 1 < size ? letters[three >> 6 & 63] : '=';
        *to++ = i + 2 < size ? letters[three & 63] : '=';
    }
    *to = 0;
}

/* ---- what goes out ---- */

static struct prepared repeated(const unsigned char *frame, size_t size) {
    struct prepared made = {malloc(size * FRAMES_AT_ONCE), size, size * FRAMES_AT_ONCE};
    if (!made.bytes) die("malloc");
    for (int i = 0; i < FRAMES_AT_ONCE; i++) memcpy(made.bytes + i * size, frame, size);
    return made;
}

static void prepare(void) {
    static const unsigned char mask[4] = {0x37, 0xFA, 0x21, 0x3D};
    unsigned char audio[AUDIO_BYTES], masked[8 + AUDIO_BYTES] = {0x80 | BINARY, 0x80 | 126, 0, AUDIO_BYTES};
    memcpy(masked + 4, mask, 4);
    for (int i = 0; i < AUDIO_BYTES; i++) {
        audio[i] = (unsigned char)(0x2A ^ (i & 1 ? 0x80 : 0));
        masked[8 + i] = audio[i] ^ mask[i % 4];
    }
    to_agent = repeated(masked, sizeof masked);

    char payload[AUDIO_BASE64 + 1];
    unsigned char text[4 + 512];
    base64(audio, AUDIO_BYTES, payload);
    int size = snprintf((char *)text + 4, 512, "{\"event\":\"media\",\"streamSid\":\"MZ%032d\",\"media\":{\"payload\":\"%s\"}}", 0,
                        payload);
    text[0] = 0x80 | TEXT, text[1] = 126, text[2] = (unsigned char)(size >> 8), text[3] = (unsigned char)size;
    to_line = repeated(text, 4 + (size_t)size);
}

/* ---- legs ---- */

static void watch(struct leg *leg, int how, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = leg};
    if (epoll_ctl(epoll, how, leg->fd, &event) < 0) die("epoll_ctl");
}

static struct leg *new_leg(int fd, int is_line, enum state state) {
    struct leg *leg = calloc(1, sizeof *leg);
    if (!leg) die("calloc");
    leg->fd = fd, leg->is_line = is_line, leg->state = state, leg->out = is_line ? &to_line : &to_agent;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    watch(leg, EPOLL_CTL_ADD, state == CONNECTING ? EPOLLOUT : EPOLLIN);
    return leg;
}

static void drop(struct leg *leg) {
    static const unsigned char from_server[] = {0x88, 2, 0x03, 0xE8}, from_client[] = {0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8};
    if (!leg || leg->state == GONE) return;
    if (leg->state == OPEN && !leg->owed)
        leg->is_line ? send(leg->fd, from_server, sizeof from_server, MSG_NOSIGNAL)
                     : send(leg->fd, from_client, sizeof from_client, MSG_NOSIGNAL);
    close(leg->fd);
    leg->state = GONE, leg->next_gone = gone, gone = leg;
}

static void end_call(struct leg *leg) {
    drop(leg->other);
    drop(leg);
}

static void bury(void) {
    while (gone) {
        struct leg *next = gone->next_gone;
        free(gone);
        gone = next;
    }
}

/* Send what is owed: one call, unless the socket is full or more came at once than was prepared in a row. */
static void pour(struct leg *leg) {
    const struct prepared *out = leg->out;
    while (leg->owed) {
        size_t done = (out->frame - leg->owed % out->frame) % out->frame;
        size_t most = leg->owed < out->size - done ? leg->owed : out->size - done;
        ssize_t sent = send(leg->fd, out->bytes + done, most, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN || leg->owed > MOST_OWED_BYTES) { end_call(leg); return; }
            if (!leg->waits_to_write) watch(leg, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            leg->waits_to_write = 1;
            return;
        }
        leg->owed -= (size_t)sent;
    }
    if (leg->waits_to_write) watch(leg, EPOLL_CTL_MOD, EPOLLIN);
    leg->waits_to_write = 0;
}

static void dial(struct leg *line) {
    int fd = socket(vapi->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || (connect(fd, vapi->ai_addr, vapi->ai_addrlen) < 0 && errno != EINPROGRESS)) {
        if (fd >= 0) close(fd);
        line->said_close = 1;    /* a bridge whose agent is down */
        return;
    }
    line->other = new_leg(fd, 0, CONNECTING);
    line->other->other = line;
}

/* ---- what comes in ---- */

static unsigned head_bytes(const unsigned char *head) {
    unsigned size = head[1] & 0x7F;
    return 2 + (size == 126 ? 2 : size == 127 ? 8 : 0) + (head[1] & 0x80 ? 4 : 0);
}

static uint64_t body_bytes(const unsigned char *head) {
    uint64_t size = head[1] & 0x7F;
    int more = size == 126 ? 2 : size == 127 ? 8 : 0;
    if (more) size = 0;
    for (int i = 0; i < more; i++) size = size << 8 | head[2 + i];
    return size;
}

/* One whole frame was read. Returns 1 if it is audio; `start` makes us dial. */
static unsigned judge(struct leg *leg) {
    int opcode = leg->head[0] & 0x0F;
    if (opcode == CLOSE) leg->said_close = 1;
    if (!leg->is_line) return opcode == BINARY;
    if (opcode != TEXT) return 0;
    if (++leg->texts == 2) dial(leg);
    return leg->texts > 2 && leg->body >= AUDIO_BASE64;
}

static unsigned count_audio(struct leg *leg, const unsigned char *at, const unsigned char *end) {
    unsigned audio = 0;
    for (;;) {
        while (leg->have < 2 || leg->have < head_bytes(leg->head)) {
            if (at == end) return audio;
            leg->head[leg->have++] = *at++;
            if (leg->have >= 2 && leg->have == head_bytes(leg->head)) leg->body = leg->body_left = body_bytes(leg->head);
        }
        uint64_t here = leg->body_left < (uint64_t)(end - at) ? leg->body_left : (uint64_t)(end - at);
        at += here;
        if (leg->body_left -= here) return audio;
        audio += judge(leg);
        leg->have = 0;
    }
}

static void relay(struct leg *leg, const unsigned char *data, size_t size) {
    unsigned audio = count_audio(leg, data, data + size);
    struct leg *other = leg->other;
    if (audio && other && other->state == OPEN) {
        other->owed += audio * other->out->frame;
        pour(other);
    }
    if (leg->said_close && leg->state != GONE) end_call(leg);
}

static int answer_upgrade(struct leg *leg) {
    char *key = strcasestr(leg->http, "\r\nsec-websocket-key:"), text[128], accept[32], answer[256];
    unsigned char digest[20];
    if (strncmp(leg->http, "GET /media", 10) || !key) return -1;
    key += 20;
    key += strspn(key, " ");
    snprintf(text, sizeof text, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", (int)strcspn(key, " \r"), key);
    sha1(text, digest);
    base64(digest, sizeof digest, accept);
    int size = snprintf(answer, sizeof answer,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    return send(leg->fd, answer, (size_t)size, MSG_NOSIGNAL) == size ? 0 : -1;
}

static void shake_hands(struct leg *leg, size_t size) {
    size_t room = HTTP_BYTES - 1 - leg->http_have, before = leg->http_have;
    size_t kept = size < room ? size : room;
    memcpy(leg->http + before, buffer, kept);
    leg->http_have += kept;
    leg->http[leg->http_have] = 0;
    char *end = strstr(leg->http, "\r\n\r\n");
    if (!end) {
        if (leg->http_have == HTTP_BYTES - 1) end_call(leg);
        return;
    }
    if (leg->is_line ? answer_upgrade(leg) : strncmp(leg->http, "HTTP/1.1 101", 12)) { end_call(leg); return; }
    leg->state = OPEN;
    size_t used = (size_t)(end + 4 - leg->http) - before;
    relay(leg, buffer + used, size - used);
}

static void accept_all(void) {
    int fd;
    while ((fd = accept4(the_door.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) new_leg(fd, 1, IN_HTTP);
}

static void serve(struct leg *leg, uint32_t events) {
    if (leg->state == GONE) return;
    if (leg->state == CONNECTING) {
        int error = 0;
        getsockopt(leg->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
        if (error || send(leg->fd, upgrade, strlen(upgrade), MSG_NOSIGNAL) < 0) { end_call(leg); return; }
        leg->state = IN_HTTP;
        watch(leg, EPOLL_CTL_MOD, EPOLLIN);
        return;
    }
    if (events & EPOLLOUT) pour(leg);
    if (leg->state == GONE || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t size = recv(leg->fd, buffer, sizeof buffer, 0);
    if (size <= 0) {
        if (size == 0 || errno != EAGAIN) end_call(leg);
    } else if (leg->state == OPEN) relay(leg, buffer, (size_t)size);
    else shake_hands(leg, (size_t)size);
}

static void open_door(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    the_door.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (the_door.fd < 0 || bind(the_door.fd, (struct sockaddr *)&address, size) < 0 || listen(the_door.fd, 1024) < 0)
        die("listen");
    getsockname(the_door.fd, (struct sockaddr *)&address, &size);
    watch(&the_door, EPOLL_CTL_ADD, EPOLLIN);
    printf("{\"ready\": true, \"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
}

int main(int argc, char **argv) {
    char host[128], port[8], path[128] = "/";
    if (argc != 3 || strcmp(argv[1], "--vapi") || sscanf(argv[2], "ws://%127[^:/]:%7[0-9]%127s", host, port, path) < 2) {
        fprintf(stderr, "usage: floor --vapi ws://HOST:PORT/PATH\n");
        return 2;
    }
    if (getaddrinfo(host, port, &(struct addrinfo){.ai_socktype = SOCK_STREAM}, &vapi)) die("getaddrinfo");
    snprintf(upgrade, sizeof upgrade,
             "GET %s HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: Y2FsbHNjb3BlIGZsb29yIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path, host, port);
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) files.rlim_cur = files.rlim_max, setrlimit(RLIMIT_NOFILE, &files);
    prepare();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    the_stdin.fd = STDIN_FILENO;
    watch(&the_stdin, EPOLL_CTL_ADD, EPOLLIN);   /* a pipe or a terminal: a plain file cannot be waited for */
    open_door();
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            struct leg *leg = events[i].data.ptr;
            if (leg == &the_door) accept_all();
            else if (leg != &the_stdin) serve(leg, events[i].events);
            else if (read(STDIN_FILENO, buffer, sizeof buffer) <= 0) return 0;
        }
        bury();
    }
}
