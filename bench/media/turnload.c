// TURN allocations with their challenges, then ChannelData both ways, paced: the server's CPU time for each. One line of JSON.
//
//   turnload PORT PID ALLOCATIONS RATE WARM_S COUNT_S
//
// Clients share a socket, each with an address of its own (127.1.x.y), the user `u` and the password `p`; the peer is
// 127.0.0.1:5001. RATE is packets a second for each allocation and way; 0 makes allocations only.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, SLOT = 2048, PAYLOAD = 172, WINDOW = 64, BUCKETS = 200000, TRIES = 6 };
enum { ALLOCATE = 0x003, CHANNEL_BIND = 0x009, SUCCESS = 0x100, ERROR = 0x110, CHANNEL = 0x4000 };
static const uint32_t COOKIE = 0x2112a442;

enum state { BARE, SIGNED, BINDING, READY, FAILED };
struct client {
  enum state state;
  char nonce[128];
  uint16_t relayed;
  uint64_t asked;
  int tries;
};

static struct client *clients;
static int count, fd, peer_fd;
static struct sockaddr_in server;
static char realm[128];
static uint8_t key[16];
static uint32_t histogram[BUCKETS];
static uint64_t sent, received, bad;
static int counting;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t cpu_ns(const char *pid) {
  char path[320];
  snprintf(path, sizeof path, "/proc/%s/task", pid);
  DIR *tasks = opendir(path);
  if (!tasks) die(path);
  uint64_t sum = 0;
  for (struct dirent *task; (task = readdir(tasks));) {
    if (task->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/%s/task/%s/schedstat", pid, task->d_name);
    FILE *file = fopen(path, "r");
    unsigned long long on_cpu;
    if (file && fscanf(file, "%llu", &on_cpu) == 1) sum += on_cpu;
    if (file) fclose(file);
  }
  closedir(tasks);
  return sum;
}

static long resident_kb(const char *pid) {
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/%s/status", pid);
  FILE *file = fopen(path, "r");
  if (!file) die(path);
  long kb = 0;
  while (fgets(line, sizeof line, file)) sscanf(line, "VmRSS: %ld", &kb);
  fclose(file);
  return kb;
}

// From the address of client `index`.
static void send_as(int index, const void *bytes, size_t len) {
  struct iovec part = {(void *)bytes, len};
  char control[CMSG_SPACE(sizeof(struct in_pktinfo))] = {0};
  struct msghdr message = {.msg_name = &server, .msg_namelen = sizeof server, .msg_iov = &part, .msg_iovlen = 1,
                           .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = IPPROTO_IP;
  header->cmsg_type = IP_PKTINFO;
  header->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
  struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(0x7f010100u + index)};
  memcpy(CMSG_DATA(header), &info, sizeof info);
  sendmsg(fd, &message, 0);
}

static uint8_t *put(uint8_t *at, int type, const void *value, int len) {
  int padded = (len + 3) & ~3;
  at[0] = type >> 8, at[1] = type, at[2] = len >> 8, at[3] = len;
  memset(at + 4, 0, padded);
  memcpy(at + 4, value, len);
  return at + 4 + padded;
}

static void put_length(uint8_t *message, int len) {
  message[2] = len >> 8, message[3] = len;
}

static void ask(int index) {
  struct client *client = &clients[index];
  uint8_t message[1024] = {0}, *at = message + 20;
  int method = client->state == BINDING ? CHANNEL_BIND : ALLOCATE;
  uint32_t cookie = htonl(COOKIE);
  message[0] = method >> 8, message[1] = method;
  memcpy(message + 4, &cookie, 4);
  memcpy(message + 8, &index, 4);
  message[12] = client->state, message[13] = client->tries;
  if (method == ALLOCATE) {
    at = put(at, 0x0019, (uint8_t[]){17, 0, 0, 0}, 4);
  } else {
    uint16_t port = htons(5001 ^ (COOKIE >> 16));
    uint32_t address = htonl(INADDR_LOOPBACK ^ COOKIE);
    uint8_t peer[8] = {0, 1};
    memcpy(peer + 2, &port, 2);
    memcpy(peer + 4, &address, 4);
    at = put(at, 0x000c, (uint8_t[]){CHANNEL >> 8, 0, 0, 0}, 4);
    at = put(at, 0x0012, peer, sizeof peer);
  }
  if (client->state != BARE) {
    at = put(at, 0x0006, "u", 1);
    at = put(at, 0x0014, realm, strlen(realm));
    at = put(at, 0x0015, client->nonce, strlen(client->nonce));
    uint8_t digest[20];
    put_length(message, at - message - 20 + 24);
    HMAC(EVP_sha1(), key, sizeof key, message, at - message, digest, NULL);
    at = put(at, 0x0008, digest, sizeof digest);
  }
  put_length(message, at - message - 20);
  send_as(index, message, at - message);
  client->asked = now_ns();
}

static void take_challenge(struct client *client, const char *nonce, const char *named) {
  strcpy(client->nonce, nonce);
  if (client->state == BARE) client->state = SIGNED;
  if (realm[0] || !named[0]) return;
  strcpy(realm, named);
  char text[300];
  int len = snprintf(text, sizeof text, "u:%s:p", realm);
  EVP_Digest(text, len, key, NULL, EVP_md5(), NULL);
}

// Whether the client of an answer is done, well or not.
static int take_answer(const uint8_t *message, int len) {
  int index;
  if (len < 20) return 0;
  memcpy(&index, message + 8, 4);
  if (index < 0 || index >= count || message[12] != clients[index].state) return 0;
  struct client *client = &clients[index];
  int type = message[0] << 8 | message[1], code = 0;
  char nonce[128] = "", named[128] = "";
  for (const uint8_t *at = message + 20; at + 4 <= message + len;) {
    int kind = at[0] << 8 | at[1], size = at[2] << 8 | at[3];
    if (kind == 0x0009) code = (at[6] & 7) * 100 + at[7];
    if (kind == 0x0014 && size < 128) memcpy(named, at + 4, size), named[size] = 0;
    if (kind == 0x0015 && size < 128) memcpy(nonce, at + 4, size), nonce[size] = 0;
    if (kind == 0x0016) client->relayed = (at[6] << 8 | at[7]) ^ (COOKIE >> 16);
    at += 4 + ((size + 3) & ~3);
  }
  if ((type & ERROR) == ERROR && (code == 401 || code == 438) && client->tries++ < TRIES) {
    take_challenge(client, nonce, named);
    ask(index);
    return 0;
  }
  if (type == (ALLOCATE | SUCCESS) && client->state == SIGNED) {
    client->state = BINDING;
    client->tries = 0;
    return 1;
  }
  client->state = type == (CHANNEL_BIND | SUCCESS) ? READY : FAILED;
  return 1;
}

// Brings clients from `from` onward, at most a window under way at once; how many came through.
static int bring(enum state from) {
  uint8_t message[SLOT];
  int next = 0, done = 0, under_way = 0, good = 0;
  uint64_t scanned = now_ns(), end = scanned + 60000000000ull;
  while (done < count && now_ns() < end) {
    for (; under_way < WINDOW && next < count; next++) {
      if (clients[next].state != from) done++;
      else ask(next), under_way++;
    }
    int len = recv(fd, message, sizeof message, 0);
    if (take_answer(message, len)) done++, under_way--;
    if (now_ns() - scanned < 250000000ull) continue;
    scanned = now_ns();
    for (int i = 0; i < next; i++) {
      int waits = clients[i].state == from || (from == BARE && clients[i].state == SIGNED);
      if (waits && scanned - clients[i].asked > 1000000000ull) ask(i);
    }
  }
  for (int i = 0; i < count; i++) good += clients[i].state == (from == BARE ? BINDING : READY);
  return good;
}

static int open_socket(uint32_t address, int port) {
  int made = socket(AF_INET, SOCK_DGRAM, 0), bytes = 64 << 20;
  setsockopt(made, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  struct timeval patience = {0, 2000};
  setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
  if (bind(made, (void *)&local, sizeof local)) die("bind 5000 or 5001");
  return made;
}

static void send_one(uint64_t number) {
  int index = number / 2 % count;
  uint8_t packet[4 + PAYLOAD] = {CHANNEL >> 8, 0, PAYLOAD >> 8, PAYLOAD & 255};
  uint64_t stamp = now_ns();
  memcpy(packet + 4, &stamp, sizeof stamp);
  if (number & 1) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(clients[index].relayed)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sendto(peer_fd, packet + 4, PAYLOAD, 0, (void *)&to, sizeof to);
  } else {
    send_as(index, packet, sizeof packet);
  }
  sent++;
}

static int receive_some(int from, int header) {
  static struct mmsghdr in[BATCH];
  static struct iovec parts[BATCH];
  static uint8_t packets[BATCH][SLOT];
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){packets[i], SLOT};
    in[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  int n = recvmmsg(from, in, BATCH, MSG_DONTWAIT, NULL);
  uint64_t now = now_ns(), stamp;
  for (int i = 0; i < n; i++) {
    if ((int)in[i].msg_len != header + PAYLOAD) {
      bad++;
      continue;
    }
    memcpy(&stamp, packets[i] + header, sizeof stamp);
    int64_t delay = (int64_t)(now - stamp) / 500;
    if (counting) histogram[delay < 0 ? 0 : delay >= BUCKETS ? BUCKETS - 1 : delay]++;
    received++;
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
  if (argc != 7) {
    fprintf(stderr, "usage: turnload PORT PID ALLOCATIONS RATE WARM_S COUNT_S\n");
    return 2;
  }
  const char *pid = argv[2];
  count = atoi(argv[3]);
  double rate = atof(argv[4]), warm = atof(argv[5]), counted_s = atof(argv[6]);
  prctl(PR_SET_TIMERSLACK, 1000);
  clients = calloc(count, sizeof *clients);
  server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  fd = open_socket(INADDR_ANY, 5000);
  peer_fd = open_socket(INADDR_LOOPBACK, 5001);
  long before_kb = resident_kb(pid);
  uint64_t cpu = cpu_ns(pid);
  int allocated = bring(BARE);
  double cpu_us_allocation = (cpu_ns(pid) - cpu) / 1e3 / (allocated ? allocated : 1);
  double kb = (resident_kb(pid) - before_kb) / (double)(allocated ? allocated : 1);
  int ready = rate > 0 ? bring(BINDING) : 0;
  double per_s = rate * 2 * count;
  uint64_t total = ready == count ? per_s * (warm + counted_s) : 0, next = 0, start = now_ns(), counted = 0, idle_since = 0;
  while (total) {
    double elapsed = (now_ns() - start) / 1e9;
    if (!counting && !counted && elapsed >= warm) counting = 1, cpu = cpu_ns(pid), counted = received;
    if (counting && elapsed >= warm + counted_s) counting = 0, cpu = cpu_ns(pid) - cpu, counted = received - counted;
    uint64_t due = elapsed * per_s;
    if (due > total) due = total;
    int busy = next < due;
    for (int n = 0; n < 16 && next < due; n++) send_one(next++);
    busy |= receive_some(fd, 4) | receive_some(peer_fd, 0);
    if (busy) idle_since = 0;
    else if (!idle_since) idle_since = now_ns();
    if (next >= total && !counting && (received >= sent || (idle_since && now_ns() - idle_since > 300000000ull))) break;
    if (!busy) nanosleep(&(struct timespec){0, 50000}, NULL);
  }
  printf("{\"allocated\": %d, \"ready\": %d, \"cpu_us_allocation\": %.2f, \"kb_allocation\": %.2f, \"sent\": %lu, "
         "\"received\": %lu, \"bad\": %lu, \"cpu_us_packet\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
         allocated, ready, cpu_us_allocation, kb, sent, received, bad, counted ? cpu / 1e3 / counted : 0, quantile(.5),
         quantile(.99));
  return 0;
}
