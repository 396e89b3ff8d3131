#pragma once
#include <stdint.h>

// epoll(7) for the load client of `dev bench`: Swift's Glibc module leaves it out.

/// A new set, closed on exec; -1 on failure.
int cepoll_make(void);

/// Watches a descriptor for bytes to read; `number` names it in what `cepoll_wait` returns.
int cepoll_add(int set, int descriptor, uint32_t number);

/// Waits for at most `milliseconds`, writes the numbers of at most `max` readable descriptors, returns how many.
int cepoll_wait(int set, uint32_t *numbers, int max, int milliseconds);
