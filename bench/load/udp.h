// Datagrams, VB at a time.
#define VB 64
static struct mmsghdr tx[VB];
static struct iovec txv[VB];
static char txb[VB][4096];
static struct sockaddr_in txa[VB];
static int txn;
static int txfd = -1;
static void tx_flush(void) {
  int o = 0;
  while (o < txn) {
    int r = sendmmsg(txfd, tx + o, txn - o, 0);
    if (r < 0) {
      if (errno == EAGAIN || errno == ENOBUFS) {
        struct pollfd p = {txfd, POLLOUT, 0};
        poll(&p, 1, 10);
        continue;
      }
      if (errno == EINTR || errno == ECONNREFUSED) continue;
      perror("sendmmsg");
      exit(1);
    }
    o += r;
  }
  txn = 0;
}
static char *tx_get(int fd) {
  if (txn == VB || (txn && txfd != fd)) tx_flush();
  txfd = fd;
  return txb[txn];
}
static void tx_put(int fd, char *end, struct sockaddr_in *to) {
  (void)fd;
  txv[txn].iov_base = txb[txn];
  txv[txn].iov_len = end - txb[txn];
  txa[txn] = *to;
  memset(&tx[txn], 0, sizeof tx[txn]);
  tx[txn].msg_hdr.msg_iov = &txv[txn];
  tx[txn].msg_hdr.msg_iovlen = 1;
  tx[txn].msg_hdr.msg_name = &txa[txn];
  tx[txn].msg_hdr.msg_namelen = sizeof txa[txn];
  txn++;
}
static struct mmsghdr rx[VB];
static struct iovec rxv[VB];
static char rxb[VB][8192];
static struct sockaddr_in rxa[VB];
static int udp_sock(int port) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, lip, &a.sin_addr);
  int sz = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &sz, sizeof sz);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sz, sizeof sz);
  // Whoever had the port may be about to let it go.
  for (int tries = 0; bind(fd, (void *)&a, sizeof a); tries++) {
    if (errno != EADDRINUSE || tries == 50) {
      fprintf(stderr, "port %d: ", port);
      perror("bind");
      exit(1);
    }
    usleep(100000);
  }
  return fd;
}
