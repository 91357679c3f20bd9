// The rows of a latent or key cache, and the words in which products of them are computed.
#pragma once
#include "tile.h"
#include <type_traits>

namespace xq {

inline int64_t padded(int64_t size, int64_t step) { return (size + step - 1) / step * step; }

#if defined(__AVX512BF16__)
// Two bf16, whose products are added at once.
struct Pairs {
    static Floats add(Floats a, Floats b, Floats c) { return {_mm512_dpbf16_ps(c.v, (__m512bh)a.v, (__m512bh)b.v)}; }
};
#endif
template <typename Word> constexpr int PER_WORD = std::is_same_v<Word, Single> ? 1 : 2;

enum Kind : int64_t { F32, BF16, E4M3 };

struct Cache {
    const void *data;
    const int32_t *table; // [batch, pages]; none: a block is a sequence
    int64_t kind, block_stride, row_stride, pages, page; // strides in elements; page: tokens of a block
};

template <typename T> inline const T *cache_row(const Cache &cache, int64_t batch, int64_t token) {
    const int64_t block = cache.table ? cache.table[batch * cache.pages + token / cache.page] : batch;
    const int64_t within = cache.table ? token % cache.page : token;
    return static_cast<const T *>(cache.data) + block * cache.block_stride + within * cache.row_stride;
}

inline float widen(float x) { return x; }
inline float widen(uint16_t bf16) { return __builtin_bit_cast(float, uint32_t(bf16) << 16); }
// Of float8_e4m3fn: moved to where a float has them, exponent and mantissa are 2^120 too small.
inline float widen(uint8_t e4m3) {
    if ((e4m3 & 0x7f) == 0x7f) return NAN;
    const uint32_t bits = uint32_t(e4m3 & 0x80) << 24 | uint32_t(e4m3 & 0x7f) << 20;
    return __builtin_bit_cast(float, bits) * 0x1p120f;
}

template <typename T> inline void widen_row(const T *from, int64_t n, float *to) {
    for (int64_t i = 0; i < n; i++) to[i] = widen(from[i]);
}

} // namespace xq
