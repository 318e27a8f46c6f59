// Paced RTP through a relay: loss, delay and the relay's CPU time a packet. One line of JSON.
//
//   mediaload LEGS PID[,PID..] RATE WARM_S COUNT_S [RELAY-IP OWN-IP]
//
// LEGS has a line for each leg, caller and callee in turn: `PORT SEND-KEY RECEIVE-KEY`, the port of the
// relay to send to, and keys as `cm:HEX` (AES_CM_128_HMAC_SHA1_80), `gcm:HEX` (AEAD_AES_128_GCM) or `-`.
// Callers send from port 5000, callees from 5001, on loopback unless addresses are given. A packet carries the time it was sent, after the RTP
// header in the clear or by its sequence number where it is encrypted.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <srtp2/srtp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, PACKET = 256, PAYLOAD = 160, HEADER = 12, STAMPS = 1024, BUCKETS = 200000 };

struct leg {
  struct sockaddr_in relay;
  srtp_t send, receive;
  uint16_t sequence;
  uint64_t stamps[STAMPS];  // when each was sent, where the packet cannot say
  uint8_t *sealed;          // packets protected beforehand: libsrtp's cost is not the generator's
  int *sealed_len;
  uint32_t sealed_at;
};

static struct leg *legs;
static int leg_count, sockets[2];
static uint32_t histogram[BUCKETS];  // half microseconds
static uint64_t sent, received, bad, unlocked, failed;
static int counting;
static struct in_addr relay_ip, own_ip;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t cpu_of(int pid) {
  char path[320];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *tasks = opendir(path);
  if (!tasks) die(path);
  uint64_t sum = 0;
  for (struct dirent *task; (task = readdir(tasks));) {
    if (task->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, task->d_name);
    FILE *file = fopen(path, "r");
    unsigned long long on_cpu;
    if (file && fscanf(file, "%llu", &on_cpu) == 1) sum += on_cpu;
    if (file) fclose(file);
  }
  closedir(tasks);
  return sum;
}

static uint64_t cpu_ns(const char *pids) {
  uint64_t sum = 0;
  for (const char *at = pids; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) sum += cpu_of(atoi(at));
  return sum;
}

static srtp_t context(const char *key, int inbound) {
  if (key[0] == '-') return NULL;
  static uint8_t bytes[64];
  const char *hex = strchr(key, ':') + 1;
  for (int i = 0; hex[2 * i]; i++) sscanf(hex + 2 * i, "%2hhx", &bytes[i]);
  srtp_policy_t policy = {.key = bytes, .window_size = 4096};
  policy.ssrc.type = inbound ? ssrc_any_inbound : ssrc_any_outbound;
  if (key[0] == 'g') {
    srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp);
    srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp);
  } else {
    srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtp);
    srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtcp);
  }
  srtp_t made;
  if (srtp_create(&made, &policy)) die("srtp_create");
  return made;
}

static void read_legs(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) die(path);
  int port;
  char send[160], receive[160];
  while (fscanf(file, "%d %159s %159s", &port, send, receive) == 3) {
    legs = realloc(legs, (leg_count + 1) * sizeof *legs);
    struct leg *leg = &legs[leg_count++];
    memset(leg, 0, sizeof *leg);
    leg->relay = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    leg->relay.sin_addr = relay_ip;
    leg->send = context(send, 0);
    leg->receive = context(receive, 1);
    leg->sequence = 1000 + leg_count;
  }
  fclose(file);
}

static int build(int index, uint16_t sequence, uint8_t *packet) {
  memset(packet, 0xd5, HEADER + PAYLOAD);
  uint32_t timestamp = htonl(sequence * 160u), source = htonl(index + 1);
  packet[0] = 0x80;
  packet[1] = 0;
  packet[2] = sequence >> 8;
  packet[3] = sequence;
  memcpy(packet + 4, &timestamp, 4);
  memcpy(packet + 8, &source, 4);
  return HEADER + PAYLOAD;
}

static void seal_all(int packets) {
  for (int i = 0; i < leg_count; i++) {
    struct leg *leg = &legs[i];
    if (!leg->send) continue;
    leg->sealed = malloc((size_t)packets * PACKET);
    leg->sealed_len = malloc(packets * sizeof(int));
    for (int n = 0; n < packets; n++) {
      int len = build(i, leg->sequence + n, leg->sealed + (size_t)n * PACKET);
      if (srtp_protect(leg->send, leg->sealed + (size_t)n * PACKET, &len)) die("srtp_protect");
      leg->sealed_len[n] = len;
    }
  }
}

