#define _GNU_SOURCE
#include "CInit.h"
#include "CSandbox.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// Loaded by an interpreter that has been initialised and runs nobody's code: the base. On the server's order it forks, and
// the fork becomes the first process of a sandbox and, one fork further, the zygote that runs a version's code there.
//
//     server ── base            waits for orders here, in C, so that its pages stay those that all its forks share
//         └──── first process ── zygote
//
// 1. What is forked is the server's child (CLONE_PARENT), as if it had been executed: it lives and ends without the base.
// 2. The fork leaves every descriptor of the base behind before anything of a version is seen.
// 3. Nothing of a version comes back: orders come from the server, and the base answers nobody else. Nor does anything of an
//    order stay: the next fork is another function's.

// Swift's linker driver adds an object file that wants these two; there is no Swift in this library.
void swift_addNewDSOImage(const void *image) { (void)image; }
int _swift_backtrace_isThunkFunction(const char *name) { (void)name; return 0; }

enum { order_max = 128 * 1024, words_max = 256, given_count = 3 };

/// What an order begins with, in this machine's byte order. hearth-init's command line follows, then `NAME=value`, each word
/// ended by a NUL. Its descriptors: the log, the zygote's control socket, the first process's status socket.
struct order {
    uint32_t namespaces, words, words_bytes, environment_bytes;
    uint64_t open_files_max;
};

/// What the zygote is told.
struct zygote {
    const char *environment;
    uint64_t environment_bytes;
    int32_t filter;
};

static union {
    struct order head;
    char bytes[order_max];
} order;

static ssize_t receive(int control, int *given) {
    union {
        char bytes[CMSG_SPACE(sizeof(int) * given_count)];
        struct cmsghdr alignment;
    } ancillary;
    struct iovec data = {order.bytes, sizeof order.bytes};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = ancillary.bytes, .msg_controllen = sizeof ancillary.bytes};
    ssize_t count;
    do count = recvmsg(control, &message, MSG_CMSG_CLOEXEC); while (count < 0 && errno == EINTR);
    struct cmsghdr *header = count > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (!header || header->cmsg_len != CMSG_LEN(sizeof(int) * given_count)) return -1;
    memcpy(given, CMSG_DATA(header), sizeof(int) * given_count);
    return count;
}

/// In the fork: everything up to where the zygote begins; only that returns.
static int become_zygote(const int *given, uid_t user, gid_t group) {
    const int descriptors[] = {-1, given[0], given[0], given[1], given[2]};
    struct hearth_spawn what = {
        .directory = "/", .descriptors = descriptors, .descriptor_count = 5, .open_files_max = order.head.open_files_max,
        .namespaces = (int)order.head.namespaces};
    struct hearth_spawned result = {0};
    char *words[words_max + 1] = {0};
    char *at = order.bytes + sizeof order.head;
    for (uint32_t i = 0; i < order.head.words; i++, at += strlen(at) + 1) words[i] = at;
    if (hearth_become_child(&what, user, group, &result) < 0) {
        struct plan none = {.status = given[2]};
        errno = result.error;
        fail(&none, result.step);
    }
    prctl(PR_SET_NAME, "hearth-init");
    struct plan plan = read_plan(words);
    int filter = enter_sandbox(&plan);
    close(plan.status);
    return filter;
}

static int answer(int control, pid_t pid, int pidfd) {
    int32_t told[2] = {pid, pid < 0 ? errno : 0};
    int status = hearth_send_packet(control, told, sizeof told, &pidfd, pidfd >= 0 ? 1 : 0);
    if (pidfd >= 0) close(pidfd);
    return status;
}

/// Takes the heap's holes out of use. What a zygote allocates comes in a row then; otherwise it would write to a page of its own
/// for nearly every hole that it fills or that malloc puts into order.
static void fill_holes(void) {
    malloc_trim(0);
    const char *end = sbrk(0);
    for (size_t size = 64 * 1024; size > 0; size -= size > 4096 ? 1024 : 16)
        for (char *hole; (hole = malloc(size));)
            if (hole >= end) {
                free(hole);
                break;
            }
}

/// Gives the C library its environment. Of two variables of a name the first counts.
static void set_environment(const struct zygote *zygote) {
    const char *end = zygote->environment + zygote->environment_bytes;
    for (const char *at = zygote->environment; at < end; at += strlen(at) + 1) {
        char name[256];
        const char *value = strchr(at, '=');
        if (!value || value == at || (size_t)(value - at) >= sizeof name) continue;
        memcpy(name, at, (size_t)(value - at));
        name[value - at] = 0;
        setenv(name, value + 1, 0);
    }
}

/// Serves orders until the server's end of `control` is closed, which ends the process; returns in each zygote.
///
/// `room`: the environment that the kernel shows of this process, which becomes the zygote's.
__attribute__((visibility("default"))) void hearth_base_serve(int control, char *room, uint64_t room_bytes, struct zygote *zygote) {
    char name[16];
    prctl(PR_GET_NAME, name);
    // CPython's own (C API, "Initialization"): for extensions that fork without os.fork.
    void (*before_fork)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "PyOS_BeforeFork");
    void (*after_fork)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "PyOS_AfterFork_Child");
    if (!before_fork || !after_fork) _exit(1);
    before_fork();
    fill_holes();
    // No variable may be looked for in what is written over.
    clearenv();
    memset(room, 0, room_bytes);
    if (answer(control, 0, -1) < 0) _exit(1);
    for (;;) {
        int given[given_count], pidfd = -1;
        ssize_t count = receive(control, given);
        if (count < (ssize_t)sizeof order.head || order.head.words > words_max
            || sizeof order.head + order.head.words_bytes + order.head.environment_bytes != (size_t)count)
            _exit(0);
        uid_t user = geteuid();
        gid_t group = getegid();
        // As fork(2) does it, but in new namespaces and for the parent. (The last two arguments change places on aarch64.)
        pid_t pid = (pid_t)syscall(
            SYS_clone, CLONE_PARENT | CLONE_PIDFD | SIGCHLD | (unsigned long)order.head.namespaces, 0, &pidfd, 0, 0);
        if (pid != 0) {
            if (answer(control, pid, pidfd) < 0) _exit(1);
            for (int i = 0; i < given_count; i++) close(given[i]);
            memset(order.bytes, 0, (size_t)count);
            continue;
        }
        zygote->environment = order.bytes + sizeof order.head + order.head.words_bytes;
        zygote->environment_bytes = order.head.environment_bytes;
        memcpy(room, zygote->environment, zygote->environment_bytes < room_bytes ? zygote->environment_bytes : room_bytes);
        zygote->filter = become_zygote(given, user, group);
        prctl(PR_SET_NAME, name);
        // A change of user hides a process's files in /proc from itself, and it executes nothing that would show them again.
        prctl(PR_SET_DUMPABLE, 1);
        set_environment(zygote);
        after_fork();
        return;
    }
}
