// What the two phones do: start, answer, acknowledge, hang up.
static int sockA, sockB; // caller, callee
static void send_op(u32 i, u64 t, int isretr) {
  struct op *o = &ops[i];
  char *p = tx_get(sockA), *e;
  o->ts = t;
  if (isretr) {
    o->retr++;
    n_retr++;
  }
  if (mode == M_REG) {
    struct cred *c = &creds[o->usr - user0];
    int au = (o->st == 2);
    e = b_register(p, i, o->gen, o->usr, au ? c : NULL, "UDP", lip, pport, cport ? cport : pport);
  } else if (mode == M_OPT) e = b_options(p, i, o->gen);
  else {
    if (o->st == 1 || o->st == 2) e = b_invite(p, i, o->gen, o->usr, o->st == 2 ? &creds[i] : NULL);
    else { /* BYE */ e = p;
      e = put(e, "BYE ");
      e = put(e, o->ackroute);
      e = put(e, "");
    }
  }
  tx_put(sockA, e, &tgt);
  rq_push(t, i, o->gen);
}
static void start_op(u64 t) {
  u32 i = freel[--nfree];
  struct op *o = &ops[i];
  o->t0 = t;
  o->retr = 0;
  o->usr = user0 + (u32)(started % nusers);
  o->gen++;
  static u32 serial;
  o->cid = (++serial) * 2654435761u;
  started++;
  o->st = 1;
  if (mode == M_REG && roundc == 'p' && creds[o->usr - user0].nonce[0]) o->st = 2;
  send_op(i, t, 0);
}
// The ACK of a final that is no 2xx (RFC 3261 section 17.1.1.3).
static void ack_failure(u32 i, char *m, u32 cseq) {
  struct op *o = &ops[i];
  char *e = tx_get(sockA);
  e = put(e, "ACK sip:u");
  e = putu(e, o->usr);
  e = put(e, "@");
  e = put(e, domain);
  e = put(e, " SIP/2.0\r\n");
  e = hdr_common(e, i, o->gen, "UDP", lip, pport);
  char to[256] = "";
  char *tl = hline(m, "To", NULL);
  if (tl) {
    char *z = strchr(tl, '\r');
    if (z - tl < 255) {
      memcpy(to, tl, z - tl);
      to[z - tl] = 0;
    }
  }
  e = fromto(e, caller_of(o->usr), o->usr, i, to);
  e = put(e, "CSeq: ");
  e = putu(e, cseq);
  e = put(e, " ACK\r\nContent-Length: 0\r\n\r\n");
  tx_put(sockA, e, &tgt);
}
static void uac_resp(char *m, u64 t) {
  int code = atoi(m + 8);
  char *b = strstr(m, "z9hG4bKq");
  if (!b) {
    n_unexp++;
    return;
  }
  b += 8;
  u32 i = gx8(b), g = gx8(b + 8);
  if (i >= (u32)window) {
    n_unexp++;
    return;
  }
  struct op *o = &ops[i];
  if (mode != M_CALL) {
    if (!o->st || o->gen != g) {
      n_unexp++;
      return;
    }
    if (code < 200) return;
    if (mode == M_REG) {
      if (code == 401 && (o->st == 1 || roundc == 'p') && o->retr < 8) {
        struct cred *c = &creds[o->usr - user0];
        if (o->st == 2) err[401]++;
        parse_chal(m, c);
        o->st = 2;
        o->gen++;
        send_op(i, t, 0);
        return;
      }
      if (code != 200) { err[code % 700]++; }
      done(o, i, t, code == 200);
      return;
    }
    if (code != 200) err[code % 700]++;
    done(o, i, t, code == 200);
    return;
  }
  // call mode; st: 1 INVITE sent, 2 INVITE+auth sent, 3 got provisional (via flag), 4 BYE sent
  if (!o->st) {
    n_unexp++;
    return;
  }
  if (o->gen != g) {
    n_unexp++;
    return;
  }
  if (code < 200) {
    if (o->st == 1 || o->st == 2) { o->retr |= 0x80; }
    return;
  }
  if ((o->st == 1 || o->st == 2)) {
    if (code == 407 || code == 401) {
      if (o->st == 2) {
        err[code]++;
        done(o, i, t, 0);
        return;
      }
      parse_chal(m, &creds[i]);
      ack_failure(i, m, 1);
      o->st = 2;
      o->gen++;
      o->retr = 0;
      send_op(i, t, 0);
      return;
    }
    if (code != 200) {
      err[code % 700]++;
      ack_failure(i, m, o->st);
      done(o, i, t, 0);
      return;
    }
    lat2[nlat2++] = t - o->t0;
    u32 ack_gen = o->gen + 1;
    u32 cs = o->st;
    char *p = tx_get(sockA);
    char *e = dlg_req(p, "ACK", m, i, ack_gen | 0x80000000u, o->usr, cs);
    tx_put(sockA, e, &tgt);
    o->gen += 2;
    o->st = 4;
    o->retr = 0;
    static char tmp[8192];
    char *z = dlg_req(tmp, NULL, m, i, o->gen, o->usr, cs + 1);
    *z = 0;
    free(o->ackroute);
    o->ackroute = strdup(tmp);
    send_op(i, t, 0);
    return;
  }
  if (o->st == 4) {
    if (code == 200) done(o, i, t, 1);
    else {
      err[code % 700]++;
      done(o, i, t, 0);
    }
    return;
  }
  n_unexp++;
}
static void uas_req(char *m, struct sockaddr_in *from, u64 t) {
  char *c = hline(m, "Call-ID", NULL);
  if (!c) {
    n_unexp++;
    return;
  }
  c = strchr(c, ':') + 1;
  while (*c == ' ') c++;
  if (*c != 'k') { // maybe OPTIONS keepalive
    n_unexp++;
    return;
  }
  u32 i = gx8(c + 1);
  if (i >= (u32)window) {
    n_unexp++;
    return;
  }
  struct op *o = &ops[i];
  if (!strncmp(m, "ACK ", 4)) {
    free(o->m200);
    o->m200 = NULL;
    return;
  }
  int inv = !strncmp(m, "INVITE ", 7);
  if (!inv && strncmp(m, "BYE ", 4)) {
    n_unexp++;
    return;
  }
  if (inv && o->st && o->st < 4) lat3[nlat3++] = t - o->t0;
  for (int k = inv ? 0 : 1; k < 2; k++) {
    char *p = tx_get(sockB), *e = p;
    e = put(e, k ? "SIP/2.0 200 OK\r\n" : "SIP/2.0 180 Ringing\r\n");
    copy_hdr(&e, m, "Via");
    if (inv) copy_hdr(&e, m, "Record-Route");
    copy_hdr(&e, m, "From");
    char *tl = hline(m, "To", NULL), *z = strchr(tl, '\r');
    memcpy(e, tl, z - tl);
    e[z - tl] = 0;
    int hastag = strstr(e, ";tag=") != NULL;
    e += z - tl;
    if (!hastag) {
      e = put(e, ";tag=s");
      e = putx8(e, ops[i].cid);
    }
    e = put(e, "\r\n");
    copy_hdr(&e, m, "Call-ID");
    copy_hdr(&e, m, "CSeq");
    if (inv) {
      e = put(e, "Contact: <sip:uas@");
      e = put(e, lip);
      e = put(e, ":");
      e = putu(e, uport);
      e = put(e, ">\r\n");
    }
    e = put(e, "User-Agent: SipLoad/1.0\r\n");
    if (inv && k) {
      e = put(e, "Content-Type: application/sdp\r\nContent-Length: ");
      e = putu(e, sizeof SDP - 1);
      e = put(e, "\r\n\r\n");
      e = put(e, SDP);
    } else e = put(e, "Content-Length: 0\r\n\r\n");
    tx_put(sockB, e, from);
  }
}
