// Text into buffers, and MD5 digest (RFC 2617) from the client's side.
static void hex16(const u8 *d, char *o) {
  static const char h[] = "0123456789abcdef";
  for (int i = 0; i < 16; i++) {
    o[2 * i] = h[d[i] >> 4];
    o[2 * i + 1] = h[d[i] & 15];
  }
  o[32] = 0;
}
static void md5v(char *out, int n, const char **s) {
  MD5_CTX c;
  u8 d[16];
  MD5_Init(&c);
  for (int i = 0; i < n; i++) MD5_Update(&c, s[i], strlen(s[i]));
  MD5_Final(d, &c);
  hex16(d, out);
}
struct cred {
  char nonce[120];
  char opaque[48];
  u32 nc;
  u8 qop;
};
static char *put(char *p, const char *s) { return stpcpy(p, s); }
static char *putu(char *p, u32 v) {
  char t[12];
  int i = 0;
  do {
    t[i++] = '0' + v % 10;
    v /= 10;
  } while (v);
  while (i) *p++ = t[--i];
  return p;
}
static char *putx8(char *p, u32 v) {
  static const char h[] = "0123456789abcdef";
  for (int i = 28; i >= 0; i -= 4) *p++ = h[(v >> i) & 15];
  return p;
}
static char *put_auth(
    char *p, const char *hdr, u32 usr, const char *method, const char *uri, struct cred *c) {
  char u[16], pw[16], ha1[33], ha2[33], rsp[33], nc[9];
  *putu(put(u, "u"), usr) = 0;
  *putu(put(pw, "p"), usr) = 0;
  const char *a[] = {u, ":", domain, ":", pw};
  md5v(ha1, 5, a);
  const char *b[] = {method, ":", uri};
  md5v(ha2, 3, b);
  c->nc++;
  *putx8(nc, c->nc) = 0;
  if (c->qop) {
    const char *r[] = {ha1, ":", c->nonce, ":", nc, ":0a4f113b:auth:", ha2};
    md5v(rsp, 7, r);
  } else {
    const char *r[] = {ha1, ":", c->nonce, ":", ha2};
    md5v(rsp, 5, r);
  }
  p = put(p, hdr);
  p = put(p, ": Digest username=\"");
  p = put(p, u);
  p = put(p, "\", realm=\"");
  p = put(p, domain);
  p = put(p, "\", nonce=\"");
  p = put(p, c->nonce);
  p = put(p, "\", uri=\"");
  p = put(p, uri);
  p = put(p, "\", response=\"");
  p = put(p, rsp);
  p = put(p, "\", algorithm=MD5");
  if (c->qop) {
    p = put(p, ", qop=auth, cnonce=\"0a4f113b\", nc=");
    p = put(p, nc);
  }
  if (c->opaque[0]) {
    p = put(p, ", opaque=\"");
    p = put(p, c->opaque);
    p = put(p, "\"");
  }
  return put(p, "\r\n");
}
static void parse_chal(char *m, struct cred *c) {
  c->nonce[0] = 0;
  c->opaque[0] = 0;
  c->nc = 0;
  c->qop = 0;
  char *h = strcasestr(m, "-Authenticate:");
  if (!h) return;
  char *e = strstr(h, "\r\n");
  if (!e) return;
  *e = 0;
  char *q = strstr(h, "nonce=\"");
  if (q) {
    q += 7;
    char *z = strchr(q, '"');
    if (z && z - q < 119) {
      memcpy(c->nonce, q, z - q);
      c->nonce[z - q] = 0;
    }
  }
  q = strstr(h, "opaque=\"");
  if (q) {
    q += 8;
    char *z = strchr(q, '"');
    if (z && z - q < 47) {
      memcpy(c->opaque, q, z - q);
      c->opaque[z - q] = 0;
    }
  }
  if (strstr(h, "qop=")) c->qop = 1;
  *e = '\r';
}
