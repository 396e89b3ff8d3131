#pragma once
#include <stddef.h>
#include <stdint.h>

/// The reflected CRCs of S3: 0 = CRC-32 (IEEE), 1 = CRC-32C (Castagnoli), 2 = CRC-64/NVME.
enum { CCRC_32 = 0, CCRC_32C = 1, CCRC_64NVME = 2 };

/// `crc` is the value so far, 0 at the beginning. Thread-safe.
uint64_t ccrc_update(int kind, uint64_t crc, const void *bytes, size_t count);
/// The CRC of A followed by B, from those of A and of B and the length of B.
uint64_t ccrc_combine(int kind, uint64_t a, uint64_t b, uint64_t count);
