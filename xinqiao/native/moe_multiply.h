// Two strips of sixteen rows of a weight times the tokens of one expert.
//
// Few tokens: rows of the weight meet rows of tokens as they lie in memory, and the lanes are added at the end. More: the
// strips are turned, so that a vector holds one column of sixteen rows, and tokens' elements are repeated against it.
// Which of the two an expert takes depends on how many tokens it has, and on nothing else.
#pragma once
#include "linear_common.h"
#include "moe_dot.h"

namespace xq::moe {

constexpr int STRIP = 16, PAIR = 2 * STRIP;
template <class D> constexpr int64_t WORD = 4 / sizeof(typename D::Element);
template <class D> constexpr int64_t STEP = LANES *WORD<D>; // elements of a vector
// A row's elements with the zeros behind it: whole pairs of vectors.
template <class D> constexpr int64_t padded(int64_t k) { return (k + 2 * STEP<D> - 1) / (2 * STEP<D>) * (2 * STEP<D>); }

#if defined(__AVX512F__)
constexpr int MOST = 12; // tokens of a tile: as many as registers hold
#else
constexpr int MOST = 2;
#endif
constexpr int FEW = 8; // up to so many tokens, rows are taken as they lie

// Weights are read once: those that are needed soon are asked for, into the second cache. Inlined
// before GCC finds that it returns nothing, and drops it.
[[gnu::always_inline]] inline void soon(const void *p) { __builtin_prefetch(static_cast<const char *>(p) + 8192, 0, 2); }

// Sixteen rows of elements, `depth` apart.
template <class D> using Rows = const typename D::Element *;

// Rows are taken two by two, which share the tokens that are loaded, and in the order in which they lie.
template <class D, int tokens, class Weight>
inline void dots(const Weight &w, const typename D::Element *x, float *values) {
    typename D::Sum sums[tokens][STRIP];
    for (auto &token : sums)
        for (auto &sum : token) sum = D::zero();
    int64_t r = 0;
    for (; r + 2 <= w.count; r += 2) w.template add<2>(r, x, sums);
    if (r < w.count) w.template add<1>(r, x, sums);
    for (int t = 0; t < tokens; t++) totals(sums[t], values + t * PAIR);
}

// Words of sixteen rows → panel [words][32], in the sixteen places from `panel` on.
template <class D> inline void turn(Rows<D> w, int64_t depth, uint32_t *panel) {
    for (int64_t k = 0; k < depth; k += STEP<D>, panel += LANES * PAIR) {
#if defined(__AVX512F__)
        __m512i a[16], b[16];
        for (int r = 0; r < 16; r++) {
            soon(w + r * depth + k);
            a[r] = _mm512_loadu_si512(w + r * depth + k);
        }
        for (int r = 0; r < 16; r += 2) {
            b[r] = _mm512_unpacklo_epi32(a[r], a[r + 1]);
            b[r + 1] = _mm512_unpackhi_epi32(a[r], a[r + 1]);
        }
        for (int r = 0; r < 16; r += 4)
            for (int j = 0; j < 2; j++) {
                a[r + 2 * j] = _mm512_unpacklo_epi64(b[r + j], b[r + 2 + j]);
                a[r + 2 * j + 1] = _mm512_unpackhi_epi64(b[r + j], b[r + 2 + j]);
            }
        // a[4 g + c]: in quarter q, word 4 q + c of rows 4 g to 4 g + 3
        for (int c = 0; c < 4; c++) {
            const __m512i low = _mm512_shuffle_i32x4(a[c], a[4 + c], 0x88), high = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0x88);
            const __m512i low_odd = _mm512_shuffle_i32x4(a[c], a[4 + c], 0xdd), high_odd = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0xdd);
            _mm512_storeu_si512(panel + (0 + c) * PAIR, _mm512_shuffle_i32x4(low, high, 0x88));
            _mm512_storeu_si512(panel + (4 + c) * PAIR, _mm512_shuffle_i32x4(low_odd, high_odd, 0x88));
            _mm512_storeu_si512(panel + (8 + c) * PAIR, _mm512_shuffle_i32x4(low, high, 0xdd));
            _mm512_storeu_si512(panel + (12 + c) * PAIR, _mm512_shuffle_i32x4(low_odd, high_odd, 0xdd));
        }
#elif defined(__AVX2__) // whose loads and stores take words of two numbers for floats
        transpose16(reinterpret_cast<const float *>(w + k), depth / WORD<D>, reinterpret_cast<float *>(panel), PAIR);
#else
        for (int word = 0; word < LANES; word++)
            for (int r = 0; r < STRIP; r++) std::memcpy(panel + word * PAIR + r, w + r * depth + k + word * WORD<D>, 4);
#endif
    }
}

template <class D, int tokens> inline void tile(const uint32_t *panel, const typename D::Element *x, int64_t depth, float *values) {
    typename D::Sum sums[tokens][2];
    for (auto &pair : sums) pair[0] = pair[1] = D::zero();
    for (int64_t k = 0; k < depth; k += WORD<D>, panel += PAIR) {
        const typename D::Operand low = D::load(panel), high = D::load(panel + STRIP);
        for (int t = 0; t < tokens; t++) {
            const typename D::Operand token = D::repeat(x + t * depth + k);
            sums[t][0] = D::step(sums[t][0], low, token);
            sums[t][1] = D::step(sums[t][1], high, token);
        }
    }
    for (int t = 0; t < tokens; t++) {
        D::put(values + t * PAIR, sums[t][0]);
        D::put(values + t * PAIR + STRIP, sums[t][1]);
    }
}

template <class D, int tokens, class Done>
inline void tiles(const uint32_t *panel, const typename D::Element *x, int64_t first, int64_t count, int64_t depth, Done done) {
    if constexpr (tokens > 0) {
        float values[tokens * PAIR];
        for (; count - first >= tokens; first += tokens) {
            tile<D, tokens>(panel, x + first * depth, depth, values);
            done(first, tokens, values);
        }
        tiles<D, (tokens > 4 ? tokens - 4 : tokens - 1)>(panel, x, first, count, depth, done);
    }
}

// x: [count, depth]. done(first token, how many, values [how many, 32]) is called until all tokens are. Strips
// have `count` rows, add<rows>(r, x, sums), some rows' products with `sums` many tokens, and rows(), all sixteen.
template <class D, class Weight, class Done>
inline void multiply(const Weight &a, const Weight &b, const typename D::Element *x, int64_t count, int64_t depth, Done done) {
    const auto few = [&]<int tokens>() {
        float values[tokens * PAIR];
        dots<D, tokens>(a, x, values);
        dots<D, tokens>(b, x, values + STRIP);
        done(0, tokens, values);
    };
    switch (count) {
    case 1: return few.template operator()<1>();
    case 2: return few.template operator()<2>();
    case 3: return few.template operator()<3>();
    case 4: return few.template operator()<4>();
    case 5: return few.template operator()<5>();
    case 6: return few.template operator()<6>();
    case 7: return few.template operator()<7>();
    case FEW: return few.template operator()<FEW>();
    }
    static thread_local Room space;
    uint32_t *panel = space.need<uint32_t>(depth / WORD<D> * PAIR);
    turn<D>(a.rows(), depth, panel);
    turn<D>(b.rows(), depth, panel + STRIP);
    tiles<D, MOST>(panel, x, 0, count, depth, done);
}

} // namespace xq::moe
