#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

// The first process of a sandbox. It was cloned into new namespaces; it builds the root directory that the program sees,
// forks the program, which gives up what it may, collects what ends, and goes when the program has gone.
//
//     hearth-init   is executed for one sandbox, and the program is executed in it
//     hearth-base   is part of an initialised interpreter, whose forks are the first process and the program
//
// Plain C, so that nothing else runs beside it.

enum { binds_max = 64, cgroups_max = 4, hidden_max = 4 };

struct bind {
    const char *from;  // path outside
    const char *to;    // path inside
};

struct plan {
    int status;             // descriptor of the socket to the server, closed for the program
    const char *root;       // an empty directory to mount on; NULL: no namespaces, only supervision
    struct bind binds[binds_max];
    int bind_count;
    const char *cgroups[cgroups_max];  // files through which to join control groups
    int cgroup_count;
    const char *hidden[hidden_max];  // directories below a bind that are covered
    int hidden_count;
    const char *directory;  // working directory inside
    uint64_t tmp_bytes;     // size of /tmp
    uid_t user;             // user and group of the program; 0: the server's
    uint64_t open_files;    // RLIMIT_NOFILE
    uint64_t processes;     // RLIMIT_NPROC; 0: unlimited
    bool owns_network;      // in a network namespace of its own: bring `lo` up
    int listen_port;        // listen here on 127.0.0.1 and hand the socket to the server; 0: do not
    bool is_zygote;         // its children mount and unshare once more, so its own filter lets that pass
    bool lingers;           // when the program ends, wait for all other processes
    char *const *program;   // path and arguments
};

/// Reads `--NAME VALUE …  -- PROGRAM ARGUMENT …`, behind a first word that is not looked at.
struct plan read_plan(char **argument);

/// Makes the sandbox around a new process and returns in that, which has given up its rights. The calling process becomes
/// the first of the sandbox, and ends when there is nothing left for it to do.
///
/// Returns a descriptor from which a zygote's forks get their system-call filter, or -1.
int enter_sandbox(const struct plan *plan);

// What the server is told, as datagrams: a kind, then the value.
enum message_kind { message_listener = 'L', message_exit = 'E', message_failure = 'F' };

/// Ends this process after telling the server that `step` failed with errno.
_Noreturn void fail(const struct plan *plan, const char *step);

/// Makes the root directory of the sandbox and moves into it.
void build_root(const struct plan *plan);

/// Sets `lo` up; returns a listening socket on 127.0.0.1 or -1 when none is wanted.
int prepare_network(const struct plan *plan);

/// Gives up user, groups, capabilities and the way back to them; then system calls that no function needs.
void give_up_rights(const struct plan *plan);

struct sock_filter;
/// The system-call filter; returns its length in instructions. `lets_mount`: for a zygote, whose forks need it once.
int make_filter(struct sock_filter *out, int max, bool lets_mount);

/// A descriptor from which the strict filter's bytes can be read.
int filter_file(const struct plan *plan);
