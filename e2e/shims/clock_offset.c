/*
 * Sets the wall clock of the process that loads it off by CLOCK_OFFSET seconds: a machine whose
 * clock was set back, without touching the machine's. Loaded with LD_PRELOAD.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t which, struct timespec *now)
{
    const char *offset = getenv("CLOCK_OFFSET");
    int (*real)(clockid_t, struct timespec *) =
        (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(which, now);

    if (result == 0 && which == CLOCK_REALTIME && offset != NULL)
        now->tv_sec += atol(offset);
    return result;
}
