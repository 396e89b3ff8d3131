#define _GNU_SOURCE
#include "CInit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 0x1
#define MOUNT_ATTR_NOSUID 0x2
#define MOUNT_ATTR_NODEV 0x4
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

struct attributes {
    uint64_t set, clear, propagation, user_namespace;
};

/// Makes the directory that `path` names and all above it; for a file, the directory that it lies in and an empty file.
static void make_mount_point(const struct plan *plan, const char *path, bool is_directory) {
    char partial[4096];
    size_t length = strlen(path);
    if (length >= sizeof partial) { errno = ENAMETOOLONG; fail(plan, path); }
    for (size_t at = 1; at <= length; at++) {
        if (path[at] != '/' && path[at] != 0) continue;
        memcpy(partial, path, at);
        partial[at] = 0;
        if (path[at] == 0 && !is_directory) {
            int file = open(partial, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
            if (file < 0) fail(plan, partial);
            close(file);
        } else if (mkdir(partial, 0755) < 0 && errno != EEXIST) {
            fail(plan, partial);
        }
    }
}

/// mountinfo writes what would break its lines as a backslash and three octal digits.
static void decode_octal(char *text) {
    char *out = text;
    for (; *text; text++) {
        if (text[0] == '\\' && text[1] && text[2] && text[3]) {
            *out++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
            text += 3;
        } else {
            *out++ = *text;
        }
    }
    *out = 0;
}

static void add_flags(const struct plan *plan, const char *mount_point, unsigned long flags) {
    struct statvfs now;
    if (statvfs(mount_point, &now) < 0) fail(plan, mount_point);
    // A remount sets all flags anew, and in a user namespace those that came with the mount must stay (mount_namespaces(7)).
    // The numbers of both sets agree (ST_… and MS_…) but for these.
    unsigned long kept = now.f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME);
    if (now.f_flag & ST_RELATIME) kept |= MS_RELATIME;
    if (mount(NULL, mount_point, NULL, MS_BIND | MS_REMOUNT | kept | flags, NULL) < 0) fail(plan, mount_point);
}

/// Linux before 5.12 has no mount_setattr(2): the mount and all below it, as /proc/self/mountinfo names them (proc(5)).
static void restrict_one_by_one(const struct plan *plan, const char *target, unsigned long flags) {
    char resolved[PATH_MAX];
    if (!realpath(target, resolved)) fail(plan, target);
    FILE *list = fopen("/proc/self/mountinfo", "re");
    if (!list) fail(plan, "/proc/self/mountinfo");
    size_t length = strlen(resolved), room = 0;
    bool found = false;
    char *line = NULL;
    while (getline(&line, &room, list) > 0) {
        char *path = line;
        for (int field = 0; field < 4 && path; field++) path = strchr(path, ' ') ? strchr(path, ' ') + 1 : NULL;
        if (!path) continue;
        path[strcspn(path, " ")] = 0;
        decode_octal(path);
        if (strncmp(path, resolved, length) != 0 || (path[length] != '/' && path[length] != 0)) continue;
        add_flags(plan, path, flags);
        found = true;
    }
    free(line);
    fclose(list);
    if (!found) { errno = ENOENT; fail(plan, target); }
}

/// Shows `from` at `to` below the new root, for reading only, with whatever is mounted below it. Links stay links.
static void show(const struct plan *plan, const char *from, const char *to) {
    char target[4096];
    struct stat info;
    if ((size_t)snprintf(target, sizeof target, "%s%s", plan->root, to) >= sizeof target) {
        errno = ENAMETOOLONG;
        fail(plan, to);
    }
    if (lstat(from, &info) < 0) {
        if (errno == ENOENT) return;
        fail(plan, from);
    }
    if (S_ISLNK(info.st_mode)) {
        char pointed[4096];
        ssize_t count = readlink(from, pointed, sizeof pointed - 1);
        if (count < 0) fail(plan, from);
        pointed[count] = 0;
        if (symlink(pointed, target) < 0 && errno != EEXIST) fail(plan, target);
        return;
    }
    make_mount_point(plan, target, S_ISDIR(info.st_mode));
    if (mount(from, target, NULL, MS_BIND | MS_REC, NULL) < 0) fail(plan, from);
    bool is_device = S_ISCHR(info.st_mode);
    struct attributes attributes = {.set = MOUNT_ATTR_NOSUID | (is_device ? 0 : MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV)};
    if (syscall(SYS_mount_setattr, AT_FDCWD, target, AT_RECURSIVE, &attributes, sizeof attributes) == 0) return;
    if (errno != ENOSYS) fail(plan, target);
    restrict_one_by_one(plan, target, MS_NOSUID | (is_device ? 0 : MS_RDONLY | MS_NODEV));
}

