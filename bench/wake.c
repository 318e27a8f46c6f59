/* What a sleep costs whoever wakes: 4,000 different jumps, hot and after sleeping, with their lines fetched before and
 * not. docs/design/0134-compiled-for-what-runs.md.
 *
 *   cc -O2 -o wake bench/wake.c && taskset -c 0 ./wake
 *
 * It writes the jumps by itself (x86-64): each to a line of 64 bytes of its own, in random order. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { JUMPS = 4000, LINE = 64, ROUNDS = 201 };

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* jmp rel32 from line to line, the last one ret. Returns the first. */
static char *write_jumps(char *code) {
  static int order[JUMPS];
  for (int i = 0; i < JUMPS; i++) order[i] = i;
  srand(1);
  for (int i = JUMPS - 1; i > 0; i--) {
    int j = rand() % (i + 1), kept = order[i];
    order[i] = order[j], order[j] = kept;
  }
  for (int i = 0; i < JUMPS; i++) {
    char *at = code + order[i] * LINE;
    if (i + 1 == JUMPS) {
      *at = (char)0xc3;
      break;
    }
    int32_t step = (order[i + 1] - order[i]) * LINE - 5;
    *at = (char)0xe9;
    memcpy(at + 1, &step, sizeof step);
  }
  return code + order[0] * LINE;
}

static int by_size(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

int main(void) {
  char *code = mmap(NULL, JUMPS * LINE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) return perror("mmap"), 1;
  void (*jump)(void) = (void (*)(void))write_jumps(code);
  if (mprotect(code, JUMPS * LINE, PROT_READ | PROT_EXEC)) return perror("mprotect"), 1;
  const int sleeps_us[] = {0, 300, 1000, 2000};
  for (int s = 0; s < 4; s++)
    for (int fetch = 0; fetch < 2; fetch++) {
      uint64_t took[ROUNDS], fetched[ROUNDS];
      for (int r = 0; r < ROUNDS; r++) {
        if (sleeps_us[s]) usleep((useconds_t)sleeps_us[s]);
        now_ns();
        uint64_t a = now_ns();
        for (char *p = code; fetch && p < code + JUMPS * LINE; p += LINE) __builtin_prefetch(p, 0, 2);
        uint64_t b = now_ns();
        jump();
        took[r] = now_ns() - b, fetched[r] = b - a;
      }
      qsort(took, ROUNDS, sizeof *took, by_size), qsort(fetched, ROUNDS, sizeof *fetched, by_size);
      printf("sleep %4d us, %s: %5.1f us for %d jumps (median), %.1f us to fetch\n", sleeps_us[s],
             fetch ? "fetched" : "as it is", (double)took[ROUNDS / 2] / 1e3, JUMPS, (double)fetched[ROUNDS / 2] / 1e3);
    }
}
