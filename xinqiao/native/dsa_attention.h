// The tasks of attention over a latent cache: queries, heads and, where those are few, parts of a query's tokens.
#pragma once
#include "dsa_latent.h"

namespace xq {

constexpr int64_t MOST_HEADS = 64; // of a task: its queries and sums stay in the second-level cache
constexpr int64_t LEAST_TOKENS = 512; // of a part

inline void narrow(float x, float &to) { to = x; }
// To the nearest bf16, ties to even; a NaN stays one.
inline void narrow(float x, uint16_t &to) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, x);
    to = uint16_t(x == x ? (bits + 0x7fff + (bits >> 16 & 1)) >> 16 : bits >> 16 | 0x40);
}

// Adds what other parts have summed to the first's.
inline void merge(Sums into, Sums other, int64_t heads, int64_t columns) {
    for (int64_t h = 0; h < heads; h++) {
        if (other.high[h] == -INFINITY && other.sum[h] == 0) continue;
        const float high = std::max(into.high[h], other.high[h]);
        const float a = into.sum[h] == 0 ? 0 : std::exp(into.high[h] - high), b = std::exp(other.high[h] - high);
        into.high[h] = high;
        into.sum[h] = into.sum[h] * a + other.sum[h] * b;
        float *x = into.out + h * columns;
        const float *y = other.out + h * columns;
        for (int64_t c = 0; c < columns; c++) x[c] = x[c] * a + y[c] * b;
    }
}

template <typename T> inline void finish(const Attention &x, Sums sums, int64_t columns, int64_t row, int64_t heads, T *out, float *lse) {
    for (int64_t h = 0; h < heads; h++) {
        const float part = sums.sum[h] == 0 ? 0 : 1 / sums.sum[h];
        for (int64_t c = 0; c < x.d_v; c++) narrow(sums.out[h * columns + c] * part, out[(row + h) * x.d_v + c]);
        lse[row + h] = sums.high[h] + std::log(sums.sum[h]);
    }
}

// Heads of a task: fewer, so long as there are fewer tasks than threads.
inline int64_t heads_of_task(const Attention &x) {
    int64_t heads = std::min(MOST_HEADS, padded(x.heads, LANES));
    while (heads > LANES && x.batch * x.length * padded(x.heads, heads) / heads < x.threads) heads = padded(heads / 2, LANES);
    return heads;
}

template <typename Word, typename T> inline void attention(const Attention &x, T *out, float *lse) {
    const Shape<Word> shape(x, heads_of_task(x));
    const int64_t groups = (x.heads + shape.heads - 1) / shape.heads, tasks = x.batch * x.length * groups;
    const int64_t most = std::max<int64_t>(1, (x.choice ? x.chosen : x.keys) / LEAST_TOKENS);
    const int64_t parts = tasks < x.threads ? std::min(most, (x.threads + tasks - 1) / std::max<int64_t>(tasks, 1)) : 1;
    const int64_t size = Sums::size(shape.heads, shape.columns);
    std::vector<float> partial(parts > 1 ? tasks * parts * size : 0);
    const auto end = [&](int64_t task, Sums sums) {
        const int64_t first = task % groups * shape.heads, row = task / groups * x.heads + first;
        finish(x, sums, shape.columns, row, std::min(shape.heads, x.heads - first), out, lse);
    };
#pragma omp parallel num_threads(int(x.threads))
    {
        AttentionRoom<Word> room(shape);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < tasks * parts; i++) {
            const int64_t task = i / parts;
            const Sums sums(parts > 1 ? partial.data() + i * size : room.sums.data(), shape.heads);
            attend<Word, T>(x, task / groups, task % groups * shape.heads, i % parts, parts, shape, room, sums);
            if (parts == 1) end(task, sums);
        }
#pragma omp for schedule(static)
        for (int64_t task = 0; task < (parts > 1 ? tasks : 0); task++) {
            const Sums sums(partial.data() + task * parts * size, shape.heads);
            for (int64_t part = 1; part < parts; part++) merge(sums, Sums(partial.data() + (task * parts + part) * size, shape.heads), shape.heads, shape.columns);
            end(task, sums);
        }
    }
}

} // namespace xq
