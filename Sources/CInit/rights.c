#define _GNU_SOURCE
#include "CInit.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { filter_max = 256, ordinary_user = 1000 };

/// Root without what root may: uid 0 gets no capabilities back at an exec.
static void drop_capabilities(const struct plan *plan) {
    if (prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED) < 0)
        fail(plan, "set the secure bits");
    for (int capability = 0; capability <= 63; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EINVAL) fail(plan, "drop a capability");
}

static void empty_capabilities(const struct plan *plan) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (syscall(SYS_capset, &header, none) < 0) fail(plan, "give up capabilities");
}

static void put(const struct plan *plan, const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, text, strlen(text)) < 0) fail(plan, path);
    close(file);
}

/// Where the function has no user of its own it is root of a namespace, and a fork could map that root into a namespace of its
/// own only with CAP_SETFCAP (user_namespaces(7), since Linux 5.12). So it becomes an ordinary user of one more namespace,
/// which this process may still make. Where that is forbidden the forks make none either.
static void become_ordinary(const struct plan *plan) {
    char line[64];
    if (unshare(CLONE_NEWUSER) < 0) return;
    put(plan, "/proc/self/setgroups", "deny");
    snprintf(line, sizeof line, "%d 0 1", ordinary_user);
    put(plan, "/proc/self/uid_map", line);
    put(plan, "/proc/self/gid_map", line);
}

static void limit(const struct plan *plan, int resource, uint64_t most) {
    struct rlimit now;
    // What is stricter already cannot be loosened without the capabilities that have gone.
    if (getrlimit(resource, &now) == 0 && now.rlim_max < most) most = now.rlim_max;
    struct rlimit both = {most, most};
    if (setrlimit(resource, &both) < 0) fail(plan, "set a limit");
}

static void filter_system_calls(const struct plan *plan) {
    struct sock_filter instructions[filter_max];
    struct sock_fprog program = {
        .len = (unsigned short)make_filter(instructions, filter_max, plan->is_zygote), .filter = instructions};
    if (program.len > filter_max) fail(plan, "make the system-call filter");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) fail(plan, "filter system calls");
}

int filter_file(const struct plan *plan) {
    struct sock_filter instructions[filter_max];
    size_t bytes = sizeof *instructions * (size_t)make_filter(instructions, filter_max, false);
    int file = memfd_create("filter", 0);
    if (file < 0 || bytes > sizeof instructions || write(file, instructions, bytes) != (ssize_t)bytes)
        fail(plan, "store the system-call filter");
    return file;
}

void give_up_rights(const struct plan *plan) {
    limit(plan, RLIMIT_CORE, 0);
    if (plan->open_files) limit(plan, RLIMIT_NOFILE, plan->open_files);
    if (plan->root) {
        // Without a user of its own too: the groups of the server's (disk, docker) are not a function's. A user namespace of
        // somebody who is not root forbids it.
        if (setgroups(0, NULL) < 0 && (plan->user || errno != EPERM)) fail(plan, "leave all groups");
        if (!plan->user) become_ordinary(plan);
        drop_capabilities(plan);
        if (plan->user) {
            if (setresgid(plan->user, plan->user, plan->user) < 0) fail(plan, "change the group");
            if (setresuid(plan->user, plan->user, plan->user) < 0) fail(plan, "change the user");
        }
        empty_capabilities(plan);
        // Counted for each user and user namespace, so it is set when the user is the function's.
        if (plan->processes) limit(plan, RLIMIT_NPROC, plan->processes);
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail(plan, "forbid new privileges");
    if (plan->root) filter_system_calls(plan);
}
