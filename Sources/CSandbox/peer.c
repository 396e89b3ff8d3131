#define _GNU_SOURCE
#include "CSandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

// Whose connection is it? The kernel is asked for the other end's inode (sock_diag(7), 8 µs), then the descriptors of
// the processes that may hold it are looked through, the likeliest first.

enum { tree_depth_max = 8 };

/// The inode of the local socket at the other end of `connection`, which is IPv4; 0 when it cannot be told.
static ino_t inode_of_peer(int connection) {
    struct sockaddr_in ours, theirs;
    socklen_t length = sizeof ours;
    if (getsockname(connection, (struct sockaddr *)&ours, &length) < 0) return 0;
    length = sizeof theirs;
    if (getpeername(connection, (struct sockaddr *)&theirs, &length) < 0 || theirs.sin_family != AF_INET) return 0;
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 what;
    } request = {
        .head = {.nlmsg_len = sizeof request, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
        .what = {.sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u},
    };
    // Seen from the other end.
    request.what.id.idiag_sport = theirs.sin_port;
    request.what.id.idiag_dport = ours.sin_port;
    request.what.id.idiag_src[0] = theirs.sin_addr.s_addr;
    request.what.id.idiag_dst[0] = ours.sin_addr.s_addr;
    request.what.id.idiag_cookie[0] = request.what.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;

    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (netlink < 0) return 0;
    struct {
        struct nlmsghdr head;
        struct inet_diag_msg what;
        char attributes[512];
    } answer;
    ssize_t count = -1;
    if (send(netlink, &request, sizeof request, 0) == sizeof request) count = recv(netlink, &answer, sizeof answer, 0);
    close(netlink);
    if (count < (ssize_t)(sizeof answer.head + sizeof answer.what)) return 0;
    return answer.head.nlmsg_type == SOCK_DIAG_BY_FAMILY ? answer.what.idiag_inode : 0;
}

static int holds(pid_t pid, ino_t inode) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *list = opendir(path);
    if (!list) return 0;
    int found = 0;
    for (struct dirent *entry; !found && (entry = readdir(list));) {
        struct stat info;
        found = entry->d_name[0] != '.' && fstatat(dirfd(list), entry->d_name, &info, 0) == 0 && S_ISSOCK(info.st_mode)
            && info.st_ino == inode;
    }
    closedir(list);
    return found;
}

/// Does the process or one of its descendants hold the socket?
static int tree_holds(pid_t pid, ino_t inode, int depth) {
    if (holds(pid, inode)) return 1;
    if (depth == tree_depth_max) return 0;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *list = opendir(path);
    if (!list) return 0;
    int found = 0;
    for (struct dirent *entry; !found && (entry = readdir(list));) {
        if (entry->d_name[0] == '.') continue;
        char name[300], children[4096];
        snprintf(name, sizeof name, "%s/children", entry->d_name);
        int file = openat(dirfd(list), name, O_RDONLY | O_CLOEXEC);
        if (file < 0) continue;
        ssize_t count = read(file, children, sizeof children - 1);
        close(file);
        if (count <= 0) continue;
        children[count] = 0;
        char *at = children;
        for (long child; !found && (child = strtol(at, &at, 10)) > 0;) found = tree_holds((pid_t)child, inode, depth + 1);
    }
    closedir(list);
    return found;
}

/// Does any process of the group hold the socket? (One whose parent has ended is no descendant any more.)
static int group_holds(pid_t group, ino_t inode) {
    DIR *list = opendir("/proc");
    if (!list) return 0;
    int found = 0;
    for (struct dirent *entry; !found && (entry = readdir(list));) {
        pid_t pid = (pid_t)atoi(entry->d_name);
        found = pid > 0 && getpgid(pid) == group && holds(pid, inode);
    }
    closedir(list);
    return found;
}

int hearth_peer_is_of_group(int connection, pid_t group) {
    ino_t inode = inode_of_peer(connection);
    if (!inode) return -1;
    return tree_holds(group, inode, 0) || group_holds(group, inode);
}
