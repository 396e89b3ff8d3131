#pragma once
#include <uv.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

// Swift can import neither variadic functions nor these macros, and Glibc's module leaves <malloc.h> out.
static inline int cuv_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
static inline void cuv_return_big_blocks(void) {
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 2 << 20);
}
