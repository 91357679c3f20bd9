// Gradients of attention over a latent cache, in fp32. Each row of the cache has one thread that adds to its gradient, so
// the sums have one order; a query's gradient is summed over the threads, in theirs.
#pragma once
#include "dsa_latent.h"

namespace xq {

struct Backward {
    Attention x;
    const float *d_out, *lse, *share; // [batch, length, heads, d_v]; [batch, length, heads]; d_out · out - d_lse
    float *d_q, *d_latent;            // like q; [blocks, page, d], zeros
};

constexpr int64_t OWNED = 16;   // rows of the cache, one beside the other, of the same thread
constexpr int64_t QUERIES = 16; // whose gradients are kept for each thread
constexpr int64_t BACK = 64;    // heads of a step, at most

struct BackwardRoom {
    Shape<Single> shape;
    std::vector<float> turned, natural, d_turned, d_natural, rows, scores, slopes, d_rows, lse, share;
    explicit BackwardRoom(const Attention &x)
        : shape(x, std::min(BACK, padded(x.heads, LANES))), turned(shape.wide * shape.heads), natural(shape.heads * shape.wide),
          d_turned(shape.columns * shape.heads), d_natural(shape.heads * shape.columns), rows(TOKENS * shape.wide),
          scores(TOKENS * shape.heads), slopes(TOKENS * shape.heads), d_rows(TOKENS * shape.wide), lse(shape.heads), share(shape.heads) {}
};

inline int64_t physical(const Attention &x, int64_t batch, int64_t token) {
    const Cache &cache = x.latent;
    if (!cache.table) return batch * cache.page + token;
    return int64_t(cache.table[batch * cache.pages + token / cache.page]) * cache.page + token % cache.page;
}

// Rows [there, d] as [heads, row], zeros around them, and transposed as [row, heads].
template <typename T> inline void both_ways(const T *from, int64_t there, int64_t d, int64_t heads, int64_t row, float *natural, float *turned) {
    for (int64_t h = 0; h < heads; h++) {
        float *to = natural + h * row;
        std::fill(to, to + row, 0.0f);
        if (h < there) widen_row(from + h * d, d, to);
        for (int64_t i = 0; i < row; i++) turned[i * heads + h] = to[i];
    }
}

template <typename T> inline void take_query(const Backward &of, int64_t query, int64_t first, BackwardRoom &room) {
    const Attention &x = of.x;
    const int64_t row = query * x.heads + first, heads = room.shape.heads, there = std::min(heads, x.heads - first);
    both_ways(static_cast<const T *>(x.q) + row * x.d, there, x.d, heads, room.shape.wide, room.natural.data(), room.turned.data());
    both_ways(of.d_out + row * x.d_v, there, x.d_v, heads, room.shape.columns, room.d_natural.data(), room.d_turned.data());
    std::fill(room.lse.begin(), room.lse.end(), 0.0f);
    std::fill(room.share.begin(), room.share.end(), 0.0f);
    std::copy(of.lse + row, of.lse + row + there, room.lse.begin());
    std::copy(of.share + row, of.share + row + there, room.share.begin());
}

// Scores become probabilities, and slopes, which are the gradients of those, the gradients of the scores.
inline void differentiate(BackwardRoom &room, int64_t n, float scale) {
    const int64_t heads = room.shape.heads;
    for (int64_t j = 0; j < n; j++)
        for (int64_t h = 0; h < heads; h += LANES) {
            float *score = room.scores.data() + j * heads + h, *slope = room.slopes.data() + j * heads + h;
            const Floats p = exp(fma(load(score), all(scale), all(0) - load(room.lse.data() + h)));
            store(score, p);
            store(slope, p * (load(slope) - load(room.share.data() + h)) * all(scale));
        }
}

// The part of some rows: adds to d_q [heads, wide] and to the rows' gradients.
template <typename T> inline void step_back(const Backward &of, int64_t batch, const int64_t *tokens, int64_t n, BackwardRoom &room, float *d_q) {
    const Shape<Single> &shape = room.shape;
    const int64_t heads = shape.heads, wide = shape.wide, columns = shape.columns;
    float *rows = room.rows.data(), *scores = room.scores.data(), *slopes = room.slopes.data(), *d_rows = room.d_rows.data();
    take_rows<Single, T>(of.x, batch, tokens, n, shape, rows);
    product<false>(n, heads, of.x.d, {rows, wide, 1}, {room.turned.data(), heads}, scores, heads);
    product<false>(n, heads, of.x.d_v, {rows, wide, 1}, {room.d_turned.data(), heads}, slopes, heads);
    differentiate(room, n, of.x.scale);
    product<true>(heads, wide, n, {slopes, 1, heads}, {rows, wide}, d_q, wide);
    product<false>(n, wide, heads, {slopes, heads, 1}, {room.natural.data(), wide}, d_rows, wide);
    product<true>(n, columns, heads, {scores, heads, 1}, {room.d_natural.data(), columns}, d_rows, wide);
    for (int64_t j = 0; j < n; j++) {
        float *to = of.d_latent + physical(of.x, batch, tokens[j]) * of.x.d;
        for (int64_t i = 0; i < of.x.d; i++) to[i] += d_rows[j * wide + i];
    }
}

// What thread `me` owns of a query's tokens. d_q: [heads of all groups, wide], zeros.
template <typename T> inline void query_back(const Backward &of, int64_t query, int64_t me, BackwardRoom &room, float *d_q) {
    const Attention &x = of.x;
    const int64_t batch = query / x.length;
    for (int64_t first = 0; first < x.heads; first += room.shape.heads) {
        take_query<T>(of, query, first, room);
        Tokens tokens(x, batch, query % x.length, 0, 1);
        int64_t found[TOKENS], mine[TOKENS], n = 0;
        while (const int64_t some = tokens.next(found))
            for (int64_t i = 0; i < some; i++) {
                if (physical(x, batch, found[i]) / OWNED % x.threads != me) continue;
                mine[n++] = found[i];
                if (n == TOKENS) {
                    step_back<T>(of, batch, mine, n, room, d_q + first * room.shape.wide);
                    n = 0;
                }
            }
        if (n) step_back<T>(of, batch, mine, n, room, d_q + first * room.shape.wide);
    }
}

template <typename T> inline void backward(const Backward &of) {
    const Attention &x = of.x;
    const Shape<Single> shape(x, std::min(BACK, padded(x.heads, LANES)));
    const int64_t queries = x.batch * x.length, size = padded(x.heads, shape.heads) * shape.wide;
    std::vector<float> partial(x.threads * QUERIES * size);
#pragma omp parallel num_threads(int(x.threads))
    {
        BackwardRoom room(x);
        for (int64_t base = 0; base < queries; base += QUERIES) {
            const int64_t here = std::min(QUERIES, queries - base);
#pragma omp for schedule(static)
            for (int64_t me = 0; me < x.threads; me++) // whoever runs it
                for (int64_t i = 0; i < here; i++) {
                    float *d_q = partial.data() + (me * QUERIES + i) * size;
                    std::fill(d_q, d_q + size, 0.0f);
                    query_back<T>(of, base + i, me, room, d_q);
                }
#pragma omp for schedule(static)
            for (int64_t row = 0; row < here * x.heads; row++) {
                float *to = of.d_q + (base * x.heads + row) * x.d;
                const float *from = partial.data() + row / x.heads * size + row % x.heads * shape.wide;
                std::copy(from, from + x.d, to);
                for (int64_t other = 1; other < x.threads; other++)
                    for (int64_t c = 0; c < x.d; c++) to[c] += from[other * QUERIES * size + c];
            }
        }
    }
}

} // namespace xq
