#define _GNU_SOURCE
#include "CSandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The child borrows the server's memory until it calls exec (CLONE_VM | CLONE_VFORK: the caller sleeps meanwhile), so
// a start costs the same whatever the size of the server's heap. It may write only to its own stack and to `result`.

enum { stack_bytes = 64 * 1024, first_free_descriptor = 256 };

struct start {
    const struct hearth_spawn *what;
    struct hearth_spawned *result;
    pid_t parent;
    uid_t user;
    gid_t group;
};

static int fail(struct hearth_spawned *result, const char *step) {
    result->error = errno ? errno : EIO;
    result->step = step;
    return -1;
}

/// Puts copies of the wanted descriptors at 0…count-1 and closes all others.
static int place_descriptors(const struct hearth_spawn *what) {
    int high[32];
    if (what->descriptor_count > 32) { errno = EINVAL; return -1; }
    // First out of the way of the numbers that they replace.
    for (int i = 0; i < what->descriptor_count; i++) {
        int from = what->descriptors[i];
        int opened = from < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : from;
        if (opened < 0) return -1;
        high[i] = fcntl(opened, F_DUPFD_CLOEXEC, first_free_descriptor);
        if (high[i] < 0) return -1;
    }
    for (int i = 0; i < what->descriptor_count; i++)
        if (dup2(high[i], i) < 0) return -1;
    return (int)syscall(SYS_close_range, (unsigned)what->descriptor_count, ~0u, 0u);
}

/// When memory runs out the kernel should end a worker, not the server.
static void prefer_as_victim(void) {
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    if (write(file, "500", 3) < 0) { /* Only a preference. */ }
    close(file);
}

static int put(const char *path, const char *text, size_t length) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t written = write(file, text, length);
    close(file);
    return written == (ssize_t)length ? 0 : -1;
}

static size_t map_line(char *line, unsigned outside) {
    // "0 OUTSIDE 1", without stdio: this runs in the server's memory.
    char digits[10];
    size_t count = 0, at = 0;
    do digits[count++] = (char)('0' + outside % 10); while (outside /= 10);
    line[at++] = '0';
    line[at++] = ' ';
    while (count) line[at++] = digits[--count];
    line[at++] = ' ';
    line[at++] = '1';
    return at;
}

/// Root of the new user namespace is who called, and nobody else is anybody (user_namespaces(7)).
static int map_user(uid_t user, gid_t group) {
    char line[32];
    if (put("/proc/self/setgroups", "deny", 4) < 0 && errno != ENOENT) return -1;
    if (put("/proc/self/uid_map", line, map_line(line, user)) < 0) return -1;
    return put("/proc/self/gid_map", line, map_line(line, group));
}

int hearth_become_child(const struct hearth_spawn *what, uid_t user, gid_t group, struct hearth_spawned *result) {
    if (setpgid(0, 0) < 0) return fail(result, "make a process group");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) return fail(result, "tie to the server's life");
    // The thread that started it is a batch thread.
    struct sched_param parameter = {0};
    sched_setscheduler(0, SCHED_OTHER, &parameter);
    if (what->namespaces & CLONE_NEWUSER && map_user(user, group) < 0) return fail(result, "map the user");
    prefer_as_victim();
    if (what->directory && chdir(what->directory) < 0) return fail(result, "enter the code directory");
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    // Before the limit: a server with a thousand functions has more descriptors open than a worker may have.
    if (place_descriptors(what) < 0) return fail(result, "place descriptors");
    struct rlimit files = {what->open_files_max, what->open_files_max};
    if (what->open_files_max && setrlimit(RLIMIT_NOFILE, &files) < 0) return fail(result, "limit open files");
    return 0;
}

static int child(void *argument) {
    const struct start *start = argument;
    const struct hearth_spawn *what = start->what;
    struct hearth_spawned *result = start->result;

    // Handlers of the server must not run here: default for all, then unblock.
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    if (hearth_become_child(what, start->user, start->group, result) < 0) _exit(127);
    // (Seen from a new pid namespace the parent has no number; the program then looks at its socket.)
    if (!(what->namespaces & CLONE_NEWPID) && getppid() != start->parent) _exit(127);
    sigset_t empty;
    sigemptyset(&empty);
    sigprocmask(SIG_SETMASK, &empty, NULL);
    execve(what->path, what->arguments, what->environment);
    fail(result, "execute");
    _exit(127);
}

int hearth_spawn(const struct hearth_spawn *what, struct hearth_spawned *result) {
    *result = (struct hearth_spawned){.pid = -1, .pidfd = -1};
    void *stack = mmap(NULL, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return fail(result, "make a stack");
    struct start start = {what, result, getpid(), geteuid(), getegid()};

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int pidfd = -1;
    int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD | what->namespaces;
    pid_t pid = clone(child, (char *)stack + stack_bytes, flags, &start, &pidfd);
    if (pid < 0) fail(result, "start a process");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    munmap(stack, stack_bytes);

    if (pid < 0) return -1;
    if (result->error) {
        waitpid(pid, NULL, 0);
        close(pidfd);
        return -1;
    }
    result->pid = pid;
    result->pidfd = pidfd;
    return 0;
}

int hearth_collect(int pidfd, int *status, int *number) {
    siginfo_t info = {0};
    *status = -1;
    *number = -1;
    if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0) {
        if (errno != ECHILD) return 0;
        struct pollfd ended = {.fd = pidfd, .events = POLLIN};
        if (poll(&ended, 1, 0) != 1) return 0;
        *number = SIGKILL;
        return 1;
    }
    if (info.si_pid == 0) return 0;
    if (info.si_code == CLD_EXITED) *status = info.si_status;
    else *number = info.si_status;
    return 1;
}

/// Reads a file of /proc as text, as far as there is room; returns how much, or 0.
static size_t read_text(const char *path, char *text, size_t room) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t count = read(file, text, room - 1);
    close(file);
    text[count > 0 ? count : 0] = 0;
    return count > 0 ? (size_t)count : 0;
}

pid_t hearth_pid_of(int pidfd) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    if (!read_text(path, text, sizeof text)) return -1;
    const char *at = strstr(text, "\nPid:");
    return at ? (pid_t)strtol(at + 5, NULL, 10) : -1;
}

pid_t hearth_parent(pid_t pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (!read_text(path, text, sizeof text)) return -1;
    // The name in parentheses may hold anything; then come the state and the parent (proc(5)).
    const char *at = strrchr(text, ')');
    return at && at[1] && at[2] && at[3] ? (pid_t)strtol(at + 4, NULL, 10) : -1;
}

void hearth_signal(int pidfd, int number) { syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0); }

int hearth_namespaces(int user, int network) {
    return CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | (user ? CLONE_NEWUSER : 0) | (network ? CLONE_NEWNET : 0);
}

int hearth_children(pid_t pid, pid_t *children, int max) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    if (!read_text(path, text, sizeof text)) return 0;
    int count = 0;
    char *at = text;
    for (long child = strtol(at, &at, 10); child > 0 && count < max; child = strtol(at, &at, 10))
        children[count++] = (pid_t)child;
    return count;
}

void hearth_kill_group(pid_t pid, int number) {
    if (pid > 1) kill(-pid, number);
}

int hearth_pipe(int *read_end, int *write_end) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -1;
    *read_end = ends[0];
    *write_end = ends[1];
    return 0;
}
