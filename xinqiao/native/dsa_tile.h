// Products of small matrices in registers, and the rows of a latent or key cache that feed them.
#pragma once
#include "vector.h"

namespace xq {

// Of the tile in registers: ROWS times VECTORS accumulators, so many that their latency is hidden.
#if defined(__AVX512F__)
constexpr int ROWS = 8, VECTORS = 2;
#else
constexpr int ROWS = 4, VECTORS = 1;
#endif
constexpr int64_t WIDTH = VECTORS * LANES; // columns of a tile
constexpr int64_t STEP = 2 * LANES;        // columns are padded to a multiple of it

inline int64_t padded(int64_t size, int64_t step) { return (size + step - 1) / step * step; }

// A word is a float, or a pair of bf16 whose two products are added at once.
struct Fma {
    static constexpr int PER_WORD = 1;
    static Floats add(Floats a, Floats b, Floats c) { return fma(a, b, c); }
};
#if defined(__AVX512BF16__)
struct Pairs {
    static constexpr int PER_WORD = 2;
    static Floats add(Floats a, Floats b, Floats c) { return {_mm512_dpbf16_ps(c.v, (__m512bh)a.v, (__m512bh)b.v)}; }
};
#endif

// c[r][v] += sum over i of a[r * row + i * step] · (vector v of b[i * ldb]), from the first i to the last.
template <typename Word, int VECTORS>
inline void tile(Floats (&c)[ROWS][VECTORS], int64_t n, const float *a, int64_t row, int64_t step, const float *b, int64_t ldb) {
    for (int64_t i = 0; i < n; i++, a += step, b += ldb) {
        Floats across[VECTORS];
        for (int v = 0; v < VECTORS; v++) across[v] = load(b + v * LANES);
        for (int r = 0; r < ROWS; r++) {
            const Floats x = all(a[r * row]);
            for (int v = 0; v < VECTORS; v++) c[r][v] = Word::add(x, across[v], c[r][v]);
        }
    }
}

struct Operand {
    const float *at;
    int64_t row, step; // words from one row to the next, and from one term of the sum to the next
};

struct Matrix {
    float *at;
    int64_t row; // words from one row to the next
};

template <typename Word, int VECTORS> inline void multiply_strip(Operand a, Matrix b, Matrix c, int64_t rows, int64_t terms) {
    for (int64_t i = 0; i < rows; i += ROWS) {
        Floats sums[ROWS][VECTORS];
        float *to = c.at + i * c.row;
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++) sums[r][v] = load(to + r * c.row + v * LANES);
        tile<Word>(sums, terms, a.at + i * a.row, a.row, a.step, b.at, b.row);
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++) store(to + r * c.row + v * LANES, sums[r][v]);
    }
}

// c += a · b of `terms` words; rows a multiple of ROWS, columns of LANES.
template <typename Word> inline void multiply(Operand a, Matrix b, Matrix c, int64_t rows, int64_t columns, int64_t terms) {
    int64_t j = 0;
    for (; j + WIDTH <= columns; j += WIDTH) multiply_strip<Word, VECTORS>(a, {b.at + j, b.row}, {c.at + j, c.row}, rows, terms);
    for (; j < columns; j += LANES) multiply_strip<Word, 1>(a, {b.at + j, b.row}, {c.at + j, c.row}, rows, terms);
}

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
