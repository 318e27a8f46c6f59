// What everything here uses: types, options, time.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/err.h>
#include <openssl/md5.h>
#include <openssl/ssl.h>
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif
typedef uint64_t u64;
typedef uint32_t u32;
typedef uint8_t u8;
enum { M_REG, M_OPT, M_CALL, M_TLS };
static int mode = M_REG, pport = 6000, uport = 7000, cport = 0, expires = 3600, window = 256, rate = 0,
           maxsec = 60, hold_s = 0, nsrc = 40, resume = 0;
static u32 nops = 100000, nusers = 100000, user0 = 1000000;
static const char *domain = "bench.test", *lip = "127.0.0.1", *rounds = "c", *hook = NULL, *label = "";
static struct sockaddr_in tgt;
static char tgts[64];
static int srvpids[8], nsrvpids = 0; // of the server, and of what belongs to it
static u64 now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}
