// Sixteen floats at once, in operations with one result on every processor: IEEE additions, products and quotients, fused
// multiply-adds that are written as such, and sums in a stated order. Compile with -ffp-contract=off.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized" // of GCC 12's own header (its bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#endif

namespace xq {

constexpr int LANES = 16;

// f(0), f(1) to f(n - 1). On processors with vectors each of a constant: the compiler keeps what is indexed by it in registers, and
// what a loop counts through it stores at every turn.
#if defined(__AVX2__)
template <int n, typename F> [[gnu::always_inline]] inline void unrolled(F f) {
    const auto each = [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) { (f(std::integral_constant<int, i>{}), ...); };
    each(std::make_integer_sequence<int, n>{});
}
#else
template <int n, typename F> inline void unrolled(F f) {
    for (int i = 0; i < n; i++) f(i);
}
#endif

#if defined(__AVX2__)
inline int32_t total(__m256i eight) {
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 1)));
}
#endif

#if defined(__AVX512F__)

struct Floats {
    __m512 v;
};
inline Floats load(const float *p) { return {_mm512_loadu_ps(p)}; }
inline void store(float *p, Floats a) { _mm512_storeu_ps(p, a.v); }
inline Floats all(float x) { return {_mm512_set1_ps(x)}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Floats operator-(Floats a, Floats b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Floats operator/(Floats a, Floats b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Floats max(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; } // b where either is NaN
inline Floats min(Floats a, Floats b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Floats round(Floats a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// 2^n for whole n from -126 to 127.
inline Floats power_of_two(Floats n) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23))};
}
// The lanes from `from` up to, not including, `to`; `other` in the rest.
inline Floats keep(Floats a, int from, int to, float other) {
    const auto below = [](int n) { return n <= 0 ? 0u : n >= LANES ? 0xffffu : (1u << n) - 1; };
    return {_mm512_mask_mov_ps(_mm512_set1_ps(other), __mmask16(below(to) & ~below(from)), a.v)};
}
inline float largest(Floats a) { return _mm512_reduce_max_ps(a.v); }
// Lane i + lane i + 8, then + 4, then + 2, then + 1.
inline float total(Floats a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a.v), 1)));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

#elif defined(__AVX2__) && defined(__FMA__)

