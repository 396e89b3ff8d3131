#pragma once
#include <stdint.h>
#include <sys/types.h>

// Starts worker processes. Nothing of Swift runs between clone and exec.

struct hearth_spawn {
    const char *path;          // absolute path of the executable
    char *const *arguments;    // argv, ended by NULL
    char *const *environment;  // envp, ended by NULL
    const char *directory;     // working directory
    const int *descriptors;    // descriptor i of the child is a copy of descriptors[i]; -1: /dev/null
    int descriptor_count;
    uint64_t open_files_max;   // RLIMIT_NOFILE; 0: unchanged
    int namespaces;            // CLONE_NEW… flags; with CLONE_NEWUSER the caller becomes root of the new one
};

struct hearth_spawned {
    pid_t pid;
    int pidfd;         // readable when the process has ended; close-on-exec
    int error;         // errno of the step that failed, or 0
    const char *step;  // what failed, for people
};

/// Starts a process that leads its own process group and dies with the calling thread.
/// Returns 0, or -1 with `error` and `step` set and no process left behind.
int hearth_spawn(const struct hearth_spawn *what, struct hearth_spawned *result);

/// Makes the calling process, which has just been cloned with `what`'s namespaces, what `hearth_spawn` makes of a process
/// before it executes its program. `user` and `group` are those outside. Returns 0, or -1 with `error` and `step` set.
int hearth_become_child(const struct hearth_spawn *what, uid_t user, gid_t group, struct hearth_spawned *result);

/// How a process ended: collects it. Returns 1 and sets exactly one of `status` (exit code) and `signal` (else -1);
/// 0 when it is still running. Of a process that is not a child of ours the kernel may no longer know: then it counts as
/// killed.
int hearth_collect(int pidfd, int *status, int *signal);

/// The process of a pidfd as this process numbers it, or -1.
pid_t hearth_pid_of(int pidfd);

/// The parent of a process, or -1.
pid_t hearth_parent(pid_t pid);

void hearth_signal(int pidfd, int number);

/// Flags of `hearth_spawn.namespaces`.
int hearth_namespaces(int user, int network);

/// The children of a process, at the most `max`; returns how many there are in `children`.
int hearth_children(pid_t pid, pid_t *children, int max);

/// Kills the process group of `pid`.
void hearth_kill_group(pid_t pid, int signal);

/// An anonymous pipe, both ends close-on-exec.
int hearth_pipe(int *read_end, int *write_end);

/// A connected pair of SOCK_SEQPACKET sockets, both close-on-exec; `ours` does not block.
int hearth_packet_pair(int *ours, int *theirs);

/// Sends one datagram with descriptors. Returns 0, or -1 with errno set.
int hearth_send_packet(int socket, const void *bytes, size_t count, const int *descriptors, int descriptor_count);

/// Receives one datagram and at the most one descriptor (-1: none came; it is close-on-exec). Returns its size, 0 at the
/// end, -1 with errno set.
ssize_t hearth_receive_packet(int socket, void *bytes, size_t count, int *descriptor);

/// Is the other end of this TCP connection (IPv4, on this machine) held by a process of the group, or by a descendant of
/// its leader? Returns 1 or 0; -1 when the kernel does not say whose it is.
int hearth_peer_is_of_group(int connection, pid_t group);
