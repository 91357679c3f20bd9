// Two strips of sixteen rows of a weight times the tokens of one expert.
//
// Few tokens: rows of the weight meet rows of tokens as they lie in memory, and the lanes are added at the end. More: the
// strips are turned, so that a vector holds one column of sixteen rows, and tokens' elements are repeated against it.
// Which of the two an expert takes depends on how many tokens it has, and on nothing else.
#pragma once
#include "moe_dot.h"
#include <vector>

namespace xq::moe {

constexpr int STRIP = 16, PAIR = 2 * STRIP;
template <class D> constexpr int64_t WORD = 4 / sizeof(typename D::Element);
template <class D> constexpr int64_t STEP = LANES *WORD<D>; // elements of a vector

#if defined(__AVX512F__)
constexpr int SUMS = 16, MOST = 12, FEW = 6; // sums in registers; tokens of a tile; tokens from which strips are turned
#else
constexpr int SUMS = 4, MOST = 2, FEW = 6;
#endif
constexpr int LARGEST = MOST > 4 ? MOST : 4; // tokens that `done` may be given at once

// Sixteen rows of elements, `stride` apart; `depth` of each count, and are whole vectors. ahead: bytes to what is next.
template <class D> struct Rows {
    const typename D::Element *at;
    int64_t stride, ahead;
};

template <class D, int rows, int tokens>
inline void dots(Rows<D> w, const typename D::Element *x, int64_t depth, float *values) {
    typename D::Sum sums[rows * tokens];
    for (auto &sum : sums) sum = D::zero();
    for (int64_t k = 0; k < depth; k += STEP<D>) {
        typename D::Operand token[tokens];
        for (int t = 0; t < tokens; t++) token[t] = D::load(x + t * depth + k);
        for (int r = 0; r < rows; r++) {
            const typename D::Element *p = w.at + r * w.stride + k;
            __builtin_prefetch(reinterpret_cast<const char *>(p) + w.ahead);
            const typename D::Operand row = D::load(p);
            for (int t = 0; t < tokens; t++) sums[t * rows + r] = D::step(sums[t * rows + r], row, token[t]);
        }
    }
#if defined(__AVX512F__)
    float found[SUMS];
    totals(sums, found);
    for (int t = 0; t < tokens; t++) std::memcpy(values + t * PAIR, found + t * rows, rows * sizeof(float));
#else
    for (int t = 0; t < tokens; t++)
        for (int r = 0; r < rows; r++) values[t * PAIR + r] = D::total(sums[t * rows + r]);
#endif
}

template <class D, int tokens> inline void strip(Rows<D> w, const typename D::Element *x, int64_t depth, float *values) {
    constexpr int rows = SUMS / tokens;
    for (int r = 0; r < STRIP; r += rows, w.at += rows * w.stride) dots<D, rows, tokens>(w, x, depth, values + r);
}

// Words of sixteen rows → panel [words][32], in the sixteen places from `panel` on.
template <class D> inline void turn(Rows<D> w, int64_t depth, uint32_t *panel) {
    for (int64_t k = 0; k < depth; k += STEP<D>, panel += LANES * PAIR) {
#if defined(__AVX512F__)
        __m512i a[16], b[16];
        for (int r = 0; r < 16; r++) {
            const typename D::Element *p = w.at + r * w.stride + k;
            __builtin_prefetch(reinterpret_cast<const char *>(p) + w.ahead);
            a[r] = _mm512_loadu_si512(p);
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
#else
        for (int word = 0; word < LANES; word++)
            for (int r = 0; r < STRIP; r++) std::memcpy(panel + word * PAIR + r, w.at + r * w.stride + k + word * WORD<D>, 4);
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

// x: [count, depth]. done(first token, how many, values [how many, 32]) is called until all tokens are.
template <class D, class Done>
inline void few(Rows<D> a, Rows<D> b, const typename D::Element *x, int64_t count, int64_t depth, Done done) {
    float values[4 * PAIR];
    const auto some = [&]<int tokens>(int64_t first) {
        strip<D, tokens>(a, x + first * depth, depth, values);
        strip<D, tokens>(b, x + first * depth, depth, values + STRIP);
        done(first, tokens, values);
    };
    int64_t t = 0;
    for (; t + 4 <= count; t += 4) some.template operator()<4>(t);
    if (count - t >= 2) some.template operator()<2>(t), t += 2;
    if (count - t) some.template operator()<1>(t);
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

template <class D, class Done>
inline void multiply(Rows<D> a, Rows<D> b, const typename D::Element *x, int64_t count, int64_t depth, Done done) {
    if (count < FEW) return few<D>(a, b, x, count, depth, done);
    static thread_local std::vector<uint32_t> panel;
    panel.resize(size_t(depth / WORD<D> * PAIR));
    turn<D>(a, depth, panel.data());
    turn<D>(b, depth, panel.data() + STRIP);
    tiles<D, MOST>(panel.data(), x, 0, count, depth, done);
}

} // namespace xq::moe
