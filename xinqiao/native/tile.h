// Small matrix products in registers. Every element is one chain of fused multiply-adds, from the first of k to the last: its
// bits depend neither on the processor nor on how the product is cut into tiles.
#pragma once
#include "vector.h"

namespace xq {

constexpr int TILE = 64; // columns of a block of keys

// A matrix element (row, k) lies at `at[row * row_stride + k * k_stride]`.
struct Left {
    const float *at;
    int64_t row, k;
};

// Rows and vectors of the largest tile: with a row of b and a number of a, they stay in registers.
#if defined(__AVX512F__)
constexpr int HIGH = 4, VECTORS = 4;
#else
constexpr int HIGH = 6, VECTORS = 1; // fewer registers, and half as wide
#endif
constexpr int STRIP = VECTORS * LANES; // columns that are computed together

// A matrix element (k, column) lies at `at[column / STRIP * strip + k * row + column % STRIP]`: as usual, or with a larger
// `strip` one strip behind the other, each in the order in which it is read.
struct Right {
    const float *at;
    int64_t row, strip = STRIP;

    const float *column(int64_t j) const { return at + j / STRIP * strip + j % STRIP; }
    Right from(int64_t k) const { return {at + k * row, row, strip}; }
};

// What lies in a word of 32 bits: a float, or whatever else has an `add` that multiplies two words and adds.
struct Single {
    static Floats add(Floats a, Floats b, Floats c) { return fma(a, b, c); }
};

template <typename Word, int rows, int vectors>
inline void accumulate(Floats (&sum)[rows][vectors], Left a, const float *b, int64_t b_row, int64_t depth) {
    for (int64_t k = 0; k < depth; k++) {
        Floats line[vectors];
        for (int j = 0; j < vectors; j++) line[j] = load(b + k * b_row + j * LANES);
        for (int r = 0; r < rows; r++) {
            const Floats x = all(a.at[r * a.row + k * a.k]);
            for (int j = 0; j < vectors; j++) sum[r][j] = Word::add(x, line[j], sum[r][j]);
        }
    }
}

template <int rows, int vectors, bool add, typename Word>
inline void corner(Left a, const float *b, int64_t b_row, float *c, int64_t c_row, int64_t depth) {
    Floats sum[rows][vectors];
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < vectors; j++) sum[r][j] = add ? load(c + r * c_row + j * LANES) : all(0.0f);
    accumulate<Word>(sum, a, b, b_row, depth);
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < vectors; j++) store(c + r * c_row + j * LANES, sum[r][j]);
}

// A tile of `rows` rows, from 1 to `most`.
template <int most, int vectors, bool add, typename Word>
inline void tile(int64_t rows, Left a, const float *b, int64_t b_row, float *c, int64_t c_row, int64_t depth) {
    if constexpr (most == 1)
        corner<1, vectors, add, Word>(a, b, b_row, c, c_row, depth);
    else if (rows == most)
        corner<most, vectors, add, Word>(a, b, b_row, c, c_row, depth);
    else
        tile<most - 1, vectors, add, Word>(rows, a, b, b_row, c, c_row, depth);
}

// Tiles of about the same height: in a low one, a sum waits for its last product.
template <int vectors, bool add, typename Word>
inline void strip(int64_t rows, Left a, const float *b, int64_t b_row, float *c, int64_t c_row, int64_t depth) {
    for (int64_t tiles = (rows + HIGH - 1) / HIGH; tiles > 0; tiles--) {
        const int64_t some = (rows + tiles - 1) / tiles;
        tile<HIGH, vectors, add, Word>(some, a, b, b_row, c, c_row, depth);
        rows -= some, a.at += some * a.row, c += some * c_row;
    }
}

// c [rows, columns] = a [rows, depth] · b [depth, columns], added to c if `add`. columns: a multiple of 16.
template <bool add, typename Word = Single>
inline void product(int64_t rows, int64_t columns, int64_t depth, Left a, Right b, float *c, int64_t c_row) {
    int64_t j = 0;
    for (; j + STRIP <= columns; j += STRIP) strip<VECTORS, add, Word>(rows, a, b.column(j), b.row, c + j, c_row, depth);
    if constexpr (VECTORS > 2)
        for (; j + 2 * LANES <= columns; j += 2 * LANES) strip<2, add, Word>(rows, a, b.column(j), b.row, c + j, c_row, depth);
    for (; j < columns; j += LANES) strip<1, add, Word>(rows, a, b.column(j), b.row, c + j, c_row, depth);
}

} // namespace xq
