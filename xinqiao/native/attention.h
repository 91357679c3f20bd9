// Attention of a few query rows over blocks of keys, forward and backward, with a running softmax.
#pragma once
#include "attention_keys.h"

namespace xq {

constexpr int64_t MOST_ROWS = 32; // query heads of a key head, or several queries' heads together
constexpr float NONE = -std::numeric_limits<float>::infinity();

struct Sizes {
    int64_t each; // query heads that read a key head
    int64_t k, v;
    float scale;
};

// The part of a block that each row sees: keys from[r] up to, not including, to[r].
struct Seen {
    int32_t from[MOST_ROWS], to[MOST_ROWS];
    int32_t first = TILE, last = 0;

    void set(int64_t row, int64_t from_, int64_t to_) {
        from[row] = int32_t(std::clamp<int64_t>(from_, 0, TILE));
        to[row] = int32_t(std::clamp<int64_t>(to_, from[row], TILE));
        if (from[row] == to[row]) return;
        first = std::min(first, from[row]);
        last = std::max(last, to[row]);
    }
    bool whole(int64_t row) const { return from[row] == 0 && to[row] == TILE; }
};

// Products [rows, 64] of queries and a block's keys `first` up to `last`, not scaled; those beside them may be missing.
inline void products(int64_t rows, const float *q, const Sizes &size, Right keys, int64_t first, int64_t last, float *to) {
    first = first / LANES * LANES;
    last = (last + LANES - 1) / LANES * LANES;
    product<false>(rows, last - first, size.k, {q, size.k, 1}, {keys.column(first), keys.row, keys.strip}, to + first, TILE);
}

// Scales row r of a block, hides what it does not see, and returns the largest of it and `top`, lane by lane.
inline Floats scaled(float *line, Floats scale, int64_t from, int64_t to, Floats top) {
    const bool whole = from <= 0 && to >= TILE;
    for (int j = 0; j < TILE; j += LANES) {
        Floats score = load(line + j) * scale;
        if (!whole) score = keep(score, int(from - j), int(to - j), NONE);
        store(line + j, score);
        top = max(score, top);
    }
    return top;
}
// Makes a row of scores e^(score - high), 0 where it does not see, and returns `sum` with them, lane by lane.
inline Floats powers(float *line, Floats high, int64_t from, int64_t to, Floats sum) {
    const bool whole = from <= 0 && to >= TILE;
    for (int j = 0; j < TILE; j += LANES) {
        Floats power = exp(load(line + j) - high);
        if (!whole) power = keep(power, int(from - j), int(to - j), 0.0f);
        store(line + j, power);
        sum = sum + power;
    }
    return sum;
}

// What a row has summed so far: sum of e^(score - high) · value in `out`, of e^(score - high) in `sum`.
struct Running {
    float high[MOST_ROWS], sum[MOST_ROWS], shrink[MOST_ROWS];

    Running() {
        for (int64_t r = 0; r < MOST_ROWS; r++) high[r] = NONE, sum[r] = 0.0f;
    }
};

inline void raise(int64_t rows, float scale, Running &run, const Seen &seen, float *score) {
    float before[MOST_ROWS];
    for (int64_t r = 0; r < rows; r++) {
        before[r] = run.high[r];
        run.high[r] = largest(scaled(score + r * TILE, all(scale), seen.from[r], seen.to[r], all(before[r])));
    }
    for (int64_t r = rows; r < MOST_ROWS; r++) before[r] = run.high[r];
    for (int64_t r = 0; r < rows; r += LANES) store(run.shrink + r, exp(load(before + r) - load(run.high + r)));
}

// Adds a block to `out` [rows, v]; score: room for [rows, 64].
inline void step(int64_t rows, const float *q, const Sizes &size, Right keys, Right values, const Seen &seen, Running &run,
                 float *score, float *out) {
    products(rows, q, size, keys, seen.first, seen.last, score);
    raise(rows, size.scale, run, seen, score);
    for (int64_t r = 0; r < rows; r++) {
        float *line = score + r * TILE;
        if (seen.from[r] == seen.to[r]) {
            for (int j = 0; j < TILE; j += LANES) store(line + j, all(0.0f));
            continue;
        }
        const Floats sum = powers(line, all(run.high[r]), seen.from[r], seen.to[r], all(0.0f));
        const float shrink = run.sum[r] == 0.0f ? 0.0f : run.shrink[r];
        run.sum[r] = run.sum[r] * shrink + total(sum);
        if (shrink == 1.0f) continue;
        for (int64_t d = 0; d < size.v; d += LANES) store(out + r * size.v + d, load(out + r * size.v + d) * all(shrink));
    }
    product<true>(rows, size.v, seen.last - seen.first, {score + seen.first, TILE, 1}, values.from(seen.first), out, size.v);
}

// Gradients of a block's keys and values and of q, all added to. q [rows, k], up [rows, v] is the gradient of the output,
// inner[r] the product of output and its gradient. natural, turned: the block's keys as rows, its values transposed. room: two times [rows, 64].
struct Backward {
    const float *q, *up, *lse, *inner;
    float *dq; // [rows, k]
};
inline void step_back(int64_t rows, const Backward &with, const Sizes &size, Right keys, Right natural, Right turned,
                      const Seen &seen, float *dk, float *dv, int64_t dk_row, int64_t dv_row, float *room) {
    float *share = room, *slope = room + MOST_ROWS * TILE;
    products(rows, with.q, size, keys, 0, TILE, share);
    product<false>(rows, TILE, size.v, {with.up, size.v, 1}, turned, slope, TILE);
    for (int64_t r = 0; r < rows; r++)
        for (int j = 0; j < TILE; j += LANES) {
            const int64_t at = r * TILE + j;
            Floats p = exp(load(share + at) * all(size.scale) - all(with.lse[r]));
            if (!seen.whole(r)) p = keep(p, seen.from[r] - j, seen.to[r] - j, 0.0f);
            store(share + at, p);
            Floats s = p * (load(slope + at) - all(with.inner[r])) * all(size.scale);
            if (!seen.whole(r)) s = keep(s, seen.from[r] - j, seen.to[r] - j, 0.0f);
            store(slope + at, s);
        }
    const int64_t first = seen.first, depth = seen.last - seen.first;
    product<true>(rows, size.k, depth, {slope + first, TILE, 1}, natural.from(first), with.dq, size.k);
    product<true>(depth, size.k, rows, {slope + first, 1, TILE}, {with.q, size.k}, dk + first * dk_row, dk_row);
    product<true>(depth, size.v, rows, {share + first, 1, TILE}, {with.up, size.v}, dv + first * dv_row, dv_row);
}

} // namespace xq
