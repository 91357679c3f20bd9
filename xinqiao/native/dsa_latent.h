// Attention of one query's heads to some rows of a latent cache, whose first elements are the values too.
// Scores are kept as [tokens, heads], so that the softmax runs down columns and rows of the cache need no transposing.
#pragma once
#include "dsa_cache.h"
#include <array>
#include <vector>

namespace xq {

struct Attention {
    const void *q;         // [batch, length, heads, d] of the latents' kind
    const int32_t *choice; // [batch, length, chosen]; none: every token up to the query's own
    const int64_t *start;  // [batch]
    int64_t batch, length, heads, d, d_v, keys, chosen, threads;
    Cache latent;
    float scale;
};

constexpr int64_t TOKENS = 64; // of a step

// Tokens of a query, a step at a time.
struct Tokens {
    const int32_t *chosen; // none: all from `at` to `end`
    int64_t at, end, keys;

    Tokens(const Attention &x, int64_t batch, int64_t query, int64_t part, int64_t parts) : keys(x.keys) {
        chosen = x.choice ? x.choice + (batch * x.length + query) * x.chosen : nullptr;
        const int64_t all = chosen ? x.chosen : std::clamp<int64_t>(x.start[batch] + query + 1, 0, x.keys);
        at = padded(all * part / parts, TOKENS), end = std::min(all, padded(all * (part + 1) / parts, TOKENS));
    }
    int64_t next(int64_t (&found)[TOKENS]) {
        int64_t n = 0;
        for (; at < end && n < TOKENS; at++) {
            const int64_t token = chosen ? chosen[at] : at;
            if (token >= 0 && token < keys) found[n++] = token;
        }
        return n;
    }
};

// Sizes in words: `depth` of a row, `wide` a row with its zeros, `columns` of the values, `heads` of a task.
template <typename Word> struct Shape {
    int64_t depth, wide, columns, heads;
    Shape(const Attention &x, int64_t heads_) {
        depth = (x.d + PER_WORD<Word> - 1) / PER_WORD<Word>;
        wide = padded(depth, 2 * LANES);
        columns = padded(x.d_v, 2 * LANES);
        heads = heads_;
    }
};

// What a task has summed of its heads: e^(score - high) in `sum`, times values in `out` [heads, columns].
struct Sums {
    float *high, *sum, *out;
    static int64_t size(int64_t heads, int64_t columns) { return heads * (2 + columns); }
    Sums(float *room, int64_t heads) : high(room), sum(room + heads), out(room + 2 * heads) {}
    void clear(int64_t heads, int64_t columns) {
        std::fill(high, high + heads, -INFINITY);
        std::fill(sum, sum + heads * (1 + columns), 0.0f);
    }
};

template <typename Word> struct AttentionRoom { // of a thread
    std::vector<float> q, rows, values, scores, sums;
    explicit AttentionRoom(const Shape<Word> &shape)
        : q(shape.wide * shape.heads), rows(TOKENS * shape.wide), values(PER_WORD<Word> == 1 ? 0 : TOKENS / 2 * shape.columns),
          scores(TOKENS * shape.heads), sums(Sums::size(shape.heads, shape.columns)) {}
};

// A row as words: floats, or the pairs of bf16 that lie side by side in it.
template <typename Word, typename T> inline void to_words(const T *from, int64_t n, float *to) {
    if constexpr (PER_WORD<Word> == 1) widen_row(from, n, to);
    else std::memcpy(to, from, n * sizeof(T));
}

// Queries [first, first + heads), as far as there are so many, as [words, heads].
template <typename Word, typename T> inline void turn_queries(const T *q, int64_t d, int64_t there, const Shape<Word> &shape, float *to) {
    std::vector<float> row(shape.wide);
    for (int64_t h = 0; h < shape.heads; h++) {
        if (h < there) to_words<Word>(q + h * d, d, row.data());
        else std::fill(row.begin(), row.end(), 0.0f);
        for (int64_t i = 0; i < shape.depth; i++) to[i * shape.heads + h] = row[i];
    }
}

// Rows of n tokens, and zeros after an odd one: pairs have two.
template <typename Word, typename T> inline void take_rows(const Attention &x, int64_t batch, const int64_t *tokens, int64_t n, const Shape<Word> &shape, float *rows) {
    for (int64_t j = 0; j < n; j++) {
        if (j + 2 < n) {
            const char *ahead = reinterpret_cast<const char *>(cache_row<T>(x.latent, batch, tokens[j + 2]));
            for (int64_t byte = 0; byte < x.d * int64_t(sizeof(T)); byte += 64) __builtin_prefetch(ahead + byte);
        }
        to_words<Word>(cache_row<T>(x.latent, batch, tokens[j]), x.d, rows + j * shape.wide);
    }
    std::fill(rows + n * shape.wide, rows + padded(n, PER_WORD<Word>) * shape.wide, 0.0f);
}

// Scores [n, heads] become e^(score - high); what was summed shrinks where `high` rises.
inline void soften(float *scores, int64_t n, int64_t heads, int64_t columns, float scale, Sums sums) {
    for (int64_t h = 0; h < heads; h += LANES) {
        Floats before = load(sums.high + h), high = before, sum = all(0);
        for (int64_t j = 0; j < n; j++) {
            const Floats score = load(scores + j * heads + h) * all(scale);
            store(scores + j * heads + h, score);
            high = max(score, high);
        }
        for (int64_t j = 0; j < n; j++) {
            const Floats p = exp(load(scores + j * heads + h) - high);
            store(scores + j * heads + h, p);
            sum = sum + p;
        }
        float shrink[LANES];
        store(shrink, exp(before - high));
        store(sums.sum + h, fma(load(sums.sum + h), load(shrink), sum));
        store(sums.high + h, high);
        for (int i = 0; i < LANES; i++) {
            float *out = sums.out + (h + i) * columns;
            for (int64_t c = 0; shrink[i] != 1 && c < columns; c += LANES) store(out + c, load(out + c) * all(shrink[i]));
        }
    }
}

#if defined(__AVX512BF16__)
// Rows 2i and 2i + 1 of fp32 [n, columns] as pairs, in place.
inline void pair_scores(float *scores, int64_t n, int64_t columns) {
    const auto half = [](const float *p) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(p))); };
    for (int64_t i = 0; i < n; i += 2)
        for (int64_t c = 0; c < columns; c += LANES) {
            const float *from = scores + i * columns + c;
            const __m512i pair = _mm512_or_si512(half(from), _mm512_slli_epi32(half(from + columns), 16));
            _mm512_storeu_si512(scores + i / 2 * columns + c, pair);
        }
}

