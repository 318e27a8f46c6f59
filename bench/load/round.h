// One round over UDP.
static void udp_round(void) {
  reset();
  rqh = rqt = 0;
  nfree = 0;
  for (int i = window - 1; i >= 0; i--) {
    freel[nfree++] = i;
    ops[i].st = 0;
  }
  struct snap a, b;
  snap(&a, 1);
  if (nsrvpids) {
    struct snap x;
    snap(&x, 0);
    a.ns = x.ns;
    a.ticks = x.ticks;
    a.own = x.own;
  }
  u64 T0 = now_us(), tend = T0 + maxsec * 1000000ull;
  int fds[2] = {sockA, sockB}, nf = mode == M_CALL ? 2 : 1;
  u64 t = T0;
  while (n_ok + n_fail < nops) {
    t = now_us();
    if (t > tend) break;
    u64 allow = nops;
    if (rate) {
      allow = (t - T0) * (u64)rate / 1000000 + 1;
      if (allow > nops) allow = nops;
    }
    int burst = 0;
    while (started < allow && nfree && burst < VB) {
      start_op(rate ? now_us() : t);
      burst++;
      if (rate && burst >= 8) break;
    }
    if (txn) tx_flush();
    int got = 0;
    for (int f = 0; f < nf; f++) {
      for (int k = 0; k < VB; k++) {
        rxv[k].iov_base = rxb[k];
        rxv[k].iov_len = 8191;
        memset(&rx[k].msg_hdr, 0, sizeof rx[k].msg_hdr);
        rx[k].msg_hdr.msg_iov = &rxv[k];
        rx[k].msg_hdr.msg_iovlen = 1;
        rx[k].msg_hdr.msg_name = &rxa[k];
        rx[k].msg_hdr.msg_namelen = sizeof rxa[k];
      }
      int r = recvmmsg(fds[f], rx, VB, MSG_DONTWAIT, NULL);
      if (r > 0) {
        got += r;
        u64 tt = now_us();
        for (int k = 0; k < r; k++) {
          rxb[k][rx[k].msg_len] = 0;
          char *m = rxb[k];
          if (!strncmp(m, "SIP/2.0 ", 8)) {
            uac_resp(m, tt);
          } else uas_req(m, &rxa[k], tt);
        }
        if (txn) tx_flush();
      }
    }
    // retransmission queue (500 ms)
    t = now_us();
    while (rqh != rqt && rq[rqh & rqm].t + 500000 < t) {
      struct rt *r = &rq[rqh & rqm];
      u32 i = r->i;
      struct op *o = &ops[i];
      int live = o->st && o->gen == r->gen;
      rqh++;
      if (!live) continue;
      if (mode == M_CALL && (o->st == 1 || o->st == 2) && (o->retr & 0x80) && t - o->t0 < 8000000) {
        rq_push(t, i, o->gen);
        continue;
      }
      if ((o->retr & 0x7f) >= 7 || t - o->t0 > 8000000) {
        err[699]++;
        done(o, i, t, 0);
      } else send_op(i, t, 1);
    }
    if (txn) tx_flush();
    if (!got) {
      struct pollfd p[2] = {{fds[0], POLLIN, 0}, {fds[1], POLLIN, 0}};
      int to = 1;
      if (rate) {
        struct timespec ts = {0, 200000};
        ppoll(p, nf, &ts, NULL);
      } else if (!nfree || started >= nops) poll(p, nf, to);
    }
  }
  u64 T1 = now_us();
  snap(&b, 0);
  struct snap c;
  usleep(100000);
  snap(&c, 1);
  b.pss = c.pss;
  b.np = c.np;
  report(&a, &b, (T1 - T0) / 1e6);
  if (hook) {
    int r = system(hook);
    (void)r;
  }
  hold_and_tell(&b);
}
