#define _GNU_SOURCE
#include "CInit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { sweep_rounds_max = 5000 };  // a second and what the kills themselves take

static void tell(const struct plan *plan, char kind, const void *bytes, size_t count, int descriptor) {
    if (plan->status < 0) return;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr alignment;
    } ancillary;
    struct iovec data[2] = {{&kind, 1}, {(void *)bytes, count}};
    struct msghdr message = {.msg_iov = data, .msg_iovlen = 2};
    if (descriptor >= 0) {
        message.msg_control = ancillary.bytes;
        message.msg_controllen = sizeof ancillary.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
        memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
    }
    sendmsg(plan->status, &message, MSG_NOSIGNAL);
}

_Noreturn void fail(const struct plan *plan, const char *step) {
    char text[512];
    int count = snprintf(text, sizeof text, "%s: %s", step, strerror(errno));
    tell(plan, message_failure, text, count < (int)sizeof text ? (size_t)count : sizeof text - 1, -1);
    _exit(127);
}

static _Noreturn void misuse(const char *what) {
    fprintf(stderr, "hearth-init: %s: it is started by hearth, not by hand\n", what);
    exit(2);
}

struct plan read_plan(char **argument) {
    struct plan plan = {.status = -1, .directory = "/"};
    for (argument++; *argument && strcmp(*argument, "--") != 0; argument++) {
        const char *name = *argument;
        if (strcmp(name, "--zygote") == 0) { plan.is_zygote = plan.lingers = true; continue; }
        if (strcmp(name, "--owns-network") == 0) { plan.owns_network = true; continue; }
        const char *value = *++argument;
        if (!value) misuse(name);
        if (strcmp(name, "--status") == 0) plan.status = atoi(value);
        else if (strcmp(name, "--root") == 0) plan.root = value;
        else if (strcmp(name, "--directory") == 0) plan.directory = value;
        else if (strcmp(name, "--tmp") == 0) plan.tmp_bytes = strtoull(value, NULL, 10);
        else if (strcmp(name, "--user") == 0) plan.user = (uid_t)strtoul(value, NULL, 10);
        else if (strcmp(name, "--files") == 0) plan.open_files = strtoull(value, NULL, 10);
        else if (strcmp(name, "--processes") == 0) plan.processes = strtoull(value, NULL, 10);
        else if (strcmp(name, "--listen") == 0) plan.listen_port = atoi(value);
        else if (strcmp(name, "--hide") == 0) {
            if (plan.hidden_count == hidden_max) misuse(name);
            plan.hidden[plan.hidden_count++] = value;
        } else if (strcmp(name, "--cgroup") == 0) {
            if (plan.cgroup_count == cgroups_max) misuse(name);
            plan.cgroups[plan.cgroup_count++] = value;
        } else if (strcmp(name, "--bind") == 0) {
            const char *to = *++argument;
            if (!to || plan.bind_count == binds_max) misuse(name);
            plan.binds[plan.bind_count++] = (struct bind){value, to};
        } else misuse(name);
    }
    if (!*argument || !argument[1]) misuse("no program");
    plan.program = argument + 1;
    return plan;
}

/// Kills every child but `kept`, and says whether one of them still lived. What a killed child leaves becomes a child of
/// this process: it is met in the next round.
static bool kill_children(pid_t kept) {
    static char text[256 * 1024];
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    size_t length = 0;
    for (ssize_t count; length < sizeof text - 1 && (count = read(file, text + length, sizeof text - 1 - length)) > 0;)
        length += (size_t)count;
    close(file);
    text[length] = 0;
    bool any = false;
    char *at = text;
    for (long pid = strtol(at, &at, 10); pid > 1; pid = strtol(at, &at, 10)) {
        siginfo_t info = {0};
        if (pid == kept || (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid)) continue;
        kill((pid_t)pid, SIGKILL);
        any = true;
    }
    return any;
}

/// Ends whatever has lost its parent. Nothing is collected meanwhile: what has been killed keeps its place in the limit of
/// processes, so a fork bomb finds no room for new ones.
static void sweep(pid_t kept) {
    for (int round = 0; round < sweep_rounds_max && kill_children(kept); round++) usleep(200);
}

