// sipload: a bounded SIP load generator. UDP by recvmmsg and sendmmsg, TLS by OpenSSL and epoll.
// Loads: REGISTER with digest, OPTIONS, whole calls (caller and callee are both in here), TLS connect
// + REGISTER. One line of key=value per round. With -P PID it also reads that server's CPU time and
// memory (children included) from /proc.
//
//   cc -O2 -o sipload load/sipload.c -lssl -lcrypto
//
//   -m register|options|call|tls   what to do
//   -t IP:PORT  -n OPERATIONS  -w WINDOW (under way at once)  -r RATE (per second; 0: as fast as it goes)
//   -R ROUNDS   one letter per round: c from scratch, p with the nonce of the last challenge,
//               k (tls) keep the connections open
//   -H SECONDS  after each round: wait so long, then tell memory again
//   -u USERS  -U FIRST  -d DOMAIN   users uFIRST.. with passwords pFIRST..
//   -l IP  -p PORT (caller)  -q PORT (callee)  -c PORT (in Contact)  -e EXPIRES  -T MAX_SECONDS
//   -P PID,.. (of the server)  -s ADDRESSES (tls: how many of 127.0.0.2.. to come from)  -S resume sessions
//   -x COMMAND after each round  -L LABEL
//
// The parts are one program; each is included once, in this order.
#include "base.h"
#include "server.h"
#include "digest.h"
#include "udp.h"
#include "operations.h"
#include "messages.h"
#include "call.h"
#include "round.h"
#include "tls.h"

int main(int ac, char **av) {
  int o;
  const char *t = "127.0.0.1:5060";
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  while ((o = getopt(ac, av, "m:t:n:w:r:u:U:d:l:p:q:c:e:R:T:P:H:x:L:s:S")) != -1) switch (o) {
    case 'm':
      mode = !strcmp(optarg, "register")  ? M_REG
             : !strcmp(optarg, "options") ? M_OPT
             : !strcmp(optarg, "call")    ? M_CALL
                                          : M_TLS;
      break;
    case 't': t = optarg; break;
    case 'n': nops = atoi(optarg); break;
    case 'w': window = atoi(optarg); break;
    case 'r': rate = atoi(optarg); break;
    case 'u': nusers = atoi(optarg); break;
    case 'U': user0 = atoi(optarg); break;
    case 'd': domain = optarg; break;
    case 'l': lip = optarg; break;
    case 'p': pport = atoi(optarg); break;
    case 'q': uport = atoi(optarg); break;
    case 'c': cport = atoi(optarg); break;
    case 'e': expires = atoi(optarg); break;
    case 'R': rounds = optarg; break;
    case 'T': maxsec = atoi(optarg); break;
    case 'P':
      for (char *pid = strtok(optarg, ","); pid && nsrvpids < 8; pid = strtok(NULL, ","))
        srvpids[nsrvpids++] = atoi(pid);
      break;
    case 'H': hold_s = atoi(optarg); break;
    case 'x': hook = optarg; break;
    case 'L': label = optarg; break;
    case 's': nsrc = atoi(optarg); break;
    case 'S': resume = 1; break;
    default: fprintf(stderr, "bad option\n"); return 2;
    }
  char h[64];
  strncpy(h, t, 63);
  h[63] = 0;
  char *c = strrchr(h, ':');
  if (!c) {
    fprintf(stderr, "target host:port\n");
    return 2;
  }
  *c = 0;
  tgt.sin_family = AF_INET;
  tgt.sin_port = htons(atoi(c + 1));
  if (inet_pton(AF_INET, h, &tgt.sin_addr) != 1) {
    fprintf(stderr, "bad ip\n");
    return 2;
  }
  snprintf(tgts, sizeof tgts, "%s", t);
  run_id = (u32)time(NULL) * 2654435761u ^ getpid();
  ops = calloc(window, sizeof *ops);
  for (int z = 0; z < window; z++) ops[z].gen = run_id & 0x3fffffff;
  creds = calloc(mode == M_CALL ? (u32)window : nusers, sizeof *creds);
  cseqs = calloc(nusers, 4);
  lat = malloc(4ul * (nops + window));
  lat2 = malloc(4ul * (nops + window) * 2);
  lat3 = malloc(4ul * (nops + window) * 8);
  freel = malloc(4ul * window);
  rqm = (1u << 22) - 1;
  rq = malloc(sizeof *rq * (1ul << 22));
  if (mode == M_TLS) {
    ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    for (; rounds[curround]; curround++) {
      roundc = rounds[curround];
      tls_round(roundc == 'k');
      usleep(300000);
    }
    return 0;
  }
  sockA = udp_sock(pport);
  if (mode == M_CALL) sockB = udp_sock(uport);
  for (; rounds[curround]; curround++) {
    roundc = rounds[curround];
    udp_round();
    usleep(200000);
  }
  return 0;
}
