// The server's CPU time (nanoseconds on a core, all threads of it and its children) and memory.
struct snap {
  u64 ticks;
  u64 ns;
  u64 pss, rss;
  int np;
  u64 own;
};
static int pids[4096], ppids[4096];
static int is_server(int pid) {
  for (int i = 0; i < nsrvpids; i++)
    if (srvpids[i] == pid) return 1;
  return 0;
}
static void snap(struct snap *s, int mem) {
  memset(s, 0, sizeof *s);
  struct rusage ru;
  getrusage(RUSAGE_SELF, &ru);
  s->own = (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000ull + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec;
  if (!nsrvpids) return;
  int n = 0;
  char b[1024], p[400];
  DIR *d = opendir("/proc");
  struct dirent *e;
  static u64 tk[4096];
  while ((e = readdir(d))) {
    int pid = atoi(e->d_name);
    if (pid <= 0 || n >= 4096) continue;
    snprintf(p, sizeof p, "/proc/%d/stat", pid);
    FILE *f = fopen(p, "r");
    if (!f) continue;
    size_t k = fread(b, 1, sizeof b - 1, f);
    b[k] = 0;
    fclose(f);
    char *q = strrchr(b, ')');
    if (!q) continue;
    int pp;
    u64 ut, st;
    char c;
    if (sscanf(q + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &c, &pp, &ut, &st) != 4) continue;
    pids[n] = pid;
    ppids[n] = pp;
    tk[n] = ut + st;
    n++;
  }
  closedir(d);
  static u8 in[4096];
  memset(in, 0, sizeof in);
  for (int ch = 1; ch;) {
    ch = 0;
    for (int i = 0; i < n; i++)
      if (!in[i]) {
        if (is_server(pids[i])) {
          in[i] = 1;
          ch = 1;
        } else
          for (int j = 0; j < n; j++)
            if (in[j] && pids[j] == ppids[i]) {
              in[i] = 1;
              ch = 1;
              break;
            }
      }
  }
  for (int i = 0; i < n; i++)
    if (in[i]) {
      s->np++;
      s->ticks += tk[i];
      snprintf(p, sizeof p, "/proc/%d/task", pids[i]);
      d = opendir(p);
      if (d) {
        while ((e = readdir(d))) {
          if (e->d_name[0] == '.') continue;
          snprintf(p, sizeof p, "/proc/%d/task/%s/schedstat", pids[i], e->d_name);
          FILE *f = fopen(p, "r");
          if (f) {
            u64 v;
            if (fscanf(f, "%lu", &v) == 1) s->ns += v;
            fclose(f);
          }
        }
        closedir(d);
      }
      if (mem) {
        snprintf(p, sizeof p, "/proc/%d/smaps_rollup", pids[i]);
        FILE *f = fopen(p, "r");
        if (f) {
          u64 v;
          while (fgets(b, sizeof b, f)) {
            if (sscanf(b, "Pss: %lu", &v) == 1) s->pss += v;
            else if (sscanf(b, "Rss: %lu", &v) == 1) s->rss += v;
          }
          fclose(f);
        }
      }
    }
}