struct Floats {
    __m256 a, b;
};
inline Floats load(const float *p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float *p, Floats x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
inline Floats all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Floats fma(Floats x, Floats y, Floats z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
inline Floats operator+(Floats x, Floats y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Floats operator-(Floats x, Floats y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline Floats operator*(Floats x, Floats y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Floats operator/(Floats x, Floats y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline Floats max(Floats x, Floats y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline Floats min(Floats x, Floats y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline __m256 round_(__m256 x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Floats round(Floats x) { return {round_(x.a), round_(x.b)}; }
inline __m256 power_(__m256 n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
inline Floats power_of_two(Floats n) { return {power_(n.a), power_(n.b)}; }
inline __m256 keep_(__m256 x, int from, int to, float other) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i kept = _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(from), lane), _mm256_cmpgt_epi32(_mm256_set1_epi32(to), lane));
    return _mm256_blendv_ps(_mm256_set1_ps(other), x, _mm256_castsi256_ps(kept));
}
inline Floats keep(Floats x, int from, int to, float other) {
    return {keep_(x.a, from, to, other), keep_(x.b, from - 8, to - 8, other)};
}
inline float largest(Floats x) {
    const __m256 eight = _mm256_max_ps(x.a, x.b);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
inline float total(Floats x) {
    const __m256 eight = _mm256_add_ps(x.a, x.b);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

#else

struct Floats {
    float v[LANES];
};
template <typename F> inline Floats each(F f) {
    Floats found;
    for (int i = 0; i < LANES; i++) found.v[i] = f(i);
    return found;
}
inline Floats load(const float *p) {
    return each([p](int i) { return p[i]; });
}
inline void store(float *p, const Floats &a) { std::memcpy(p, a.v, sizeof a.v); }
inline Floats all(float x) {
    return each([x](int) { return x; });
}
inline Floats fma(const Floats &a, const Floats &b, const Floats &c) {
    return each([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
}
inline Floats operator+(const Floats &a, const Floats &b) {
    return each([&](int i) { return a.v[i] + b.v[i]; });
}
inline Floats operator-(const Floats &a, const Floats &b) {
    return each([&](int i) { return a.v[i] - b.v[i]; });
}
inline Floats operator*(const Floats &a, const Floats &b) {
    return each([&](int i) { return a.v[i] * b.v[i]; });
}
inline Floats operator/(const Floats &a, const Floats &b) {
    return each([&](int i) { return a.v[i] / b.v[i]; });
}
inline Floats max(const Floats &a, const Floats &b) {
    return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Floats min(const Floats &a, const Floats &b) {
    return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Floats round(const Floats &a) {
    return each([&](int i) { return std::nearbyintf(a.v[i]); });
}
inline Floats power_of_two(const Floats &n) {
    return each([&](int i) { return __builtin_bit_cast(float, uint32_t(int32_t(n.v[i]) + 127) << 23); });
}
inline Floats keep(const Floats &a, int from, int to, float other) {
    return each([&](int i) { return i >= from && i < to ? a.v[i] : other; });
}
inline float largest(const Floats &a) {
    float found = a.v[0];
    for (int i = 1; i < LANES; i++) found = std::max(found, a.v[i]);
    return found;
}
inline float total(Floats a) {
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) a.v[i] = a.v[i] + a.v[i + half];
    return a.v[0];
}

#endif

// Sixteen rows of sixteen numbers, `from_row` apart, as columns `to_row` apart.
#if defined(__AVX512F__)
inline void transpose16(const float *from, int64_t from_row, float *to, int64_t to_row) {
    __m512 a[16], b[16];
    for (int i = 0; i < 16; i++) a[i] = _mm512_loadu_ps(from + i * from_row);
    for (int i = 0; i < 16; i += 2) { // pairs of rows, then fours
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            const __m512d low = _mm512_castps_pd(b[i + j]), high = _mm512_castps_pd(b[i + j + 2]);
            a[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            a[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    for (int i = 0; i < 4; i++) { // a[4g + i] holds columns i, 4 + i, 8 + i, 12 + i of rows 4g to 4g + 3
        const __m512 low = _mm512_shuffle_f32x4(a[i], a[4 + i], 0x88), high = _mm512_shuffle_f32x4(a[8 + i], a[12 + i], 0x88);
        const __m512 low_odd = _mm512_shuffle_f32x4(a[i], a[4 + i], 0xdd), high_odd = _mm512_shuffle_f32x4(a[8 + i], a[12 + i], 0xdd);
        _mm512_storeu_ps(to + i * to_row, _mm512_shuffle_f32x4(low, high, 0x88));
        _mm512_storeu_ps(to + (8 + i) * to_row, _mm512_shuffle_f32x4(low, high, 0xdd));
        _mm512_storeu_ps(to + (4 + i) * to_row, _mm512_shuffle_f32x4(low_odd, high_odd, 0x88));
        _mm512_storeu_ps(to + (12 + i) * to_row, _mm512_shuffle_f32x4(low_odd, high_odd, 0xdd));
    }
}
#elif defined(__AVX2__)
// Eight rows of eight.
inline void transpose8(const float *from, int64_t from_row, float *to, int64_t to_row) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps(from + i * from_row);
    for (int i = 0; i < 8; i += 2) { // pairs of rows, then fours
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            a[i + 2 * j] = _mm256_shuffle_ps(b[i + j], b[i + j + 2], 0x44);
            a[i + 2 * j + 1] = _mm256_shuffle_ps(b[i + j], b[i + j + 2], 0xee);
        }
    for (int i = 0; i < 4; i++) { // a[i] and a[4 + i] hold columns i and 4 + i of rows 0 to 3 and 4 to 7
        _mm256_storeu_ps(to + i * to_row, _mm256_permute2f128_ps(a[i], a[4 + i], 0x20));
        _mm256_storeu_ps(to + (4 + i) * to_row, _mm256_permute2f128_ps(a[i], a[4 + i], 0x31));
    }
}
inline void transpose16(const float *from, int64_t from_row, float *to, int64_t to_row) {
    for (int r = 0; r < 16; r += 8)
        for (int c = 0; c < 16; c += 8) transpose8(from + r * from_row + c, from_row, to + c * to_row + r, to_row);
}
#else
inline void transpose16(const float *from, int64_t from_row, float *to, int64_t to_row) {
    for (int r = 0; r < 16; r++)
        for (int c = 0; c < 16; c++) to[c * to_row + r] = from[r * from_row + c];
}
#endif

// e^x for x in [-87, 88], clamped to that; NaN stays. Within 1 unit in the last place; the same bits everywhere.
// x = n ln 2 + r, the series to r^7 / 7!; ln 2 in two parts (Cody and Waite).
inline Floats exp(Floats x) {
    x = min(all(88.0f), max(all(-87.0f), x));
    const Floats n = round(x * all(1.44269504f));
    const Floats r = fma(n, all(2.12194440e-4f), fma(n, all(-0.693359375f), x));
    Floats p = all(1.0f / 5040.0f);
    for (float c : {1.0f / 720.0f, 1.0f / 120.0f, 1.0f / 24.0f, 1.0f / 6.0f, 0.5f, 1.0f, 1.0f}) p = fma(p, r, all(c));
    return p * power_of_two(n);
}

} // namespace xq
