// Operations under way, what is known of them, and the line that is printed at the end.
struct op {
  u64 t0, ts; // began, last sent
  u32 usr;    // who it is about
  u32 gen;    // tells its transactions apart; in the branch
  u32 cid;    // tells calls on this place apart; in tags and Call-ID
  u8 st;      // 0 free, 1 sent, 2 sent with credentials, 4 BYE sent
  u8 retr;    // retransmissions; 0x80: a provisional came
  char *m200; // the 200 of the callee
  int l200;
  char *ackroute; // the BYE to come
};
static struct op *ops;
static struct cred *creds;
static u32 *cseqs;
static u32 *lat; // whole operations, us
static u32 nlat;
static u32 *lat2; // INVITE to 200 at the caller
static u32 nlat2;
static u32 *lat3; // INVITE from caller to callee
static u32 nlat3;
static u64 started;
static u64 n_ok, n_fail, n_retr, n_unexp;
static u32 err[700];
struct rt {
  u64 t;
  u32 i;
  u32 gen;
};
// What may have to be sent again after half a second, in the order it was sent.
static struct rt *rq;
static u32 rqh, rqt, rqm;
static void rq_push(u64 t, u32 i, u32 g) {
  rq[rqt & rqm] = (struct rt){t, i, g};
  rqt++;
  if (rqt - rqh > rqm) {
    fprintf(stderr, "rq overflow\n");
    exit(1);
  }
}
static u32 run_id;
static int curround;
static char roundc;
static u32 *freel;
static u32 nfree;
static void done(struct op *o, u32 i, u64 t, int ok) {
  if (ok) {
    n_ok++;
    lat[nlat++] = t - o->t0;
  } else n_fail++;
  o->st = 0;
  o->gen++;
  free(o->m200);
  o->m200 = NULL;
  free(o->ackroute);
  o->ackroute = NULL;
  freel[nfree++] = i;
}
static int cmpu(const void *a, const void *b) {
  u32 x = *(u32 *)a, y = *(u32 *)b;
  return x < y ? -1 : x > y;
}
static double pct(u32 *a, u32 n, double p) {
  if (!n) return 0;
  u32 k = (u32)(p * n);
  if (k >= n) k = n - 1;
  return a[k] / 1000.0;
}
static void report(struct snap *a, struct snap *b, double secs) {
  qsort(lat, nlat, 4, cmpu);
  if (nlat2) qsort(lat2, nlat2, 4, cmpu);
  if (nlat3) qsort(lat3, nlat3, 4, cmpu);
  u64 ok = n_ok ? n_ok : 1;
  static const char *mn[] = {"register", "options", "call", "tls"};
  printf("label=%s mode=%s round=%d%c target=%s ops=%lu ok=%lu fail=%lu retrans=%lu unexp=%lu secs=%.3f "
         "rate=%.0f/s",
      label, mn[mode], curround, roundc, tgts, n_ok + n_fail, n_ok, n_fail, n_retr, n_unexp, secs,
      n_ok / secs);
  if (nsrvpids)
    printf(" srv_us_op=%.2f srv_us_op_ticks=%.2f srv_util=%.2f", (b->ns - a->ns) / 1000.0 / ok,
        (b->ticks - a->ticks) * 10000.0 / ok, (b->ns - a->ns) / 1e9 / secs);
  printf(" gen_us_op=%.2f gen_util=%.2f", (double)(b->own - a->own) / ok, (b->own - a->own) / 1e6 / secs);
  if (mode == M_CALL)
    printf(" setup_p50_ms=%.3f setup_p99_ms=%.3f invfwd_p50_ms=%.3f invfwd_p99_ms=%.3f call_p50_ms=%.3f "
           "call_p99_ms=%.3f",
        pct(lat2, nlat2, .5), pct(lat2, nlat2, .99), pct(lat3, nlat3, .5), pct(lat3, nlat3, .99),
        pct(lat, nlat, .5), pct(lat, nlat, .99));
  else printf(" p50_ms=%.3f p99_ms=%.3f", pct(lat, nlat, .5), pct(lat, nlat, .99));
  if (nsrvpids) printf(" pss_before_kB=%lu pss_after_kB=%lu procs=%d", a->pss, b->pss, b->np);
  for (int i = 0; i < 700; i++)
    if (err[i]) printf(" err%d=%u", i, err[i]);
  printf("\n");
  fflush(stdout);
}
static void reset(void) {
  n_ok = n_fail = n_retr = n_unexp = 0;
  nlat = nlat2 = nlat3 = 0;
  memset(err, 0, sizeof err);
  started = 0;
}
// Memory some seconds later, when what only waited has gone.
static void hold_and_tell(struct snap *before) {
  if (!hold_s || !nsrvpids) return;
  sleep(hold_s);
  struct snap h;
  snap(&h, 1);
  printf("label=%s after_hold_s=%d pss_kB=%lu cpu_ms_during_hold=%.1f\n", label, hold_s, h.pss,
      (h.ns - before->ns) / 1e6);
  fflush(stdout);
}
