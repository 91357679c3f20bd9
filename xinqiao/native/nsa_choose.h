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

// score holds [rows, 64] for each block, scaled; row r sees `seen` keys. It becomes the softmax; high[r] + log(sum[r]) is the
// logarithm of its denominator.
inline void softmax(int64_t rows, int64_t seen, float *score, float *lse) {
    const int64_t blocks = (seen + TILE - 1) / TILE, block = rows * TILE;
    for (int64_t r = 0; r < rows; r++) {
        Floats top = all(NONE);
        for (int64_t b = 0; b < blocks; b++)
            for (int j = 0; j < TILE; j += LANES) {
                float *at = score + b * block + r * TILE + j;
                if ((b + 1) * TILE > seen) store(at, keep(load(at), 0, int(seen - b * TILE - j), NONE));
                top = max(load(at), top);
            }
        const float high = largest(top);
        Floats sum = all(0.0f);
        for (int64_t b = 0; b < blocks; b++)
            for (int j = 0; j < TILE; j += LANES) {
                float *at = score + b * block + r * TILE + j;
                Floats power = exp(load(at) - all(high));
                if ((b + 1) * TILE > seen) power = keep(power, 0, int(seen - b * TILE - j), 0.0f);
                store(at, power);
                sum = sum + power;
            }
        const float whole = total(sum);
        const Floats part = all(1.0f / whole);
        for (int64_t b = 0; b < blocks; b++)
            for (int j = 0; j < TILE; j += LANES) {
                float *at = score + b * block + r * TILE + j;
                store(at, load(at) * part);
            }
        lse[r] = high + std::log(whole);
    }
}

// The blocks of one query. share: the summed softmax of `keys` compressed keys. order: room.
inline void choose(const Choosing &rule, int64_t position, const float *share, int64_t keys, std::vector<uint64_t> &order, int32_t *to) {
    const int64_t own = position / rule.block, ratio = rule.block / rule.stride;
    const int64_t first = std::min(rule.initial, own + 1), last = std::max(first, own - rule.local + 1);
    const int64_t free = std::min(rule.blocks - first - (own + 1 - last), last - first);
    bool numbers = true;
    for (int64_t c = 0; c < keys; c++) numbers &= share[c] == share[c];
    order.clear();
    for (int64_t j = first; j < last && free > 0; j++) {
        float score = 0.0f;
        for (int64_t i = 0; i < rule.offsets && numbers; i++) {
            const int64_t c = j * ratio + rule.offset[i];
            if (c >= 0 && c < keys) score = score + share[c] * float(rule.weight[i]);
        }
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
