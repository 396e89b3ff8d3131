#define _GNU_SOURCE
#include "CSandbox.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// Datagrams with descriptors over unix sockets: how the server talks with zygotes.

enum { descriptors_max = 8 };

int hearth_packet_pair(int *ours, int *theirs) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return -1;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *ours = ends[0];
    *theirs = ends[1];
    return 0;
}

int hearth_send_packet(int socket, const void *bytes, size_t count, const int *descriptors, int descriptor_count) {
    union {
        char bytes[CMSG_SPACE(sizeof(int) * descriptors_max)];
        struct cmsghdr alignment;
    } ancillary;
    struct iovec data = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (descriptor_count > 0 && descriptor_count <= descriptors_max) {
        message.msg_control = ancillary.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)descriptor_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)descriptor_count);
        memcpy(CMSG_DATA(header), descriptors, sizeof(int) * (size_t)descriptor_count);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -1 : 0;
}

ssize_t hearth_receive_packet(int socket, void *bytes, size_t count, int *descriptor) {
    union {
        char bytes[CMSG_SPACE(sizeof(int) * descriptors_max)];
        struct cmsghdr alignment;
    } ancillary;
    struct iovec data = {.iov_base = bytes, .iov_len = count};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = ancillary.bytes, .msg_controllen = sizeof ancillary.bytes};
    *descriptor = -1;
    ssize_t received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (received < 0) return -1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t held = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < held; i++) {
            int given;
            memcpy(&given, CMSG_DATA(header) + i * sizeof(int), sizeof given);
            // One is expected: whatever else a hostile sender adds is closed.
            if (*descriptor < 0) *descriptor = given;
            else close(given);
        }
    }
    return received;
}
