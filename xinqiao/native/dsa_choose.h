// The places of the k highest scores, in ascending order; the lower place wins a tie.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

namespace xq {

constexpr int DIGITS[] = {11, 11, 10}; // bits, from the highest; a histogram of one fits the first-level cache

// Scores as numbers whose order as integers is theirs as floats, -0 as 0; all 0 where one is a NaN.
inline void ordered(const float *scores, int64_t n, uint32_t *keys) {
    uint32_t highest = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = __builtin_bit_cast(uint32_t, scores[i] + 0.0f), sign = uint32_t(int32_t(bits) >> 31);
        const uint32_t magnitude = bits & 0x7fffffffu;
        highest = highest > magnitude ? highest : magnitude;
        keys[i] = bits ^ (sign | 0x80000000u);
    }
    if (highest > 0x7f800000u) std::memset(keys, 0, n * sizeof *keys);
}

struct Threshold {
    uint32_t key;
    int64_t equal; // how many of that key are chosen
};

// The k-th highest of n keys, 1 <= k <= n. Digit by digit; after the first, only the keys that still may be it are read.
inline Threshold highest(const uint32_t *keys, int64_t n, int64_t k, std::vector<uint32_t> &rest) {
    rest.resize(n + 1);
    uint32_t found = 0;
    int shift = 32;
    for (const int bits : DIGITS) {
        shift -= bits;
        const uint32_t mask = (1u << bits) - 1;
        uint32_t counts[2][1 << DIGITS[0]] = {}; // two: neighbours often share a digit, and would wait for each other
        int64_t i = 0;
        for (; i + 2 <= n; i += 2) {
            counts[0][keys[i] >> shift & mask]++;
            counts[1][keys[i + 1] >> shift & mask]++;
        }
        if (i < n) counts[0][keys[i] >> shift & mask]++;
        uint32_t digit = mask;
        for (int64_t here; k > (here = int64_t(counts[0][digit]) + counts[1][digit]); digit--) k -= here;
        found |= digit << shift;
        int64_t kept = 0;
        for (i = 0; i < n; i++) {
            const uint32_t key = keys[i];
            rest[kept] = key; // in place from the second digit on: never ahead of what is read
            kept += (key >> shift & mask) == digit;
        }
        keys = rest.data();
        n = kept;
    }
    return {found, k};
}

// choice: [k], -1 in places that n scores cannot fill. keys: room for n.
inline void choose(const float *scores, int64_t n, int64_t k, int32_t *choice, uint32_t *keys, std::vector<uint32_t> &rest) {
    int64_t filled = 0;
    if (n <= k) {
        for (; filled < n; filled++) choice[filled] = int32_t(filled);
    } else {
        ordered(scores, n, keys);
        auto [threshold, equal] = highest(keys, n, k, rest);
        for (int64_t i = 0; i < n && filled < k; i++) {
            const bool ties = keys[i] == threshold, chosen = keys[i] > threshold || (ties && equal > 0);
            choice[filled] = int32_t(i);
            filled += chosen;
            equal -= ties;
        }
    }
    for (; filled < k; filled++) choice[filled] = -1;
}

} // namespace xq
