// e4m3 codes as floats on processors that convert half precision but have no AVX-512: sixteen at a time, exactly.
#pragma once
#include "vector.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__) && !defined(__AVX512F__)
#define XQ_E4M3_HALVES

namespace xq {

// A code's sign, exponent and mantissa are those of a half whose exponent counts from 8 below: subnormals come out right, also
// where the processor is told to drop those of floats. NaN comes out as 1.875.
constexpr float HALVES = 256;

// The values of sixteen codes / HALVES.
inline Floats e4m3_by_halves(const uint8_t *codes) {
    const __m256i words = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(codes)));
    const __m256i halves = _mm256_and_si256(_mm256_slli_epi16(words, 7), _mm256_set1_epi16(int16_t(0xbf80)));
    return {_mm256_cvtph_ps(_mm256_castsi256_si128(halves)), _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
}

// Whether one of the codes seen is NaN: 127, the largest signed byte, or 255, the largest unsigned one.
class SeenNaN {
    __m256i positive = _mm256_setzero_si256(), negative = positive;

  public:
    void see(const uint8_t *codes, int64_t count) { // a multiple of 32
        for (int64_t i = 0; i < count; i += 32) {
            const __m256i some = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(codes + i));
            positive = _mm256_max_epi8(positive, some);
            negative = _mm256_max_epu8(negative, some);
        }
    }
    bool any() const {
        const __m256i found = _mm256_or_si256(_mm256_cmpeq_epi8(positive, _mm256_set1_epi8(127)),
                                              _mm256_cmpeq_epi8(negative, _mm256_set1_epi8(-1)));
        return _mm256_movemask_epi8(found) != 0;
    }
};

} // namespace xq

#endif
