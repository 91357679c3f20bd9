// How a step of 64 weights is decoded and multiplied by 64 activations. A kind of step says in which order it wants the
// activations: within a step, lanes 0 to 7 of a vector belong to the first 32 columns and lanes 8 to 15 to the others, so
// that scales of blocks of 32 columns are one vector.
#pragma once
#include "e4m3_shifts.h"
#include "linear_common.h"

namespace xq {

// fp32 of an e4m3fn code; unlike codec::E4M3FN it multiplies no subnormal, so that it is right where the processor is told to
// drop them.
constexpr float e4m3(uint32_t code) {
    const uint32_t a = code & 127;
    const uint32_t found = a < 8 ? codec::bits(float(int32_t(a)) * 0x1p-9f) : a == 127 ? codec::NOT_A_NUMBER : (a << 20) + (120u << 23);
    return codec::number(found | (code & 128) << 24);
}

// to[i] = the value of codes[i], times `factor`, rounded once.
inline void e4m3_values(const uint8_t *codes, int64_t count, float factor, float *to) {
    int64_t i = 0;
#if defined(XQ_E4M3_HALVES)
    for (SeenNaN seen; i + 32 <= count; i += 32) {
        seen.see(codes + i, 32);
        if (seen.any()) break;
        for (int64_t j = i; j < i + 32; j += LANES) store(to + j, e4m3_by_halves(codes + j) * all(HALVES) * all(factor));
    }
#endif
    for (; i < count; i++) to[i] = e4m3(codes[i]) * factor;
}

// A step's columns, of which the last step of a row may have fewer than 64: the others are zero.
template <typename T> struct Padded {
    T at[STEP] = {};
    Padded(const T *from, int64_t count) { std::memcpy(at, from, size_t(count) * sizeof(T)); }
};

// How many rows and tokens a kind of step takes at once at most, how many sums at most, and below how many it adds to two in turn,
// so that none waits for the other: as registers allow.
template <int rows, int tokens, int sums, int chained> struct Tile {
    static constexpr int ROWS = rows, TOKENS = tokens, SUMS = sums, CHAINED = chained;
};

// What a kind of step keeps of the weights of a row: nothing.
struct Unseen {
    static constexpr bool any() { return false; }
};

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)
#define XQ_BF16_STEPS

// Tables of the high and low bytes of the bf16 of every positive code times a power of two: subnormals need nothing special.
struct E4m3Tables {
    alignas(64) uint8_t low[128], high[128];
    explicit constexpr E4m3Tables(float scale = 1) : low(), high() {
        for (uint32_t code = 0; code < 128; code++) {
            const float value = code < 127 ? e4m3(code) * scale : e4m3(code); // arithmetic on NaN is no constant
            const uint32_t bf16 = codec::bits(value) >> 16;
            low[code] = uint8_t(bf16);
            high[code] = uint8_t(bf16 >> 8);
        }
    }
};
inline constexpr E4m3Tables E4M3_TABLES;

// Of every 16 weights the first eight are in `a`, the others in `b`, as bf16.
struct Bf16Pair {
    __m512i a, b;
};

class E4m3Decoder {
    __m512i low0, low1, high0, high1, sign;

  public:
    explicit E4m3Decoder(const E4m3Tables &tables = E4M3_TABLES)
        : low0(_mm512_load_si512(tables.low)), low1(_mm512_load_si512(tables.low + 64)), high0(_mm512_load_si512(tables.high)),
          high1(_mm512_load_si512(tables.high + 64)), sign(_mm512_set1_epi8(char(0x80))) {}
    Bf16Pair operator()(__m512i codes) const {
        const __m512i low = _mm512_permutex2var_epi8(low0, codes, low1);
        const __m512i high = _mm512_permutex2var_epi8(high0, codes, high1);
        const __m512i with_sign = _mm512_ternarylogic_epi32(high, codes, sign, 0xf8); // high | (codes & sign)
        return {_mm512_unpacklo_epi8(low, with_sign), _mm512_unpackhi_epi8(low, with_sign)};
    }
};

inline __m512 multiply_add(__m512i weights, __m512i x, __m512 sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)weights, (__m512bh)x);
}

// bf16 activations times e4m3 weights, whose products are exact in fp32.
struct E4m3ByBf16 : Tile<4, 8, 16, 8> {
    using Input = uint16_t;
    using Weights = Bf16Pair;
    using Seen = Unseen;
    using Total = float;
    static constexpr int PARTS = 2, WIDTH = 64;
    static Floats zero() { return all(0.0f); }
    E4m3Decoder decode{};

