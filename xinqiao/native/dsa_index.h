// Scores of an indexer: score(query, token) = scale(token) · Σ_h weight(h) · ReLU(q_h · k), in the order that
// xinqiao/ops/reference/dsa.py states, and the tokens with the highest ones.
#pragma once
#include "dsa_choose.h"
#include "dsa_cache.h"
#include "ieee.h"
#include <vector>

namespace xq {

struct Index {
    const void *q;        // [batch, length, heads, d] of q_kind
    const float *weights; // [batch, length, heads], times q's scales
    const int64_t *start; // [batch]
    int64_t q_kind, batch, length, heads, d, keys, top_k, threads;
    Cache k, scales; // scales: rows of one element; no data: all are 1. Kind F32, or E4M3 for bytes of e8m0
};

// Of a tile in registers: heads, and vectors of tokens.
#if defined(__AVX512F__)
constexpr int HEADS = 8, ACROSS = 2;
#else
constexpr int HEADS = 4, ACROSS = 1;
#endif
constexpr int64_t PANEL = 32;       // tokens whose keys are transposed at once: they stay in the first-level cache
constexpr int64_t TOGETHER = 8;     // queries that share a panel
constexpr int64_t CHUNK = 2048;     // tokens of a task
constexpr int64_t SCORES = 1 << 24; // kept at once

inline int64_t visible(int64_t start, int64_t query, int64_t keys) {
    return std::max<int64_t>(0, std::min(start + query + 1, keys));
}

template <typename T> inline void transpose(const T *const *rows, int64_t n, int64_t d, float *panel) {
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < d; i++) panel[i * PANEL + j] = widen(rows[j][i]);
}

#if defined(__AVX512F__)
// 64 of d of 16 rows of e4m3: words of four elements are transposed, then each element of a word is widened.
// False, and nothing is right, where one is a NaN.
inline bool transpose_e4m3(const uint8_t *const *rows, int64_t from, float *panel) {
    const __m512i nan = _mm512_set1_epi8(0x7f), kept = _mm512_set1_epi32(int(0x87f00000u));
    float words[LANES * LANES], turned[LANES * LANES];
    __mmask16 bad = 0;
    for (int j = 0; j < LANES; j++) {
        const __m512i x = _mm512_loadu_si512(rows[j] + from);
        _mm512_storeu_si512(words + j * LANES, x);
        // a byte of 0x7f, without the bytes' own instructions: one that is 0 in (x & 0x7f) ^ 0x7f
        const __m512i other = _mm512_andnot_si512(x, nan);
        const __m512i zero = _mm512_andnot_si512(other, _mm512_sub_epi32(other, _mm512_set1_epi32(0x01010101)));
        bad |= _mm512_test_epi32_mask(zero, _mm512_set1_epi32(int(0x80808080u)));
    }
    transpose16(words, LANES, turned, LANES);
    for (int w = 0; w < LANES; w++)
        for (int c = 0; c < 4; c++) {
            const __m512i top = _mm512_sllv_epi32(_mm512_loadu_si512(turned + w * LANES), _mm512_set1_epi32(24 - 8 * c));
            const __m512 small = _mm512_castsi512_ps(_mm512_and_si512(_mm512_srai_epi32(top, 4), kept));
            _mm512_storeu_ps(panel + (from + 4 * w + c) * PANEL, _mm512_mul_ps(small, _mm512_set1_ps(0x1p120f)));
        }
    return !bad;
}

inline void transpose(const uint8_t *const *rows, int64_t n, int64_t d, float *panel) {
    bool right = n == PANEL && d % 64 == 0;
    for (int64_t j = 0; right && j < PANEL; j += LANES)
        for (int64_t i = 0; right && i < d; i += 64) right = transpose_e4m3(rows + j, i, panel + j);
    if (!right) transpose<uint8_t>(rows, n, d, panel);
}
#endif

// The keys of tokens [first, first + n), n <= PANEL, as [d, PANEL].
template <typename T> inline void key_panel(const Index &x, int64_t batch, int64_t first, int64_t n, float *panel) {
    const T *rows[PANEL];
    for (int64_t j = 0; j < n; j++) rows[j] = cache_row<T>(x.k, batch, first + j);
    transpose(rows, n, x.d, panel);
}

inline void key_panel(const Index &x, int64_t batch, int64_t first, int64_t n, float *panel) {
    if (x.k.kind == E4M3) key_panel<uint8_t>(x, batch, first, n, panel);
    if (x.k.kind == BF16) key_panel<uint16_t>(x, batch, first, n, panel);
    if (x.k.kind == F32) key_panel<float>(x, batch, first, n, panel);
}

inline float scale_of(const Index &x, int64_t batch, int64_t token) {
    if (!x.scales.data) return 1;
    if (x.scales.kind == F32) return *cache_row<float>(x.scales, batch, token);
    const uint32_t byte = *cache_row<uint8_t>(x.scales, batch, token);
    return byte == 255 ? NAN : __builtin_bit_cast(float, byte ? byte << 23 : 1u << 22);
}