/// Makes a part of /proc read-only, if this kernel has it.
static void shut(const struct plan *plan, const char *proc, const char *name) {
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s%s", proc, name) >= sizeof path) { errno = ENAMETOOLONG; fail(plan, proc); }
    if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0) {
        if (errno != ENOENT) fail(plan, path);
        return;
    }
    add_flags(plan, path, MS_RDONLY);
}

static void make_temporary(const struct plan *plan, const char *name, const char *options) {
    char target[4096];
    if ((size_t)snprintf(target, sizeof target, "%s%s", plan->root, name) >= sizeof target) {
        errno = ENAMETOOLONG;
        fail(plan, name);
    }
    make_mount_point(plan, target, true);
    if (mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0) fail(plan, target);
}

static void link_to(const struct plan *plan, const char *to, const char *name) {
    char target[4096];
    snprintf(target, sizeof target, "%s%s", plan->root, name);
    if (symlink(to, target) < 0 && errno != EEXIST) fail(plan, target);
}

static void show_devices(const struct plan *plan) {
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"};
    for (unsigned i = 0; i < sizeof devices / sizeof *devices; i++) show(plan, devices[i], devices[i]);
    link_to(plan, "/proc/self/fd", "/dev/fd");
    link_to(plan, "/proc/self/fd/0", "/dev/stdin");
    link_to(plan, "/proc/self/fd/1", "/dev/stdout");
    link_to(plan, "/proc/self/fd/2", "/dev/stderr");
    make_temporary(plan, "/dev/shm", "mode=1777,size=64m,nr_inodes=16k");
}

void build_root(const struct plan *plan) {
    char options[128], proc[4096];
    // Nothing that is mounted here may reach the machine.
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) fail(plan, "make mounts private");
    if (mount("tmpfs", plan->root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m") < 0) fail(plan, "mount the root");
    for (int i = 0; i < plan->bind_count; i++) show(plan, plan->binds[i].from, plan->binds[i].to);
    for (int i = 0; i < plan->hidden_count; i++) make_temporary(plan, plan->hidden[i], "mode=000,size=4k");
    show_devices(plan);
    // A file for each page: without a bound the names alone could fill the machine's memory.
    snprintf(options, sizeof options, "mode=1777,size=%llu,nr_inodes=%llu", (unsigned long long)plan->tmp_bytes,
        (unsigned long long)plan->tmp_bytes / 4096 + 16);
    make_temporary(plan, "/tmp", options);
    snprintf(proc, sizeof proc, "%s/var", plan->root);
    make_mount_point(plan, proc, true);
    link_to(plan, "../tmp", "/var/tmp");
    snprintf(proc, sizeof proc, "%s/proc", plan->root);
    make_mount_point(plan, proc, true);
    if (mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2") < 0
        && mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        fail(plan, "mount /proc");
    // The machine's settings lie there, and where functions have no user of their own only the mount protects them.
    static const char *const settings[] = {"/sys", "/sysrq-trigger", "/irq", "/bus", "/fs"};
    for (unsigned i = 0; i < sizeof settings / sizeof *settings; i++) shut(plan, proc, settings[i]);
    if (chdir(plan->root) < 0) fail(plan, "enter the root");
    // pivot_root(2): with both at ".", the old root comes to lie over the new one and can be unmounted.
    if (syscall(SYS_pivot_root, ".", ".") < 0) fail(plan, "change the root");
    if (umount2(".", MNT_DETACH) < 0) fail(plan, "leave the old root");
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
        fail(plan, "make the root read-only");
    if (chdir(plan->directory) < 0) fail(plan, "enter the code directory");
}

int prepare_network(const struct plan *plan) {
    if (plan->owns_network) {
        int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
        if (any < 0 || ioctl(any, SIOCSIFFLAGS, &request) < 0) fail(plan, "bring up lo");
        close(any);
    }
    if (!plan->listen_port) return -1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)plan->listen_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 16) < 0)
        fail(plan, "listen for the Runtime API");
    return listener;
}