// The values of rows 2i and 2i + 1, element beside element.
inline void pair_values(const float *rows, int64_t n, int64_t wide, int64_t columns, float *to) {
    alignas(64) static constexpr auto order = [] {
        std::array<uint16_t, 64> found{};
        for (int i = 0; i < 64; i++) found[i] = uint16_t(i / 2 + (i % 2 ? 32 : 0));
        return found;
    }();
    const __m512i low = _mm512_load_si512(order.data()), high = _mm512_load_si512(order.data() + 32);
    for (int64_t i = 0; i < n; i += 2)
        for (int64_t c = 0; c < columns; c += 32) {
            const __m512i a = _mm512_loadu_si512(rows + i * wide + c / 2), b = _mm512_loadu_si512(rows + (i + 1) * wide + c / 2);
            _mm512_storeu_si512(to + i / 2 * columns + c, _mm512_permutex2var_epi16(a, low, b));
            _mm512_storeu_si512(to + i / 2 * columns + c + 16, _mm512_permutex2var_epi16(a, high, b));
        }
}
#endif

// out [heads, columns] += probabilities [n, heads], transposed, times values.
template <typename Word> inline void add_values(AttentionRoom<Word> &room, int64_t n, const Shape<Word> &shape, float *out) {
    const Left p{room.scores.data(), 1, shape.heads};
    if constexpr (PER_WORD<Word> == 1) {
        product<true>(shape.heads, shape.columns, n, p, {room.rows.data(), shape.wide}, out, shape.columns);
    } else {
        if (n % 2) std::fill_n(room.scores.data() + n * shape.heads, shape.heads, 0.0f);
        pair_scores(room.scores.data(), n, shape.heads);
        pair_values(room.rows.data(), n, shape.wide, shape.columns, room.values.data());
        product<true, Word>(shape.heads, shape.columns, (n + 1) / 2, p, {room.values.data(), shape.columns}, out, shape.columns);
    }
}

// Part `part` of `parts` of a query's tokens, for heads [first, first + shape.heads).
template <typename Word, typename T>
inline void attend(const Attention &x, int64_t query, int64_t first, int64_t part, int64_t parts, const Shape<Word> &shape, AttentionRoom<Word> &room, Sums sums) {
    const int64_t batch = query / x.length;
    sums.clear(shape.heads, shape.columns);
    turn_queries<Word>(static_cast<const T *>(x.q) + (query * x.heads + first) * x.d, x.d, x.heads - first, shape, room.q.data());
    Tokens tokens(x, batch, query % x.length, part, parts);
    int64_t found[TOKENS];
    while (const int64_t n = tokens.next(found)) {
        take_rows<Word, T>(x, batch, found, n, shape, room.rows.data());
        product<false, Word>(n, shape.heads, shape.depth, {room.rows.data(), shape.wide, 1}, {room.q.data(), shape.heads}, room.scores.data(), shape.heads);
        soften(room.scores.data(), n, shape.heads, shape.columns, x.scale, sums);
        add_values(room, n, shape, sums.out);
    }
}

} // namespace xq
