// The softmax over compressed keys, in the exact order of `xinqiao/ops/reference/exact.py`, and the blocks chosen by it.
#pragma once
#include "attention.h"

namespace xq {

struct Choosing {
    int64_t length, stride, block, blocks, initial, local;
    int64_t offsets; // of compressed keys from block / stride · j, and how often each counts
    const int64_t *offset, *weight;
};

inline int64_t ended(const Choosing &rule, int64_t position, int64_t keys) {
    return position + 1 < rule.length ? 0 : std::min(keys, (position + 1 - rule.length) / rule.stride + 1);
}

// One query's rows over `seen` compressed keys: `sum` [rows, v] += e^(score - high) · value. score: room for [rows, 64] a block, left
// as e^(score - high); part[r] makes these shares; lse[r]: the logarithm of the row's denominator. keys(b), values(b): of a block.
template <typename Keys, typename Values>
inline void soften(int64_t rows, const float *q, const Sizes &size, int64_t seen, Keys keys, Values values, float *score, float *part, float *lse, float *sum) {
    const int64_t blocks = (seen + TILE - 1) / TILE;
    Floats top[MOST_ROWS], whole[MOST_ROWS];
    std::fill_n(top, rows, all(NONE));
    std::fill_n(whole, rows, all(0.0f));
    for (int64_t b = 0; b < blocks; b++) {
        float *block = score + b * rows * TILE;
        products(rows, q, size, keys(b), 0, std::min<int64_t>(TILE, seen - b * TILE), block);
        for (int64_t r = 0; r < rows; r++) top[r] = scaled(block + r * TILE, all(size.scale), 0, seen - b * TILE, top[r]);
    }
    for (int64_t r = 0; r < rows; r++) lse[r] = largest(top[r]);
    for (int64_t b = 0; b < blocks; b++) {
        float *block = score + b * rows * TILE;
        for (int64_t r = 0; r < rows; r++) whole[r] = powers(block + r * TILE, all(lse[r]), 0, seen - b * TILE, whole[r]);
        product<true>(rows, size.v, std::min<int64_t>(TILE, seen - b * TILE), {block, TILE, 1}, values(b), sum, size.v);
    }
    for (int64_t r = 0; r < rows; r++) {
        const float denominator = total(whole[r]);
        part[r] = 1.0f / denominator;
        lse[r] += std::log(denominator);
    }
}

// Sums the shares of each key over the rows, in their order: powers [rows, 64] of a block times part[r].
inline void shares(int64_t rows, const float *part, const float *power, float *summed) {
    for (int j = 0; j < TILE; j += LANES) {
        Floats sum = all(0.0f);
        for (int64_t r = 0; r < rows; r++) sum = sum + load(power + r * TILE + j) * all(part[r]);
        store(summed + j, sum);
    }
}

// Zeros that stand on both sides of the shares, where offsets reach beyond them.
inline int64_t margin(const Choosing &rule) { return 2 * (rule.block + rule.length) / rule.stride + LANES; }

// The blocks of one query. share: the summed softmax of `keys` compressed keys, between margins. order: room.
inline void choose(const Choosing &rule, int64_t position, const float *share, int64_t keys, std::vector<uint64_t> &order, int32_t *to) {
    const int64_t own = position / rule.block, ratio = rule.block / rule.stride;
    const int64_t first = std::min(rule.initial, own + 1), last = std::max(first, own - rule.local + 1);
    const int64_t free = std::min(rule.blocks - first - (own + 1 - last), last - first);
    bool numbers = true;
    for (int64_t c = 0; c < keys; c++) numbers &= share[c] == share[c];
    order.clear();
    for (int64_t j = first; j < last && free > 0; j++) {
        float score = 0.0f;
        const float *from = share + std::min(j * ratio, keys + (rule.length + rule.block) / rule.stride); // zeros from there on
        for (int64_t i = 0; i < rule.offsets && numbers; i++) score = score + from[rule.offset[i]] * float(rule.weight[i]);
        order.push_back(uint64_t(~__builtin_bit_cast(uint32_t, score)) << 32 | uint64_t(j)); // scores are not below 0
    }
    if (free > 0 && free < int64_t(order.size())) std::nth_element(order.begin(), order.begin() + free, order.end());
    int64_t n = 0;
    for (int64_t j = 0; j < first; j++) to[n++] = int32_t(j);
    for (int64_t i = 0; i < free; i++) to[n++] = int32_t(uint32_t(order[i]));
    std::sort(to + first, to + n);
    for (int64_t j = last; j <= own; j++) to[n++] = int32_t(j);
    while (n < rule.blocks) to[n++] = -1;
}

} // namespace xq
