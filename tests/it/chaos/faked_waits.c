/* libfaketime changes the time that a program reads, and the deadlines of pthread_cond_timedwait. C11's
   cnd_timedwait, by which librdkafka waits, goes past it: its deadlines would lie an hour off. */
#include <errno.h>
#include <pthread.h>
#include <threads.h>

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until) {
  switch (pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, until)) {
  case 0: return thrd_success;
  case ETIMEDOUT: return thrd_timedout;
  default: return thrd_error;
  }
}
