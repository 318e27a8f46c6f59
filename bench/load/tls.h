// One round over TLS: connect, REGISTER, 401, REGISTER, 200, and close or stay.
struct conn {
  int fd;
  SSL *s;
  u8 st; // 0 closed, 1 handshake, 2 REGISTER sent, 3 sent with credentials, 9 kept open
  u64 t0;
  u32 usr;
  int port;
  char ip[16];
  char buf[2048];
  int bl;
};
static SSL_CTX *ctx;
static SSL_SESSION *sess;
static int tls_open(struct conn *c, int ep, u32 k) {
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) {
    perror("socket");
    return -1;
  }
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(c->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET};
  a.sin_addr.s_addr = htonl(0x7f000002u + k % nsrc);
  if (nsrc > 1 && bind(c->fd, (void *)&a, sizeof a)) {
    perror("bind");
    return -1;
  }
  int r = connect(c->fd, (void *)&tgt, sizeof tgt);
  if (r < 0 && errno != EINPROGRESS) {
    perror("connect");
    close(c->fd);
    return -1;
  }
  c->s = SSL_new(ctx);
  SSL_set_fd(c->s, c->fd);
  SSL_set_connect_state(c->s);
  if (resume && sess) SSL_set_session(c->s, sess);
  c->st = 1;
  c->bl = 0;
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
  epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
  return 0;
}
static void tls_reg(struct conn *c, int auth, u32 gen) {
  static char m[4096];
  char *e = b_register(
      m, c->usr ^ run_id, gen, c->usr, auth ? &creds[c->usr - user0] : NULL, "TLS", c->ip, c->port, c->port);
  int r = SSL_write(c->s, m, e - m);
  if (r != (int)(e - m)) n_unexp++;
}
static void tls_round(int keep) {
  reset();
  struct conn *cs = calloc(nops, sizeof *cs);
  struct snap a, b, c2;
  snap(&a, 1);
  {
    struct snap x;
    snap(&x, 0);
    a.ns = x.ns;
    a.ticks = x.ticks;
    a.own = x.own;
  }
  int ep = epoll_create1(0);
  u32 next = 0, inflight = 0;
  u64 T0 = now_us(), tend = T0 + maxsec * 1000000ull, t;
  struct epoll_event ev[256];
  u32 reused = 0;
  while (n_ok + n_fail < nops) {
    t = now_us();
    if (t > tend) break;
    u64 allow = nops;
    if (rate) {
      allow = (t - T0) * (u64)rate / 1000000 + 1;
      if (allow > nops) allow = nops;
    }
    int burst = 0;
    while (next < allow && inflight < (u32)window && burst++ < 16) {
      struct conn *c = &cs[next];
      c->usr = user0 + next % nusers;
      c->t0 = now_us();
      if (tls_open(c, ep, next)) {
        n_fail++;
        err[698]++;
      } else inflight++;
      next++;
    }
    int n = epoll_wait(ep, ev, 256, 1);
    for (int k = 0; k < n; k++) {
      struct conn *c = ev[k].data.ptr;
      if (!c->st || c->st == 9) {
        if (c->st == 9) {
          char d[512];
          int r;
          while ((r = SSL_read(c->s, d, 512)) > 0)
            ;
        }
        continue;
      }
      int bad = 0;
      if (c->st == 1) {
        ERR_clear_error();
        int r = SSL_do_handshake(c->s);
        if (r == 1) {
          if (SSL_session_reused(c->s)) reused++;
          struct sockaddr_in l;
          socklen_t sl = sizeof l;
          getsockname(c->fd, (void *)&l, &sl);
          c->port = ntohs(l.sin_port);
          inet_ntop(AF_INET, &l.sin_addr, c->ip, 16);
          c->st = 2;
          tls_reg(c, 0, 1);
        } else {
          int e = SSL_get_error(c->s, r);
          if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) bad = 1;
        }
      }
      if (!bad && c->st >= 2) {
        for (;;) {
          int r = SSL_read(c->s, c->buf + c->bl, sizeof c->buf - 1 - c->bl);
          if (r <= 0) {
            int e = SSL_get_error(c->s, r);
            if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) bad = 2;
            break;
          }
          c->bl += r;
          c->buf[c->bl] = 0;
          if (!strstr(c->buf, "\r\n\r\n")) continue;
          int code = atoi(c->buf + 8);
          c->bl = 0;
          if (code == 401 && c->st == 2) {
            parse_chal(c->buf, &creds[c->usr - user0]);
            c->st = 3;
            tls_reg(c, 1, 2);
          } else if (code == 200) {
            n_ok++;
            lat[nlat++] = now_us() - c->t0;
            inflight--;
            if (resume && !sess) sess = SSL_get1_session(c->s);
            if (keep) {
              c->st = 9;
            } else {
              SSL_shutdown(c->s);
              SSL_free(c->s);
              close(c->fd);
              c->st = 0;
            }
            break;
          } else if (code >= 200) {
            err[code % 700]++;
            bad = 3;
            break;
          }
        }
      }
      if (bad) {
        n_fail++;
        err[690 + bad]++;
        inflight--;
        SSL_free(c->s);
        close(c->fd);
        c->st = 0;
      }
    }
  }
  u64 T1 = now_us();
  snap(&b, 0);
  usleep(500000);
  snap(&c2, 1);
  b.pss = c2.pss;
  b.np = c2.np;
  report(&a, &b, (T1 - T0) / 1e6);
  if (reused) printf("  resumed=%u\n", reused);
  fflush(stdout);
  if (hook) {
    int r = system(hook);
    (void)r;
  }
  if (keep) hold_and_tell(&b);
  for (u32 i = 0; i < next; i++)
    if (cs[i].st) {
      SSL_shutdown(cs[i].s);
      SSL_free(cs[i].s);
      close(cs[i].fd);
    }
  free(cs);
  close(ep);
}
