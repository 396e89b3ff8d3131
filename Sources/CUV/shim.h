#pragma once
#include <uv.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <fcntl.h>
#include <unistd.h>

// Swift can import neither variadic functions nor these macros.
static inline int cuv_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
