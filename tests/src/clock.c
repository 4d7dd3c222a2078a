// A wrong clock for one process, preloaded: what it reads as the wall's time is wrong by the first number of seconds in the
// file that CHAOS_CLOCK names. The time since the start of the system stays right, as it does when a clock is set; the second
// number goes on both, as if so much time had gone by. libfaketime does the same, but not for a Redis that is linked with jemalloc: the two wait for each other.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

// Shared with whoever writes the file, so that a new offset counts at once. Null until main() is near.
static const volatile int64_t *offsets_s;

__attribute__((constructor)) static void open_offset(void) {
  const char *path = getenv("CHAOS_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *page = mmap(NULL, 2 * sizeof *offsets_s, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (page != MAP_FAILED) offsets_s = page;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int answer = (int)syscall(SYS_clock_gettime, clock, time);
  int is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
  int is_since_start = clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_BOOTTIME;
  if (answer == 0 && is_wall && offsets_s) time->tv_sec += offsets_s[0];
  if (answer == 0 && (is_wall || is_since_start) && offsets_s) time->tv_sec += offsets_s[1];
  return answer;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  (void)zone;
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