/// The server has gone: nothing may stay behind. (In a pid namespace the kernel sees to that.)
static _Noreturn void leave(void) {
    for (;;) {
        sweep(0);
        pid_t pid;
        do pid = waitpid(-1, NULL, WNOHANG); while (pid > 0);
        if (pid < 0) _exit(0);
    }
}

/// Signals are taken one by one in `reap`.
static void watch_signals(const struct plan *plan, sigset_t *watched) {
    sigemptyset(watched);
    sigaddset(watched, SIGCHLD);
    sigaddset(watched, SIGTERM);
    sigaddset(watched, SIGUSR1);
    if (!plan->root) sigaddset(watched, SIGHUP);
    sigprocmask(SIG_BLOCK, watched, NULL);
    if (!plan->root) prctl(PR_SET_PDEATHSIG, SIGHUP);
}

/// Did the server end before this process was tied to its life?
static bool is_alone(const struct plan *plan) {
    struct pollfd socket = {.fd = plan->status, .events = POLLIN};
    return plan->status >= 0 && poll(&socket, 1, 0) == 1 && socket.revents & POLLHUP;
}

/// Collects what has ended; ends this process with the program, or, for a zygote, with the last that it has forked.
static void collect(const struct plan *plan, pid_t *first) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) != 0;) {
        if (pid < 0) _exit(0);
        if (pid != *first) continue;
        *first = 0;
        tell(plan, message_exit, &status, sizeof status, -1);
        if (plan->lingers) continue;
        if (!plan->root) leave();
        _exit(0);
    }
}

/// Serves signals until there is nothing left to serve:
///
///     SIGCHLD  a child has ended
///     SIGTERM  the program is to end
///     SIGUSR1  a worker has ended: what it left behind is to end too (only while the zygote lives, whose children the other
///              workers are; later the server tells them apart)
///     SIGHUP   without namespaces: everything is to end
static _Noreturn void reap(const struct plan *plan, pid_t first, const sigset_t *watched) {
    for (;;) {
        collect(plan, &first);
        int number = sigwaitinfo(watched, NULL);
        if (number == SIGTERM && first) kill(-first, SIGTERM);
        if (number == SIGUSR1 && first) sweep(first);
        if (number == SIGHUP) leave();
    }
}

/// Joins before the program is started, so that nothing of it is outside. What cannot be joined is done without.
static void join_cgroups(const struct plan *plan) {
    for (int i = 0; i < plan->cgroup_count; i++) {
        int file = open(plan->cgroups[i], O_WRONLY | O_CLOEXEC);
        if (file < 0) continue;
        if (write(file, "0", 1) < 0) { /* The watch on memory goes on. */ }
        close(file);
    }
}

int enter_sandbox(const struct plan *plan) {
    sigset_t watched;
    watch_signals(plan, &watched);
    join_cgroups(plan);
    // Only the descriptors that the program gets may stay open in it.
    int filter = -1;
    if (plan->root) {
        int listener = prepare_network(plan);
        if (listener >= 0) {
            tell(plan, message_listener, NULL, 0, listener);
            close(listener);
        }
        build_root(plan);
        if (plan->is_zygote) filter = filter_file(plan);
        prctl(PR_SET_DUMPABLE, 0);
    } else {
        // Without a pid namespace orphans would go to the machine's init.
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    }
    if (is_alone(plan)) _exit(0);
    pid_t first = fork();
    if (first < 0) fail(plan, "start the program");
    if (first == 0) {
        if (setpgid(0, 0) < 0) fail(plan, "make a process group");
        sigprocmask(SIG_UNBLOCK, &watched, NULL);
        // Else the files in /proc through which it becomes somebody else would not be its own.
        prctl(PR_SET_DUMPABLE, 1);
        give_up_rights(plan);
        return filter;
    }
    // Its copies of the program's pipes would hide their end; and what a base does at a signal is for its zygotes.
    for (int descriptor = 0; descriptor < 16; descriptor++)
        if (descriptor != plan->status) close(descriptor);
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    reap(plan, first, &watched);
}
