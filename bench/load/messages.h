// Requests and responses as text. The branch is z9hG4bKq + place + generation, so a response says
// which operation it belongs to.
static char *hdr_common(char *p, u32 i, u32 gen, const char *tp, const char *ip, int port) {
  p = put(p, "Via: SIP/2.0/");
  p = put(p, tp);
  p = put(p, " ");
  p = put(p, ip);
  p = put(p, ":");
  p = putu(p, port);
  p = put(p, ";rport;branch=z9hG4bKq");
  p = putx8(p, i);
  p = putx8(p, gen);
  p = put(p, "\r\nMax-Forwards: 70\r\n");
  return p;
}
static char *b_register(
    char *p, u32 i, u32 gen, u32 usr, struct cred *c, const char *tp, const char *ip, int port, int ctport) {
  char uri[64];
  *put(put(uri, "sip:"), domain) = 0;
  p = put(p, "REGISTER ");
  p = put(p, uri);
  p = put(p, " SIP/2.0\r\n");
  p = hdr_common(p, i, gen, tp, ip, port);
  p = put(p, "From: <sip:u");
  p = putu(p, usr);
  p = put(p, "@");
  p = put(p, domain);
  p = put(p, ">;tag=f");
  p = putx8(p, usr ^ run_id);
  p = put(p, "\r\nTo: <sip:u");
  p = putu(p, usr);
  p = put(p, "@");
  p = put(p, domain);
  p = put(p, ">\r\nCall-ID: r");
  p = putx8(p, usr);
  p = putx8(p, run_id);
  p = put(p, "@client\r\nCSeq: ");
  p = putu(p, ++cseqs[usr - user0]);
  p = put(p, " REGISTER\r\nContact: <sip:u");
  p = putu(p, usr);
  p = put(p, "@");
  p = put(p, ip);
  p = put(p, ":");
  p = putu(p, ctport);
  p = put(p, ";transport=");
  p = put(p, tp[1] == 'L' ? "tls" : "udp");
  p = put(p, ">;+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-0000");
  p = putx8(p, usr);
  p = put(p, ">\"\r\nExpires: ");
  p = putu(p, expires);
  p = put(p, "\r\nUser-Agent: SipLoad/1.0\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, "
             "MESSAGE, REFER, NOTIFY\r\nSupported: replaces, timer\r\n");
  if (c) p = put_auth(p, "Authorization", usr, "REGISTER", uri, c);
  return put(p, "Content-Length: 0\r\n\r\n");
}
static char *b_options(char *p, u32 i, u32 gen) {
  p = put(p, "OPTIONS sip:");
  p = put(p, domain);
  p = put(p, " SIP/2.0\r\n");
  p = hdr_common(p, i, gen, "UDP", lip, pport);
  p = put(p, "From: <sip:ping@");
  p = put(p, domain);
  p = put(p, ">;tag=o");
  p = putx8(p, i);
  p = put(p, "\r\nTo: <sip:");
  p = put(p, domain);
  p = put(p, ">\r\nCall-ID: o");
  p = putx8(p, i);
  p = putx8(p, gen ^ run_id);
  return put(p, "@client\r\nCSeq: 1 OPTIONS\r\nContact: <sip:ping@127.0.0.1>\r\nUser-Agent: "
                "SipLoad/1.0\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n");
}
static const char SDP[] =
    "v=0\r\no=- 3890000 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 96 "
    "0 8 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 "
    "PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\na=ptime:20\r\n";
