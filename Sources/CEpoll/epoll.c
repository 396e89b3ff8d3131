#include "CEpoll.h"

#include <sys/epoll.h>

enum { batch = 256 };

int cepoll_make(void) { return epoll_create1(EPOLL_CLOEXEC); }

int cepoll_add(int set, int descriptor, uint32_t number) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = number}};
    return epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event);
}

int cepoll_wait(int set, uint32_t *numbers, int max, int milliseconds) {
    struct epoll_event events[batch];
    int count = epoll_wait(set, events, max < batch ? max : batch, milliseconds);
    for (int i = 0; i < count; i++) numbers[i] = events[i].data.u32;
    return count;
}
