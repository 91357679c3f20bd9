// Sums of products by vectors of sixteen 32-bit words: one float, two bfloat16 or two int16 in each.
#pragma once
#include "vector.h"

namespace xq::moe {

struct Fp32 {
    using Element = float;
    using Sum = Floats;
    using Operand = Floats;
    static Operand load(const void *p) { return xq::load(static_cast<const float *>(p)); }
    static Operand repeat(const float *word) { return xq::all(*word); }
    static Sum zero() { return xq::all(0.0f); }
    static Sum step(Sum sum, Operand a, Operand b) { return fma(a, b, sum); }
    static void put(float *to, Sum sum) { store(to, sum); }
};

#if defined(__AVX512BF16__)

struct Bf16 {
    using Element = uint16_t;
    using Sum = __m512;
    using Operand = __m512bh;
    static Operand load(const void *p) { return Operand(_mm512_loadu_si512(p)); }
    static Operand repeat(const uint16_t *word) {
        int32_t both;
        std::memcpy(&both, word, 4);
        return Operand(_mm512_set1_epi32(both));
    }
    static Sum zero() { return _mm512_setzero_ps(); }
    static Sum step(Sum sum, Operand a, Operand b) { return _mm512_dpbf16_ps(sum, a, b); }
    static void put(float *to, Sum sum) { _mm512_storeu_ps(to, sum); }
};

#endif

// The sum is exact while it fits 32 bits.
struct Int16 {
    using Element = int16_t;
#if defined(__AVX512BW__)
    using Sum = __m512i;
    using Operand = __m512i;
    static Operand load(const void *p) { return _mm512_loadu_si512(p); }
    static Operand repeat(const int16_t *word) {
        int32_t both;
        std::memcpy(&both, word, 4);
        return _mm512_set1_epi32(both);
    }
    static Sum zero() { return _mm512_setzero_si512(); }
#if defined(__AVX512VNNI__)
    static Sum step(Sum sum, Operand a, Operand b) { return _mm512_dpwssd_epi32(sum, a, b); }
#else
    static Sum step(Sum sum, Operand a, Operand b) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
#endif
    static void put(float *to, Sum sum) { _mm512_storeu_ps(to, _mm512_cvtepi32_ps(sum)); }
#elif defined(__AVX2__)
    struct Sum {
        __m256i a, b;
    };
    using Operand = Sum;
    static Operand load(const void *p) {
        const auto *two = static_cast<const __m256i *>(p);
        return {_mm256_loadu_si256(two), _mm256_loadu_si256(two + 1)};
    }
    static Operand repeat(const int16_t *word) {
        int32_t both;
        std::memcpy(&both, word, 4);
        return {_mm256_set1_epi32(both), _mm256_set1_epi32(both)};
    }
    static Sum zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
    static Sum step(Sum sum, Operand x, Operand y) {
        return {_mm256_add_epi32(sum.a, _mm256_madd_epi16(x.a, y.a)), _mm256_add_epi32(sum.b, _mm256_madd_epi16(x.b, y.b))};
    }
    static void put(float *to, Sum sum) {
        _mm256_storeu_ps(to, _mm256_cvtepi32_ps(sum.a));
        _mm256_storeu_ps(to + 8, _mm256_cvtepi32_ps(sum.b));
    }
    static float total(Sum sum) {
        return float(xq::total(_mm256_add_epi32(sum.a, sum.b)));
    }
#else
    struct Sum {
        int32_t v[LANES];
    };
    struct Operand {
        int16_t v[2 * LANES];
    };
    static Operand load(const void *p) {
        Operand found;
        std::memcpy(found.v, p, sizeof found.v);
        return found;
    }
    static Operand repeat(const int16_t *word) {
        Operand found;
        for (int i = 0; i < 2 * LANES; i++) found.v[i] = word[i % 2];
        return found;
    }
    static Sum zero() { return {}; }
    static Sum step(Sum sum, const Operand &a, const Operand &b) {
        for (int i = 0; i < LANES; i++) sum.v[i] += int32_t(a.v[2 * i]) * b.v[2 * i] + int32_t(a.v[2 * i + 1]) * b.v[2 * i + 1];
        return sum;
    }
    static void put(float *to, const Sum &sum) {
        for (int i = 0; i < LANES; i++) to[i] = float(sum.v[i]);
    }
    static float total(const Sum &sum) {
        int32_t found = 0;
        for (int i = 0; i < LANES; i++) found += sum.v[i];
        return float(found);
    }
#endif
};

// The totals of sixteen sums, in their order. Of floats, each adds its lanes 0 + 2, 1 + 3, 4 + 6, ..., then pairs of those.
#if defined(__AVX512F__)
template <typename V, typename Add, typename Sum> inline V totals_(const Sum *sums, Add add) {
    const auto f = [](V a) { return (__m512)a; };
    const auto d = [](V a) { return (__m512d)a; };
    V two[8], four[4];
    for (int i = 0; i < 8; i++) {
        const V a = (V)sums[2 * i], b = (V)sums[2 * i + 1];
        two[i] = add((V)_mm512_unpacklo_ps(f(a), f(b)), (V)_mm512_unpackhi_ps(f(a), f(b)));
    }
    for (int i = 0; i < 4; i++) {
        const V a = two[2 * i], b = two[2 * i + 1];
        four[i] = add((V)_mm512_unpacklo_pd(d(a), d(b)), (V)_mm512_unpackhi_pd(d(a), d(b)));
    }
    const auto quarters = [&](V a, V b) {
        return add((V)_mm512_shuffle_f32x4(f(a), f(b), 0x88), (V)_mm512_shuffle_f32x4(f(a), f(b), 0xdd));
    };
    return quarters(quarters(four[0], four[1]), quarters(four[2], four[3]));
}
inline void totals(const Floats *sums, float *to) {
    __m512 plain[16];
    for (int i = 0; i < 16; i++) plain[i] = sums[i].v;
    _mm512_storeu_ps(to, totals_<__m512>(plain, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); }));
}
inline void totals(const __m512 *sums, float *to) {
    _mm512_storeu_ps(to, totals_<__m512>(sums, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); }));
}
inline void totals(const __m512i *sums, float *to) {
    const __m512i found = totals_<__m512i>(sums, [](__m512i a, __m512i b) { return _mm512_add_epi32(a, b); });
    _mm512_storeu_ps(to, _mm512_cvtepi32_ps(found));
}
#else
inline void totals(const Floats *sums, float *to) {
    for (int i = 0; i < LANES; i++) to[i] = total(sums[i]);
}
inline void totals(const Int16::Sum *sums, float *to) {
    for (int i = 0; i < LANES; i++) to[i] = Int16::total(sums[i]);
}
#endif

} // namespace xq::moe
