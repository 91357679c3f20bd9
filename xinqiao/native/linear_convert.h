// Parts of a block-scaled e4m3 matrix as numbers, and activations rounded to e4m3.
#pragma once
#include "linear_scales.h"

namespace xq {

// Rows and columns of a matrix; columns begin at a multiple of 64.
struct Part {
    int64_t row, rows, column, columns;
};

inline void step_f32(const uint8_t *codes, const float *two, float *to) {
    for (int half = 0; half < 2; half++) e4m3_values(codes + 32 * half, 32, two[half], to + 32 * half);
}
inline void step_bf16(const uint8_t *codes, const float *two, uint16_t *to) {
#ifdef XQ_BF16_STEPS
    const E4m3Decoder decode;
    const Bf16Pair found = decode(_mm512_loadu_si512(codes));
    const __m512i magnitude = _mm512_set1_epi16(0x7fff);
    const auto scaled = [&](__m512i x, int half) {
        const int16_t power = int16_t((int32_t(codec::bits(two[half]) >> 23) - 127) * 128);
        return _mm512_mask_add_epi16(x, _mm512_test_epi16_mask(x, magnitude), x, _mm512_set1_epi16(power));
    };
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    _mm512_storeu_si512(to, scaled(_mm512_permutex2var_epi64(found.a, low, found.b), 0));
    _mm512_storeu_si512(to + 32, scaled(_mm512_permutex2var_epi64(found.a, high, found.b), 1));
#else
    float wide[STEP];
    step_f32(codes, two, wide);
    for (int i = 0; i < STEP; i++) to[i] = uint16_t(codec::BF16::code(wide[i]));
#endif
}

// The part's values, rows without gaps. bf16 only where `plain` says that it is exact.
template <typename T> void dequantize(const Fp8Weights &w, Part part, T *out, int32_t threads) {
    parallel(threads, [&](int thread, int of) {
        static thread_local Room room;
        const Share share(part.rows, 1, thread, of);
        float *scales = room.need<float>(2 * steps_of(w.k));
        const auto step = [&](const uint8_t *codes, int64_t column, T *to) {
            if constexpr (sizeof(T) == 4)
                step_f32(codes, scales + column / 32, to);
            else
                step_bf16(codes, scales + column / 32, to);
        };
        for (int64_t i = share.begin; i < share.end; i++) {
            const int64_t row = part.row + i;
            if (i == share.begin || row % w.block_rows == 0) w.scales_of(row, scales);
            const uint8_t *codes = w.codes + row * w.k + part.column;
            T *to = out + i * part.columns;
            int64_t column = 0;
            for (; column + STEP <= part.columns; column += STEP) step(codes + column, part.column + column, to + column);
            if (const int64_t left = part.columns - column) {
                T last[STEP];
                step(Padded<uint8_t>(codes + column, left).at, part.column + column, last);
                std::memcpy(to + column, last, size_t(left) * sizeof(T));
            }
        }
    });
}

// Whether every value is exact in bf16, normal and far from overflow: all scales are powers of two of a common size.
inline bool plain(const Fp8Weights &w) {
    const int64_t count = (w.n + w.block_rows - 1) / w.block_rows * w.across();
    bool found = true;
    for (int64_t i = 0; i < count; i++) {
        if (w.scale_bytes == 1) {
            found &= uint8_t(static_cast<const uint8_t *>(w.scales)[i] - 27) < 201; // 2^-100 to 2^100
        } else {
            const uint32_t bits = codec::bits(static_cast<const float *>(w.scales)[i]);
            found &= !(bits & 0x7fffff) && (bits >> 23) - 27 < 201;
        }
    }
    return found;
}

// Activations rounded to e4m3 with a power of two for every `block` of a row, as bf16, in which they are exact. The power is
// the smallest under which the largest magnitude, at least 1e-4, fits; NaN and infinity count as the largest finite number.
inline void round_activations(const Tokens &x, int64_t k, int64_t block, uint16_t *out) {
    for (int64_t t = 0; t < x.count; t++)
        for (int64_t first = 0; first < k; first += block) {
            float wide[128];
            const int64_t count = std::min(block, k - first);
            uint32_t top = 0;
            for (int64_t i = 0; i < count; i++) {
                wide[i] = read(x.row(t), x.number, first + i);
                top = std::max(top, codec::bits(wide[i]) & codec::MAGNITUDE);
            }
            const float largest = std::max(codec::number(std::min(top, codec::INFINITE - 1)), 1e-4f);
            const uint32_t bits = codec::bits(largest / codec::E4M3FN::largest);
            const uint32_t power = (bits >> 23) + ((bits & 0x7fffff) != 0);
            const float back = codec::E8M0::value(power), forth = codec::E8M0::value(254 - power);
            for (int64_t i = 0; i < count; i++)
                out[t * k + first + i] = uint16_t(codec::BF16::code(e4m3(codec::E4M3FN::code(wide[i] * forth)) * back));
        }
}

} // namespace xq
