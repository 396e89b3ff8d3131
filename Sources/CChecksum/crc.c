// CRC-32, CRC-32C and CRC-64/NVME in one way: sixteen bytes at a time are folded with carry-less multiplication (Gopal et al.,
// "Fast CRC computation using PCLMULQDQ", 2009), what is left goes through tables, eight bytes at a time.
//
// A register holds a polynomial in reflected order: bit i of a 64-bit word is the coefficient of x^(63-i). CRC-32 lives in the
// upper half of such a word's powers, so that one code serves both widths.
#include "crc.h"
#include <pthread.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef struct {
    uint64_t polynomial;   // reflected, in the CRC's own width
    int bits;
    uint64_t table[8][256];
    uint64_t fold128[2];   // x^(128+63), x^(128-1) modulo the polynomial
    uint64_t fold512[2];
} crc_kind;

static crc_kind kinds[3] = {
    {.polynomial = 0xEDB88320u, .bits = 32},
    {.polynomial = 0x82F63B78u, .bits = 32},
    {.polynomial = 0x9A6C9329AC4BC9B5u, .bits = 64},
};
static pthread_once_t once = PTHREAD_ONCE_INIT;

/// a·b modulo the polynomial; both reflected in the CRC's own width, where the top bit is x^0.
static uint64_t multiply(const crc_kind *k, uint64_t a, uint64_t b) {
    uint64_t product = 0;
    for (int i = k->bits - 1; i >= 0; i--) {
        if (a >> i & 1) product ^= b;
        b = (b >> 1) ^ (b & 1 ? k->polynomial : 0);
    }
    return product;
}

/// x^n modulo the polynomial.
static uint64_t power(const crc_kind *k, uint64_t n) {
    uint64_t result = 1ull << (k->bits - 1), square = 1ull << (k->bits - 2);
    for (; n; n >>= 1) {
        if (n & 1) result = multiply(k, result, square);
        square = multiply(k, square, square);
    }
    return result;
}

static void prepare(void) {
    for (int n = 0; n < 3; n++) {
        crc_kind *k = &kinds[n];
        for (int byte = 0; byte < 256; byte++) {
            uint64_t value = byte;
            for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ (value & 1 ? k->polynomial : 0);
            k->table[0][byte] = value;
        }
        for (int slice = 1; slice < 8; slice++)
            for (int byte = 0; byte < 256; byte++) {
                uint64_t value = k->table[slice - 1][byte];
                k->table[slice][byte] = (value >> 8) ^ k->table[0][value & 0xFF];
            }
        // A 32-bit residue's x^0 is its bit 31; in a 64-bit word x^0 is bit 63.
        int shift = 64 - k->bits;
        k->fold128[0] = power(k, 128 + 63) << shift;
        k->fold128[1] = power(k, 128 - 1) << shift;
        k->fold512[0] = power(k, 512 + 63) << shift;
        k->fold512[1] = power(k, 512 - 1) << shift;
    }
}

static uint64_t by_tables(const crc_kind *k, uint64_t crc, const uint8_t *at, size_t count) {
    while (count >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        word ^= crc;
        crc = k->table[7][word & 0xFF] ^ k->table[6][word >> 8 & 0xFF] ^ k->table[5][word >> 16 & 0xFF]
            ^ k->table[4][word >> 24 & 0xFF] ^ k->table[3][word >> 32 & 0xFF] ^ k->table[2][word >> 40 & 0xFF]
            ^ k->table[1][word >> 48 & 0xFF] ^ k->table[0][word >> 56];
        at += 8;
        count -= 8;
    }
    while (count--) crc = (crc >> 8) ^ k->table[0][(crc ^ *at++) & 0xFF];
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("pclmul,sse2"))) static inline __m128i fold(__m128i state, __m128i next, __m128i factors) {
    // The low word holds the earlier bytes: the higher powers.
    return _mm_xor_si128(
        next, _mm_xor_si128(_mm_clmulepi64_si128(state, factors, 0x00), _mm_clmulepi64_si128(state, factors, 0x11)));
}

__attribute__((target("pclmul,sse2"))) static uint64_t by_folding(const crc_kind *k, uint64_t crc, const uint8_t *at, size_t count) {
    const __m128i near = _mm_set_epi64x((long long)k->fold128[1], (long long)k->fold128[0]);
    const __m128i far = _mm_set_epi64x((long long)k->fold512[1], (long long)k->fold512[0]);
#define LOAD(offset) _mm_loadu_si128((const __m128i *)(at + (offset)))
    __m128i a = _mm_xor_si128(LOAD(0), _mm_set_epi64x(0, (long long)crc)), b = LOAD(16), c = LOAD(32), d = LOAD(48);
    at += 64;
    count -= 64;
    while (count >= 64) {
        a = fold(a, LOAD(0), far);
        b = fold(b, LOAD(16), far);
        c = fold(c, LOAD(32), far);
        d = fold(d, LOAD(48), far);
        at += 64;
        count -= 64;
    }
    a = fold(fold(fold(a, b, near), c, near), d, near);
    while (count >= 16) {
        a = fold(a, LOAD(0), near);
        at += 16;
        count -= 16;
    }
#undef LOAD
    // What is folded is congruent to what it was folded from: its CRC, begun at zero, is that of all bytes so far.
    uint8_t rest[16];
    _mm_storeu_si128((__m128i *)rest, a);
    return by_tables(k, by_tables(k, 0, rest, 16), at, count);
}
#endif

uint64_t ccrc_update(int kind, uint64_t crc, const void *bytes, size_t count) {
    pthread_once(&once, prepare);
    const crc_kind *k = &kinds[kind];
    uint64_t ones = k->bits == 64 ? ~0ull : 0xFFFFFFFFull;
    crc ^= ones;
#if defined(__x86_64__)
    if (count >= 128 && __builtin_cpu_supports("pclmul")) return by_folding(k, crc, bytes, count) ^ ones;
#endif
    return by_tables(k, crc, bytes, count) ^ ones;
}

uint64_t ccrc_combine(int kind, uint64_t a, uint64_t b, uint64_t count) {
    pthread_once(&once, prepare);
    const crc_kind *k = &kinds[kind];
    return multiply(k, a, power(k, count * 8)) ^ b;
}
