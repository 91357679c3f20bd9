// e4m3 codes as floats by shifts alone, for processors with AVX2 that multiply subnormal floats as fast as others.
#pragma once
#include "e4m3_halves.h"

#if defined(XQ_E4M3_HALVES)
#define XQ_E4M3_SHIFTS

namespace xq {

// A code's sign, exponent and mantissa are those of a float whose exponent counts from 120 below: codes less than 2^-6 become
// subnormal floats.
constexpr float SHIFTS = 0x1p120f;

// AMD's processors multiply those without delay, Intel's stop for each; any may be told to take them for zero.
inline bool multiplies_subnormals() {
    constexpr unsigned zeros = 1 << 6;
    return __builtin_cpu_is("amd") && !(_mm_getcsr() & zeros);
}

// Of 32 codes, the second of each pair and the first, as words that begin as such floats do.
struct Words {
    __m256i odd, even;
    static Words of(const uint8_t *codes) {
        const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(codes));
        return {_mm256_srai_epi16(pairs, 4), _mm256_srai_epi16(_mm256_slli_epi16(pairs, 8), 4)};
    }
    // The values of codes i, i + 4 to i + 28, / SHIFTS.
    __m256 every_fourth(int i) const {
        const __m256i words = i % 2 ? odd : even;
        const __m256i high = i < 2 ? _mm256_slli_epi32(words, 16) : words;
        return _mm256_castsi256_ps(_mm256_and_si256(high, _mm256_set1_epi32(int(0x87f00000))));
    }
};

} // namespace xq

#endif
