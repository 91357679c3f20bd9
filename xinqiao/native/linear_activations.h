// Activations as the kernels of FP8 weights want them: in the order of the steps, and multiplied by the scales of a row of
// blocks, so that no scale is left for the inner loop.
#pragma once
#include "linear_steps.h"
#include <limits>

namespace xq {

// fp32. `arranged` holds `tokens` rows of whole steps. Very large tokens are made smaller by a power of two, so that sums of
// products with codes, before they are scaled, stay finite; `restore[token]` makes up for it.
inline void arrange_f32(const Tokens &x, int64_t columns, float *arranged, float *restore) {
    const int64_t width = steps_of(columns) * STEP;
    for (int64_t t = 0; t < x.count; t++) {
        bool large = false;
        for (int64_t i = 0; i < columns; i++) large |= std::abs(read(x.row(t), x.number, i)) >= 0x1p96f;
        restore[t] = large ? 0x1p32f : 1.0f;
        const float smaller = 1.0f / restore[t];
        for (int64_t first = 0; first < width; first += STEP) {
            float wide[STEP] = {};
            const int64_t count = std::min(STEP, columns - first);
            for (int64_t i = 0; i < count; i++) wide[i] = read(x.row(t), x.number, first + i) * smaller;
            E4m3ByF32::arrange(wide, arranged + t * width + first);
        }
    }
}

// Sizes of numbers other than zero, from `least` up to, not including, `most`.
struct Sizes {
    float least, most;
    // 1 where x is of another size; in whole numbers, so that loops over it become vectors.
    uint32_t lack(float x) const {
        const uint32_t from = codec::bits(least), size = codec::bits(x) & codec::MAGNITUDE;
        return uint32_t(size - from >= codec::bits(most) - from);
    }
};
constexpr Sizes NORMAL{std::numeric_limits<float>::min(), std::numeric_limits<float>::infinity()};

// folded = arranged times the scale of each step, which is that of both of its blocks. False where a product is of no such size.
inline bool fold_f32(const float *arranged, const float *step_scales, int64_t steps, Sizes sizes, float *folded) {
    uint32_t bad = 0;
    for (int64_t s = 0; s < steps; s++)
        for (int64_t i = s * STEP; i < (s + 1) * STEP; i++) {
            folded[i] = arranged[i] * step_scales[2 * s];
            bad |= uint32_t(arranged[i] != 0) & sizes.lack(folded[i]);
        }
    return !bad;
}

#ifdef XQ_E4M3_SHIFTS

// For `E4m3ByShifts`: arranged activations with their scales folded in, of which products with codes are normal and their sums
// finite; and arranged activations and scales, of which so are the products of all three.
constexpr Sizes FOLDED{0x1p4f, 0x1p126f}, UNFOLDED{0x1p34f, 0x1p126f}, SCALES{0x1p-30f, 0x1p60f};

// good[token]: whether all of its numbers are zero or of a size of UNFOLDED.
inline void arrange_shifts(const Tokens &x, int64_t columns, float *arranged, bool *good) {
    const int64_t width = steps_of(columns) * STEP;
    for (int64_t t = 0; t < x.count; t++) {
        uint32_t bad = 0;
        for (int64_t first = 0; first < width; first += STEP) {
            float wide[STEP] = {};
            const int64_t count = std::min(STEP, columns - first);
            for (int64_t i = 0; i < count; i++) wide[i] = read(x.row(t), x.number, first + i);
            float *to = arranged + t * width + first;
            E4m3ByShifts::arrange(wide, to);
            for (int i = 0; i < STEP; i++) bad |= uint32_t(to[i] != 0) & UNFOLDED.lack(to[i]);
        }
        good[t] = !bad;
    }
}

#endif

#ifdef XQ_BF16_STEPS

// bf16. Whether every number is zero or so far from the ends of the range that products with codes and sums are normal and
// finite: the instruction drops subnormals.
inline bool arrange_bf16(const Tokens &x, int64_t columns, uint16_t *arranged) {
    const int64_t width = steps_of(columns) * STEP;
    const __m512i magnitude = _mm512_set1_epi16(0x7fff), least = _mm512_set1_epi16((127 - 100) << 7);
    const __m512i range = _mm512_set1_epi16((100 + 96) << 7);
    __mmask32 bad = 0;
    for (int64_t t = 0; t < x.count; t++) {
        const auto *row = static_cast<const uint16_t *>(x.row(t));
        uint16_t *to = arranged + t * width;
        for (int64_t first = 0; first < width; first += STEP) {
            if (columns - first >= STEP)
                E4m3ByBf16::arrange(row + first, to + first);
            else
                E4m3ByBf16::arrange(Padded<uint16_t>(row + first, columns - first).at, to + first);
            for (int i = 0; i < STEP; i += 32) {
                const __m512i size = _mm512_and_si512(_mm512_load_si512(to + first + i), magnitude);
                bad |= _mm512_mask_cmpge_epu16_mask(_mm512_test_epi16_mask(size, size), _mm512_sub_epi16(size, least), range);
            }
        }
    }
    return !bad;
}

// folded = arranged times 2^power[step], exactly, by adding to the exponents. False where one would leave the normal range.
inline bool fold_bf16(const uint16_t *arranged, const int16_t *power, int64_t steps, uint16_t *folded) {
    const __m512i magnitude = _mm512_set1_epi16(0x7fff);
    __mmask32 bad = 0;
    for (int64_t s = 0; s < steps; s++) {
        const int low = std::max(1, 1 - power[s]), high = std::min(254, 254 - power[s]); // exponents that stay in range
        const __m512i least = _mm512_set1_epi16(int16_t(low << 7)), range = _mm512_set1_epi16(int16_t((high - low + 1) << 7));
        const __m512i add = _mm512_set1_epi16(int16_t(power[s] * 128));
        for (int i = 0; i < STEP; i += 32) {
            const __m512i x = _mm512_load_si512(arranged + s * STEP + i), size = _mm512_and_si512(x, magnitude);
            const __mmask32 nonzero = _mm512_test_epi16_mask(size, size);
            bad |= _mm512_mask_cmpge_epu16_mask(nonzero, _mm512_sub_epi16(size, least), range);
            _mm512_store_si512(folded + s * STEP + i, _mm512_mask_add_epi16(x, nonzero, x, add));
        }
    }
    return !bad;
}

#endif

} // namespace xq