// Scores of one query at a panel's tokens. q: [heads, d], padded to a multiple of HEADS.
inline void score_panel(const Index &x, const float *q, const float *weights, const float *panel, const float *scale, float *scores) {
    for (int64_t j = 0; j < PANEL; j += ACROSS * LANES) {
        Floats sums[ACROSS];
        for (Floats &sum : sums) sum = all(0);
        for (int64_t h = 0; h < x.heads; h += HEADS) {
            Floats c[HEADS][ACROSS];
            for (auto &row : c)
                for (Floats &sum : row) sum = all(0);
            accumulate<Single>(c, {q + h * x.d, x.d, 1}, panel + j, PANEL, x.d);
            for (int r = 0; r < HEADS && h + r < x.heads; r++) // a head that only pads adds nothing, not even a NaN
                for (int v = 0; v < ACROSS; v++) sums[v] = fma(all(weights[h + r]), max(all(0), c[r][v]), sums[v]);
        }
        for (int v = 0; v < ACROSS; v++) store(scores + j + v * LANES, sums[v] * load(scale + j + v * LANES));
    }
}

inline void widen_queries(const Index &x, int64_t query, int64_t count, float *q) {
    const int64_t size = x.heads * x.d, room = padded(x.heads, HEADS) * x.d;
    for (int64_t i = 0; i < count; i++, query++, q += room) {
        if (x.q_kind == E4M3) widen_row(static_cast<const uint8_t *>(x.q) + query * size, size, q);
        if (x.q_kind == BF16) widen_row(static_cast<const uint16_t *>(x.q) + query * size, size, q);
        if (x.q_kind == F32) widen_row(static_cast<const float *>(x.q) + query * size, size, q);
    }
}

struct IndexRoom { // of a thread
    std::vector<float> q, panel;
    std::vector<uint32_t> keys, rest;
    explicit IndexRoom(const Index &x) : q(TOGETHER * padded(x.heads, HEADS) * x.d), panel(x.d * PANEL) {}
};

// Scores of queries [first, first + count) of a sequence at tokens from, …, of one chunk. scores: a row for each query.
inline void score_chunk(const Index &x, int64_t batch, int64_t first, int64_t count, int64_t from, float *scores, int64_t stride, IndexRoom &room) {
    const int64_t start = x.start[batch], all_seen = visible(start, first + count - 1, x.keys), query = batch * x.length + first;
    if (from >= all_seen || all_seen <= x.top_k) return;
    widen_queries(x, query, count, room.q.data());
    for (int64_t token = from; token < std::min(from + CHUNK, all_seen); token += PANEL) {
        const int64_t n = std::min(PANEL, x.keys - token);
        float scale[PANEL] = {};
        for (int64_t j = 0; j < n; j++) scale[j] = scale_of(x, batch, token + j);
        key_panel(x, batch, token, n, room.panel.data());
        for (int64_t i = 0; i < count; i++) {
            const int64_t seen = visible(start, first + i, x.keys);
            if (seen <= x.top_k || seen <= token) continue;
            score_panel(x, room.q.data() + i * padded(x.heads, HEADS) * x.d, x.weights + (query + i) * x.heads, room.panel.data(), scale, scores + i * stride + token);
        }
    }
}

inline void index(const Index &x, int32_t *choice) {
    const int64_t stride = padded(x.keys, PANEL), chunks = (x.keys + CHUNK - 1) / CHUNK;
    const int64_t per_batch = (x.length + TOGETHER - 1) / TOGETHER, blocks = x.batch * per_batch;
    const int64_t group = std::max<int64_t>(1, std::min(blocks, SCORES / (TOGETHER * std::max<int64_t>(stride, 1))));
    std::vector<float> scores(group * TOGETHER * stride);
    const auto count = [&](int64_t block) { return std::min(TOGETHER, x.length - block % per_batch * TOGETHER); };
#pragma omp parallel num_threads(int(x.threads))
    {
        const Ieee ieee;
        IndexRoom room(x);
        for (int64_t base = 0; base < blocks; base += group) {
            const int64_t here = std::min(group, blocks - base);
#pragma omp for schedule(dynamic)
            for (int64_t task = 0; task < here * chunks; task++) {
                const int64_t block = base + task / chunks, first = block % per_batch * TOGETHER;
                score_chunk(x, block / per_batch, first, count(block), task % chunks * CHUNK, scores.data() + task / chunks * TOGETHER * stride, stride, room);
            }
#pragma omp for schedule(dynamic)
            for (int64_t i = 0; i < here * TOGETHER; i++) {
                const int64_t block = base + i / TOGETHER, batch = block / per_batch, query = block % per_batch * TOGETHER + i % TOGETHER;
                if (i % TOGETHER >= count(block)) continue;
                room.keys.resize(stride);
                choose(scores.data() + i * stride, visible(x.start[batch], query, x.keys), x.top_k, choice + (batch * x.length + query) * x.top_k, room.keys.data(), room.rest);
            }
        }
    }
}

} // namespace xq
