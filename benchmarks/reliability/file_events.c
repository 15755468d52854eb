/* Counts what a process does to the files below a folder, and ends it, or fills its disk, at one of these events.

   Preloaded by kills.py. An event is: a file opened for writing, a write, a sync, a change of length, a rename, a
   link, a removal, a new folder. Before the chosen event, or in the middle of it if it is a write, the process gets
   SIGKILL; or else this and each later event that needs room fails with ENOSPC. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, KILL_BEFORE, KILL_WITHIN, FULL };

static char folder[PATH_MAX];
static atomic_long n_events, chosen;
static atomic_int what;
static char kinds[65536];

void events_arm(const char *below, long event, int how) {
    strncpy(folder, below, sizeof folder - 1);
    n_events = 0;
    chosen = event;
    what = how;
}

long events_seen(void) { return n_events; }

const char *events_kinds(void) { return kinds; }

static int is_below(const char *path) {
    size_t n = strlen(folder);
    return n && path && !strncmp(path, folder, n) && (path[n] == '/' || !path[n]);
}

static int fd_is_below(int fd) {
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = folder[0] ? readlink(name, path, sizeof path - 1) : -1;
    if (n < 0) return 0;
    path[n] = 0;
    return is_below(path);
}

static int at_is_below(int fd, const char *path) {
    return path && (path[0] == '/' || fd == AT_FDCWD ? is_below(path) : fd_is_below(fd));
}

/* 1: the process ends within this write; -1: there is no room for it. */
static int event(int below, char kind, int needs_room) {
    if (!below) return 0;
    long now = atomic_fetch_add(&n_events, 1) + 1;
    if (now < (long)sizeof kinds) kinds[now - 1] = kind;
    if (what == KILL_BEFORE && now == chosen) kill(getpid(), SIGKILL);
    if (what == KILL_WITHIN && now == chosen) {
        if (kind == 'w') return 1;
        kill(getpid(), SIGKILL);
    }
    return what == FULL && now >= chosen && needs_room ? -1 : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define NO_ROOM do { errno = ENOSPC; return -1; } while (0)

#define OPENER(name)                                                                            \
    int name(const char *path, int flags, ...) {                                                \
        va_list rest;                                                                           \
        va_start(rest, flags);                                                                  \
        mode_t mode = va_arg(rest, mode_t);                                                     \
        va_end(rest);                                                                           \
        int writes = (flags & O_ACCMODE) != O_RDONLY;                                           \
        if (event(writes && is_below(path), 'c', flags & O_CREAT) < 0) NO_ROOM;                 \
        return REAL(name)(path, flags, mode);                                                   \
    }
#define OPENER_AT(name)                                                                         \
    int name(int fd, const char *path, int flags, ...) {                                        \
        va_list rest;                                                                           \
        va_start(rest, flags);                                                                  \
        mode_t mode = va_arg(rest, mode_t);                                                     \
        va_end(rest);                                                                           \
        int writes = (flags & O_ACCMODE) != O_RDONLY;                                           \
        if (event(writes && at_is_below(fd, path), 'c', flags & O_CREAT) < 0) NO_ROOM;          \
        return REAL(name)(fd, path, flags, mode);                                               \
    }
OPENER(open)
OPENER(open64)
OPENER_AT(openat)
OPENER_AT(openat64)

#define FILE_OPENER(name)                                                                       \
    FILE *name(const char *path, const char *mode) {                                            \
        if (event(is_below(path) && strpbrk(mode, "wa+"), 'c', 1) < 0) {                        \
            errno = ENOSPC;                                                                     \
            return NULL;                                                                        \
        }                                                                                       \
        return REAL(name)(path, mode);                                                          \
    }
FILE_OPENER(fopen)
FILE_OPENER(fopen64)

ssize_t write(int fd, const void *data, size_t n) {
    int end = event(fd_is_below(fd), 'w', 1);
    if (end < 0) NO_ROOM;
    ssize_t done = REAL(write)(fd, data, end ? n / 2 : n);
    if (end) kill(getpid(), SIGKILL);
    return done;
}

#define WRITER_AT(name, offset_type)                                                            \
    ssize_t name(int fd, const void *data, size_t n, offset_type at) {                          \
        int end = event(fd_is_below(fd), 'w', 1);                                               \
        if (end < 0) NO_ROOM;                                                                   \
        ssize_t done = REAL(name)(fd, data, end ? n / 2 : n, at);                               \
        if (end) kill(getpid(), SIGKILL);                                                       \
        return done;                                                                            \
    }
WRITER_AT(pwrite, off_t)
WRITER_AT(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int n) {
    int end = event(fd_is_below(fd), 'w', 1);
    if (end < 0) NO_ROOM;
    ssize_t done = REAL(writev)(fd, parts, end ? n / 2 : n);
    if (end) kill(getpid(), SIGKILL);
    return done;
}

#define OF_FD(name) \
    int name(int fd) { event(fd_is_below(fd), 's', 0); return REAL(name)(fd); }
OF_FD(fsync)
OF_FD(fdatasync)

#define LENGTH(name, offset_type) \
    int name(int fd, offset_type n) { event(fd_is_below(fd), 't', 0); return REAL(name)(fd, n); }
LENGTH(ftruncate, off_t)
LENGTH(ftruncate64, off64_t)

int rename(const char *from, const char *to) {
    event(is_below(to), 'r', 0);
    return REAL(rename)(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to) {
    event(at_is_below(to_fd, to), 'r', 0);
    return REAL(renameat)(from_fd, from, to_fd, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    event(at_is_below(to_fd, to), 'r', 0);
    return REAL(renameat2)(from_fd, from, to_fd, to, flags);
}

int link(const char *from, const char *to) {
    if (event(is_below(to), 'l', 1) < 0) NO_ROOM;
    return REAL(link)(from, to);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    if (event(at_is_below(to_fd, to), 'l', 1) < 0) NO_ROOM;
    return REAL(linkat)(from_fd, from, to_fd, to, flags);
}

int unlink(const char *path) {
    event(is_below(path), 'u', 0);
    return REAL(unlink)(path);
}

int unlinkat(int fd, const char *path, int flags) {
    event(at_is_below(fd, path), 'u', 0);
    return REAL(unlinkat)(fd, path, flags);
}

int rmdir(const char *path) {
    event(is_below(path), 'u', 0);
    return REAL(rmdir)(path);
}

int mkdir(const char *path, mode_t mode) {
    if (event(is_below(path), 'm', 1) < 0) NO_ROOM;
    return REAL(mkdir)(path, mode);
}

int mkdirat(int fd, const char *path, mode_t mode) {
    if (event(at_is_below(fd, path), 'm', 1) < 0) NO_ROOM;
    return REAL(mkdirat)(fd, path, mode);
}
