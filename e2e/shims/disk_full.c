/*
 * Lets every write to a file fail with ENOSPC while the file named by DISK_FULL exists: a full
 * disk, without filling one. Sockets and pipes are left alone. Loaded with LD_PRELOAD.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static int is_full(int file)
{
    const char *flag = getenv("DISK_FULL");
    struct stat about;

    if (flag == NULL || access(flag, F_OK) != 0)
        return 0;
    return fstat(file, &about) == 0 && S_ISREG(about.st_mode);
}

ssize_t write(int file, const void *bytes, size_t count)
{
    ssize_t (*real)(int, const void *, size_t) =
        (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");

    if (is_full(file)) {
        errno = ENOSPC;
        return -1;
    }
    return real(file, bytes, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at)
{
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");

    if (is_full(file)) {
        errno = ENOSPC;
        return -1;
    }
    return real(file, bytes, count, at);
}
