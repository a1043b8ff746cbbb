/*
 * Kills the process that loads it at one of its fsyncs, as `kill -9` would: the test of what a
 * crash leaves behind. Loaded with LD_PRELOAD; the binary under test knows nothing of it.
 *
 *   KILL_AT=N            at the Nth call of fsync, fdatasync or syncfs, counted from 1
 *   KILL_WHEN=before     before it reaches the disk
 *   KILL_WHEN=after      when it has
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long calls;

static int sync_or_die(const char *name, int file)
{
    const char *at = getenv("KILL_AT");
    const char *when = getenv("KILL_WHEN");
    long call = atomic_fetch_add(&calls, 1) + 1;
    int dies = at != NULL && call == atol(at);
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result;

    if (dies && when != NULL && strcmp(when, "before") == 0)
        kill(getpid(), SIGKILL);
    result = real(file);
    if (dies)
        kill(getpid(), SIGKILL);
    return result;
}

int fsync(int file)
{
    return sync_or_die("fsync", file);
}

int fdatasync(int file)
{
    return sync_or_die("fdatasync", file);
}

int syncfs(int file)
{
    return sync_or_die("syncfs", file);
}
