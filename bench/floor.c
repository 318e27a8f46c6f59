// The kernel floor: what any server pays on this machine. One UDP socket, recvmmsg and sendmmsg of up
// to 64, and nothing else.
//
//   cc -O2 -o floor floor.c
//   taskset -c 0 ./floor 5060             answers OPTIONS: headers found with memchr, a 200 copied out
//   taskset -c 0 ./floor 5060 6000 7000   a call: what comes from one port of sipload's goes to the other
//                                         unread, and an INVITE is answered 100 as well: 13 datagrams
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { BATCH = 64, SIZE = 4096 };

static char in[BATCH][SIZE], out[BATCH][SIZE];
static struct sockaddr_in from[BATCH], to[2];
static struct iovec in_vec[BATCH], out_vec[2 * BATCH];
static struct mmsghdr received[BATCH], sent[2 * BATCH];

static int is(const char *line, const char *end, const char *name) {
  size_t len = strlen(name);
  return end - line > (long)len && !strncasecmp(line, name, len) && line[len] == ':';
}

// Copies the headers a response repeats (RFC 3261 section 8.2.6.2).
static size_t answer(const char *message, size_t len, char *to) {
  char *at = stpcpy(to, "SIP/2.0 200 OK\r\n");
  const char *line = message, *end = message + len;
  while ((line = memchr(line, '\n', end - line)) && ++line < end && *line != '\r') {
    const char *next = memchr(line, '\n', end - line);
    if (!next) break;
    if (is(line, next, "Via") || is(line, next, "From") || is(line, next, "To") ||
        is(line, next, "Call-ID") || is(line, next, "CSeq")) {
      size_t all = next + 1 - line;
      memcpy(at, line, all);
      at += all;
      if (is(line, next, "To")) at = stpcpy(at - 2, ";tag=floor\r\n");
    }
  }
  return stpcpy(at, "Content-Length: 0\r\n\r\n") - to;
}

// Points the datagrams at where they go; those to answer are answered behind them.
static int relay(int got, int caller, int callee) {
  int all = got;
  for (int i = 0; i < got; i++) {
    int invite = !memcmp(in[i], "INVITE ", 7);
    if (invite && all < 2 * BATCH) {
      sent[all].msg_hdr.msg_name = &to[0];
      out_vec[all] = (struct iovec){out[i], answer(in[i], received[i].msg_len, out[i])};
      all++;
    }
    sent[i].msg_hdr.msg_name = &to[from[i].sin_port == htons(callee) ? 0 : 1];
    out_vec[i] = (struct iovec){in[i], received[i].msg_len};
  }
  to[0].sin_port = htons(caller), to[1].sin_port = htons(callee);
  return all;
}

int main(int count, char **words) {
  int caller = count > 3 ? atoi(words[2]) : 0, callee = count > 3 ? atoi(words[3]) : 0;
  int socket_ = socket(AF_INET, SOCK_DGRAM, 0), room = 4 << 20;
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(count > 1 ? atoi(words[1]) : 5060)};
  inet_pton(AF_INET, "127.0.0.1", &here.sin_addr);
  setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  if (bind(socket_, (void *)&here, sizeof here)) return perror("bind"), 1;
  to[0] = to[1] = here;
  for (int i = 0; i < 2 * BATCH; i++) {
    sent[i].msg_hdr = (struct msghdr){.msg_iov = &out_vec[i], .msg_iovlen = 1, .msg_name = &from[i % BATCH]};
    sent[i].msg_hdr.msg_namelen = sizeof from[0];
  }
  for (int i = 0; i < BATCH; i++) {
    in_vec[i] = (struct iovec){in[i], SIZE};
    received[i].msg_hdr = (struct msghdr){.msg_iov = &in_vec[i], .msg_iovlen = 1, .msg_name = &from[i]};
  }
  for (;;) {
    for (int i = 0; i < BATCH; i++) received[i].msg_hdr.msg_namelen = sizeof from[i];
    int got = recvmmsg(socket_, received, BATCH, MSG_WAITFORONE, NULL);
    if (caller) got = relay(got, caller, callee);
    else
      for (int i = 0; i < got; i++) out_vec[i] = (struct iovec){out[i], answer(in[i], received[i].msg_len, out[i])};
    for (int done = 0; done < got;) {
      int now = sendmmsg(socket_, sent + done, got - done, 0);
      if (now <= 0) break;
      done += now;
    }
  }
}