static void open_sockets(void) {
  for (int s = 0; s < 2; s++) {
    int bytes = 64 << 20, one = 1;
    sockets[s] = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(sockets[s], SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    setsockopt(sockets[s], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
    setsockopt(sockets[s], SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(5000 + s)};
    local.sin_addr = own_ip;
    if (bind(sockets[s], (void *)&local, sizeof local)) die("bind 5000 or 5001");
  }
}

static void send_due(uint64_t *next, uint64_t due) {
  static struct mmsghdr out[2][BATCH];
  static struct iovec parts[2][BATCH];
  static uint8_t packets[2][BATCH][PACKET];
  int filled[2] = {0, 0};
  for (int n = 0; n < 16 && *next < due; n++, ++*next) {
    int index = *next % leg_count, side = index & 1, at = filled[side]++;
    struct leg *leg = &legs[index];
    uint64_t stamp = now_ns();
    uint8_t *packet = packets[side][at];
    int len;
    if (leg->send) {
      packet = leg->sealed + (size_t)leg->sealed_at * PACKET;
      len = leg->sealed_len[leg->sealed_at++];
    } else {
      len = build(index, leg->sequence, packet);
    }
    leg->stamps[leg->sequence++ % STAMPS] = stamp;
    parts[side][at] = (struct iovec){packet, len};
    out[side][at].msg_hdr = (struct msghdr){.msg_name = &leg->relay, .msg_namelen = sizeof leg->relay,
                                            .msg_iov = &parts[side][at], .msg_iovlen = 1};
  }
  for (int s = 0; s < 2; s++) {
    for (int at = 0; at < filled[s];) {
      int done = sendmmsg(sockets[s], out[s] + at, filled[s] - at, 0);
      if (done <= 0) failed++;
      at += done > 0 ? done : 1;
    }
    sent += filled[s];
  }
}

static uint64_t arrival(struct msghdr *header, uint64_t now) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS) continue;
    struct timespec *t = (void *)CMSG_DATA(c);
    return t->tv_sec * 1000000000ull + t->tv_nsec;
  }
  return now;
}

static void take(uint8_t *packet, int len, uint64_t at) {
  uint32_t source;
  memcpy(&source, packet + 8, 4);
  int index = (int)ntohl(source) - 1;
  if (len < HEADER || packet[0] != 0x80 || index < 0 || index >= leg_count) {
    bad++;
    return;
  }
  uint16_t sequence = packet[2] << 8 | packet[3];
  struct leg *listener = &legs[index ^ 1];
  // One in fifty is opened: that the relay seals well is checked, not measured.
  if (listener->receive && sequence % 50 == 0) {
    if (srtp_unprotect(listener->receive, packet, &len)) bad++;
    else unlocked++;
  }
  received++;
  int64_t delay = (int64_t)(at - legs[index].stamps[sequence % STAMPS]) / 500;
  if (counting) histogram[delay < 0 ? 0 : delay >= BUCKETS ? BUCKETS - 1 : delay]++;
}

static int receive_some(int s) {
  static struct mmsghdr in[BATCH];
  static struct iovec parts[BATCH];
  static uint8_t packets[BATCH][2048], controls[BATCH][128];
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){packets[i], sizeof packets[i]};
    in[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1,
                                    .msg_control = controls[i], .msg_controllen = sizeof controls[i]};
  }
  int n = recvmmsg(sockets[s], in, BATCH, MSG_DONTWAIT, 0);
  uint64_t now = now_ns();
  for (int i = 0; i < n; i++) {
    // Ports of RTCP are not ours: what is shorter than a header was not sent here.
    take(packets[i], in[i].msg_len, arrival(&in[i].msg_hdr, now));
  }
  return n > 0 ? n : 0;
}

static double quantile(double q) {
  uint64_t all = 0, so_far = 0;
  for (int i = 0; i < BUCKETS; i++) all += histogram[i];
  for (int i = 0; i < BUCKETS; i++) {
    so_far += histogram[i];
    if (all && so_far >= q * all) return i * 0.5;
  }
  return -1;
}

int main(int argc, char **argv) {
  if (argc != 6 && argc != 8) {
    fprintf(stderr, "usage: mediaload LEGS PID[,PID..] RATE WARM_S COUNT_S [RELAY-IP OWN-IP]\n");
    return 2;
  }
  const char *pid = argv[2];
  inet_aton(argc == 8 ? argv[6] : "127.0.0.1", &relay_ip);
  inet_aton(argc == 8 ? argv[7] : "127.0.0.1", &own_ip);
  double rate = atof(argv[3]), warm = atof(argv[4]), count = atof(argv[5]);
  prctl(PR_SET_TIMERSLACK, 1000);
  srtp_init();
  read_legs(argv[1]);
  if (leg_count < 2) die("no legs");
  seal_all((int)(rate * (warm + count)) + 4);
  open_sockets();
  double per_s = rate * leg_count;
  uint64_t total = per_s * (warm + count), next = 0, start = now_ns();
  uint64_t cpu = 0, counted = 0, idle_since = 0;
  for (;;) {
    double elapsed = (now_ns() - start) / 1e9;
    if (!counting && !counted && elapsed >= warm) counting = 1, cpu = cpu_ns(pid), counted = received;
    if (counting && elapsed >= warm + count) counting = 0, cpu = cpu_ns(pid) - cpu, counted = received - counted;
    uint64_t due = elapsed * per_s;
    int busy = next < (due < total ? due : total);
    if (busy) send_due(&next, due < total ? due : total);
    busy |= receive_some(0) | receive_some(1);
    if (busy) idle_since = 0;
    else if (!idle_since) idle_since = now_ns();
    if (next >= total && !counting && (received >= sent || (idle_since && now_ns() - idle_since > 300000000ull))) break;
    if (!busy) nanosleep(&(struct timespec){0, 50000}, NULL);
  }
  printf("{\"legs\": %d, \"sent\": %lu, \"received\": %lu, \"bad\": %lu, \"opened\": %lu, \"unsent\": %lu, "
         "\"cpu_us_packet\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
         leg_count, sent, received, bad, unlocked, failed, counted ? cpu / 1e3 / counted : 0, quantile(.5), quantile(.99));
  return 0;
}
