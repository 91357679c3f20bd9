// Activations as the kernels of FP8 weights want them: in the order of the steps, and multiplied by the scales of a row of
// blocks, so that no scale is left for the inner loop.
#pragma once
#include "linear_steps.h"

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

// folded = arranged times the scale of each step, which is that of both of its blocks. False where a product left the range
// of normal numbers.
inline bool fold_f32(const float *arranged, const float *step_scales, int64_t steps, float *folded) {
    uint32_t bad = 0;
    for (int64_t s = 0; s < steps; s++)
        for (int64_t i = s * STEP; i < (s + 1) * STEP; i++) {
            folded[i] = arranged[i] * step_scales[2 * s];
            bad |= uint32_t(arranged[i] != 0) & uint32_t((codec::bits(folded[i]) >> 23 & 255) - 1 >= 254);
        }
    return !bad;
}

#ifdef XQ_E4M3_SHIFTS

// What activations and scales are for `E4m3ByShifts`, before its sums are multiplied with AFTER. `exact`: products are as if
// there were no smallest number. `near`: some may be subnormal, and lose less than 2^-149. `none`: one may overflow.
enum class Fit : uint8_t { exact, near, none };
constexpr float LEAST_FOLDED = 0x1p4f, LEAST_UNFOLDED = 0x1p34f, MOST = 0x1p126f; // of arranged activations
constexpr float LEAST_SCALE = 0x1p-30f, MOST_SCALE = 2;                           // where they are not folded in

// Below this sum of k products, what `near` loses is more than a rounding.
inline float least_sum(int64_t k) { return float(k) * 0x1p-123f; }

class Fitting {
    uint32_t small = 0, large = 0;

  public:
    // x: a number, `found` what became of it. In whole numbers, so that loops over it become vectors.
    void see(float x, float found, float least) {
        const uint32_t size = codec::bits(found) & codec::MAGNITUDE;
        small |= uint32_t(x != 0) & uint32_t(size < codec::bits(least));
        large |= uint32_t(size >= codec::bits(MOST));
    }
    Fit fit() const { return large ? Fit::none : small ? Fit::near : Fit::exact; }
};

inline void arrange_shifts(const Tokens &x, int64_t columns, float *arranged, Fit *fits) {
    const int64_t width = steps_of(columns) * STEP;
    for (int64_t t = 0; t < x.count; t++) {
        Fitting fitting;
        for (int64_t first = 0; first < width; first += STEP) {
            float wide[STEP] = {};
            const int64_t count = std::min(STEP, columns - first);
            for (int64_t i = 0; i < count; i++) wide[i] = read(x.row(t), x.number, first + i);
            float *to = arranged + t * width + first;
            E4m3ByShifts::arrange(wide, to);
            for (int i = 0; i < STEP; i++) fitting.see(to[i], to[i], LEAST_UNFOLDED);
        }
        fits[t] = fitting.fit();
    }
}

inline Fit fold_shifts(const float *arranged, const float *step_scales, int64_t steps, float *folded) {
    Fitting fitting;
    for (int64_t s = 0; s < steps; s++)
        for (int64_t i = s * STEP; i < (s + 1) * STEP; i++) {
            folded[i] = arranged[i] * step_scales[2 * s];
            fitting.see(arranged[i], folded[i], LEAST_FOLDED);
        }
    return fitting.fit();
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