// gen for calls: distinguishes transactions
static char *fromto(char *p, u32 caller, u32 callee, u32 i, const char *totag_line) {
  p = put(p, "From: <sip:u");
  p = putu(p, caller);
  p = put(p, "@");
  p = put(p, domain);
  p = put(p, ">;tag=c");
  p = putx8(p, ops[i].cid ^ run_id);
  p = put(p, "\r\n");
  if (totag_line) {
    p = put(p, totag_line);
    p = put(p, "\r\n");
  } else {
    p = put(p, "To: <sip:u");
    p = putu(p, callee);
    p = put(p, "@");
    p = put(p, domain);
    p = put(p, ">\r\n");
  }
  p = put(p, "Call-ID: k");
  p = putx8(p, i);
  p = putx8(p, ops[i].cid);
  p = putx8(p, run_id);
  return put(p, "@client\r\n");
}
static u32 caller_of(u32 usr) {
  u32 k = usr - user0;
  return user0 + (k + nusers / 2) % nusers;
}
static char *b_invite(char *p, u32 i, u32 gen, u32 callee, struct cred *c) {
  char uri[80];
  char *q = put(uri, "sip:u");
  q = putu(q, callee);
  q = put(q, "@");
  *put(q, domain) = 0;
  u32 cl = caller_of(callee);
  p = put(p, "INVITE ");
  p = put(p, uri);
  p = put(p, " SIP/2.0\r\n");
  p = hdr_common(p, i, gen, "UDP", lip, pport);
  p = fromto(p, cl, callee, i, NULL);
  p = put(p, "CSeq: ");
  p = putu(p, c ? 2 : 1);
  p = put(p, " INVITE\r\nContact: <sip:u");
  p = putu(p, cl);
  p = put(p, "@");
  p = put(p, lip);
  p = put(p, ":");
  p = putu(p, pport);
  p = put(p, ">\r\nUser-Agent: SipLoad/1.0\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, "
             "MESSAGE, REFER, NOTIFY\r\nSupported: replaces, timer\r\n");
  if (c) p = put_auth(p, "Proxy-Authorization", cl, "INVITE", uri, c);
  p = put(p, "Content-Type: application/sdp\r\nContent-Length: ");
  p = putu(p, sizeof SDP - 1);
  p = put(p, "\r\n\r\n");
  return put(p, SDP);
}
static int hx(char c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }
static u32 gx8(const char *p) {
  u32 v = 0;
  for (int i = 0; i < 8; i++) v = v << 4 | hx(p[i]);
  return v;
}
static char *hline(char *m, const char *name, char **next) { // find header line start (after \n)
  size_t l = strlen(name);
  char *p = m;
  while ((p = strchr(p, '\n'))) {
    p++;
    if (*p == '\r') return NULL;
    if (!strncasecmp(p, name, l) && p[l] == ':') {
      if (next) {
        char *e = strchr(p, '\n');
        *next = e;
      }
      return p;
    }
  }
  return NULL;
}
static void copy_hdr(char **pp, char *m, const char *name) {
  char *p = m;
  char *o = *pp;
  while ((p = hline(p, name, NULL))) {
    char *e = strchr(p, '\n');
    memcpy(o, p, e - p + 1);
    o += e - p + 1;
    p = e - 1;
  }
  *pp = o;
}
// build ACK and BYE bodies from 200; o->ackroute := "<ruri> SIP/2.0 ... " text for BYE; sends ACK
static char *dlg_req(char *p, const char *method, char *m, u32 i, u32 gen, u32 callee, u32 cseq) {
  char ruri[256] = "", to[256] = "";
  char *c = hline(m, "Contact", NULL);
  if (c) {
    char *a = strchr(c, '<'), *z = a ? strchr(a, '>') : NULL;
    if (z && z - a < 255) {
      memcpy(ruri, a + 1, z - a - 1);
      ruri[z - a - 1] = 0;
    }
  }
  char *t = hline(m, "To", NULL);
  if (t) {
    char *z = strchr(t, '\r');
    if (z - t < 255) {
      memcpy(to, t, z - t);
      to[z - t] = 0;
    }
  }
  if (method) {
    p = put(p, method);
    p = put(p, " ");
  }
  p = put(p, ruri);
  p = put(p, " SIP/2.0\r\n");
  p = hdr_common(p, i, gen, "UDP", lip, pport);
  // Record-Route -> Route, reversed
  char *rr[8];
  int n = 0;
  char *q = m;
  while (n < 8 && (q = hline(q, "Record-Route", NULL))) {
    rr[n++] = q;
    q = strchr(q, '\n') - 1;
  }
  while (n--) {
    char *v = strchr(rr[n], ':') + 1;
    while (*v == ' ') v++;
    char *z = strchr(v, '\r');
    p = put(p, "Route: ");
    memcpy(p, v, z - v);
    p += z - v;
    p = put(p, "\r\n");
  }
  p = fromto(p, caller_of(callee), callee, i, to);
  p = put(p, "CSeq: ");
  p = putu(p, cseq);
  p = put(p, " ");
  p = put(p, method ? method : "BYE");
  return put(p, "\r\nUser-Agent: SipLoad/1.0\r\nContent-Length: 0\r\n\r\n");
}