    Weights weights(const uint8_t *at, Seen &) const { return decode(_mm512_loadu_si512(at)); }
    static __m512i input(int i, const Input *x) { return _mm512_load_si512(x + 32 * i); }
    Floats part(int i, const Weights &w, __m512i x, Floats sum) const { return {multiply_add(i ? w.b : w.a, x, sum.v)}; }
    static void arrange(const uint16_t *from, uint16_t *to) {
        const __m512i first = _mm512_loadu_si512(from), second = _mm512_loadu_si512(from + 32);
        _mm512_store_si512(to, _mm512_shuffle_i64x2(first, second, 0x88));
        _mm512_store_si512(to + 32, _mm512_shuffle_i64x2(first, second, 0xdd));
    }
};

// fp32 activations times e4m3 weights.
struct E4m3ByF32 : Tile<4, 8, 16, 8> {
    using Input = float;
    using Weights = Bf16Pair;
    using Seen = Unseen;
    using Total = float;
    static constexpr int PARTS = 4, WIDTH = 64;
    static Floats zero() { return all(0.0f); }
    E4m3Decoder decode{};

    Weights weights(const uint8_t *at, Seen &) const { return decode(_mm512_loadu_si512(at)); }
    static Floats input(int i, const Input *x) { return load(x + 16 * i); }
    Floats part(int i, const Weights &w, Floats x, Floats sum) const {
        const __m512i pairs = i < 2 ? w.a : w.b;
        const __m512i wide = i % 2 ? _mm512_and_si512(pairs, _mm512_set1_epi32(int(0xffff0000))) : _mm512_slli_epi32(pairs, 16);
        return fma({_mm512_castsi512_ps(wide)}, x, sum);
    }
    static void arrange(const float *from, float *to) {
        for (int i = 0; i < 4; i++)
            for (int lane = 0; lane < 16; lane++) to[16 * i + lane] = from[lane / 4 * 16 + lane % 4 * 2 + i / 2 * 8 + i % 2];
    }
};

#else

struct Four {
    Floats at[4];
};

// fp32 activations times e4m3 weights: sixteen lanes are eight columns of the first 32, and the same of the others.
#if defined(XQ_E4M3_HALVES)

struct E4m3ByF32 : Tile<1, 4, 4, 4> {
    using Input = float;
    using Weights = Four;
    using Seen = SeenNaN;
    static constexpr float BEFORE = HALVES; // what activations are multiplied with

    Weights weights(const uint8_t *at, Seen &seen) const {
        seen.see(at, STEP);
        Weights found;
        for (int i = 0; i < 4; i += 2) {
            const Floats first = e4m3_by_halves(at + 8 * i), second = e4m3_by_halves(at + 32 + 8 * i);
            found.at[i] = {first.a, second.a};
            found.at[i + 1] = {first.b, second.b};
        }
        return found;
    }
#else

struct E4m3ByF32 : Tile<4, 8, 16, 8> {
    using Input = float;
    using Weights = Four;
    using Seen = Unseen;
    static constexpr float BEFORE = 1;

    Weights weights(const uint8_t *at, Seen &) const {
        Weights found;
        for (int i = 0; i < 4; i++) {
            float lanes[LANES];
            for (int lane = 0; lane < LANES; lane++) lanes[lane] = e4m3(at[lane / 8 * 32 + 8 * i + lane % 8]);
            found.at[i] = load(lanes);
        }
        return found;
    }
#endif
    using Total = float;
    static constexpr int PARTS = 4, WIDTH = 64;
    static Floats zero() { return all(0.0f); }
    static Floats input(int i, const Input *x) { return load(x + 16 * i); }
    Floats part(int i, const Weights &w, const Floats &x, const Floats &sum) const { return fma(w.at[i], x, sum); }
    static void arrange(const float *from, float *to) {
        for (int column = 0; column < STEP; column++) to[column % 32 / 8 * 16 + column / 32 * 8 + column % 8] = from[column] * BEFORE;
    }
};

#if defined(XQ_E4M3_SHIFTS)

// The same for activations that are zero or of a middle size, where subnormals are quick. A vector has every fourth column.
struct E4m3ByShifts : Tile<2, 4, 4, 4> {
    using Input = float;
    struct Weights {
        Words first, second; // columns
    };
    using Seen = SeenNaN;
    using Total = float;
    static constexpr int PARTS = 4, WIDTH = 64;
    static constexpr float BEFORE = 0x1p64f, AFTER = SHIFTS / BEFORE; // what activations and sums are multiplied with
    static Floats zero() { return all(0.0f); }
    Weights weights(const uint8_t *at, Seen &seen) const {
        seen.see(at, STEP);
        return {Words::of(at), Words::of(at + 32)};
    }
    static Floats input(int i, const Input *x) { return load(x + 16 * i); }
    Floats part(int i, const Weights &w, const Floats &x, const Floats &sum) const {
        return fma({w.first.every_fourth(i), w.second.every_fourth(i)}, x, sum);
    }
    static void arrange(const float *from, float *to) {
        for (int column = 0; column < STEP; column++) to[column % 4 * 16 + column / 4] = from[column] * BEFORE;
    }
};

#endif

#endif

} // namespace xq
