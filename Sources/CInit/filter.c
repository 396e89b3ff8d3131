#define _GNU_SOURCE
#include "CInit.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

// A list of what is refused, not of what is allowed: functions are ordinary programs of every language, and a list of
// what they may do would break one of them with each release. What is refused here either changes the machine, reaches
// into other processes, or has a record of holes in the kernel.

#if defined(__x86_64__)
#define THIS_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "hearth-init knows the system calls of x86_64 and aarch64"
#endif

// Numbers that older headers lack; from 424 on they are the same on both architectures.
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif
#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif

enum { new_namespace = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET };

/// Refused to everybody, with EPERM.
static const int refused[] = {
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, SYS_pidfd_getfd, SYS_process_madvise,
    SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_bpf,
    SYS_perf_event_open, SYS_userfaultfd, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_reboot, SYS_swapon,
    SYS_swapoff, SYS_syslog, SYS_acct, SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex,
    SYS_sethostname, SYS_setdomainname, SYS_quotactl, SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_vhangup,
    SYS_chroot, SYS_setns, SYS_pivot_root, SYS_umount2, SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_fsconfig,
    SYS_fsmount, SYS_fspick, SYS_mount_setattr, SYS_quotactl_fd, SYS_open_tree_attr, SYS_fanotify_init,
    SYS_lookup_dcookie,
#if defined(__x86_64__)
    SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_uselib, SYS_ustat, SYS_sysfs,
#endif
};

/// The address families that functions use. Of the others most are holes in the kernel's record, and AF_VSOCK reaches the
/// machine around a virtual one whatever the network namespace.
static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

/// Said not to exist, because programs then take another way.
static const int absent[] = {SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_clone3};

struct writer {
    struct sock_filter *out;
    int count, max;
};

static void put(struct writer *writer, struct sock_filter instruction) {
    if (writer->count < writer->max) writer->out[writer->count] = instruction;
    writer->count++;
}

static void refuse(struct writer *writer, int number, int error) {
    put(writer, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1));
    put(writer, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error));
}

/// `socket` with another family is answered as by a kernel that has none of them. The call's verdict is final here.
static void filter_families(struct writer *writer) {
    unsigned char count = sizeof families / sizeof *families;
    put(writer, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, (unsigned char)(count + 3)));
    put(writer, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])));
    for (unsigned char i = 0; i < count; i++)
        put(writer, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)families[i], (unsigned char)(count - i), 0));
    put(writer, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT));
    put(writer, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

int make_filter(struct sock_filter *out, int max, bool lets_mount) {
    struct writer writer = {out, 0, max};
    put(&writer, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
    put(&writer, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCHITECTURE, 1, 0));
    put(&writer, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    put(&writer, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
#if defined(__x86_64__)
    // The x32 numbers would be a way round.
    put(&writer, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1));
    put(&writer, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
#endif
    for (unsigned i = 0; i < sizeof refused / sizeof *refused; i++) refuse(&writer, refused[i], EPERM);
    for (unsigned i = 0; i < sizeof absent / sizeof *absent; i++) refuse(&writer, absent[i], ENOSYS);
    filter_families(&writer);
    if (!lets_mount) {
        refuse(&writer, SYS_mount, EPERM);
        refuse(&writer, SYS_unshare, EPERM);
        // clone: only with flags that make no namespace. The flags are the first argument.
        put(&writer, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3));
        put(&writer, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])));
        put(&writer, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (unsigned)new_namespace, 0, 1));
        put(&writer, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    }
    put(&writer, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    return writer.count;
}
