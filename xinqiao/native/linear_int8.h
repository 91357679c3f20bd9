// Rows of an int8 matrix times a few tokens of int8; every sum is exact.
#pragma once
#include "linear_dot.h"

namespace xq {

constexpr int64_t EXACT = 65536; // columns whose products with one token fit in 32 bits: 65,536 * 255 * 127 < 2^31

#if defined(__AVX512VNNI__)

struct Ints {
    __m512i v;
};
inline Ints operator+(Ints a, Ints b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline int32_t total(Ints a) { return _mm512_reduce_add_epi32(a.v); }

// The instruction multiplies unsigned by signed: 128 is added to every weight, and `OFFSET` times a token's sum is too much.
struct Int8Step : Tile<4, 8, 16, 8> {
    using Input = int8_t;
    using Seen = Unseen;
    using Weights = __m512i;
    using Total = int32_t;
    static constexpr int PARTS = 1, WIDTH = 64, OFFSET = 128;
    static Ints zero() { return {_mm512_setzero_si512()}; }
    Weights weights(const uint8_t *at, Seen &) const { return _mm512_xor_si512(_mm512_loadu_si512(at), _mm512_set1_epi8(char(0x80))); }
    static __m512i input(int, const Input *x) { return _mm512_load_si512(x); }
    Ints part(int, const Weights &w, __m512i x, Ints sum) const { return {_mm512_dpbusd_epi32(sum.v, w, x)}; }
};

#elif defined(__AVX2__)

struct Ints {
    __m256i v;
};
inline Ints operator+(Ints a, Ints b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline int32_t total(Ints a) { return total(a.v); }

// The instruction multiplies unsigned by signed: activations, from -127 to 127, take the signs of the weights. Two products
// fit in 16 bits: 2 * 128 * 127 < 2^15.
struct Int8Step : Tile<2, 4, 8, 8> {
    using Input = int8_t;
    using Seen = Unseen;
    struct Weights {
        __m256i at[2];
    };
    using Total = int32_t;
    static constexpr int PARTS = 2, WIDTH = 64, OFFSET = 0;
    static Ints zero() { return {_mm256_setzero_si256()}; }
    static __m256i some(const void *at) { return _mm256_loadu_si256(static_cast<const __m256i *>(at)); }
    Weights weights(const uint8_t *at, Seen &) const { return {{some(at), some(at + 32)}}; }
    static __m256i input(int i, const Input *x) { return some(x + 32 * i); }
    Ints part(int i, const Weights &w, __m256i x, Ints sum) const {
        const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w.at[i]), _mm256_sign_epi8(x, w.at[i]));
        return {_mm256_add_epi32(sum.v, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))};
    }
};

#else

struct Ints {
    int32_t v[LANES];
};
inline Ints operator+(Ints a, const Ints &b) {
    for (int i = 0; i < LANES; i++) a.v[i] += b.v[i];
    return a;
}
inline int32_t total(const Ints &a) {
    int32_t found = 0;
    for (int i = 0; i < LANES; i++) found += a.v[i];
    return found;
}

struct Int8Step : Tile<4, 8, 16, 8> {
    using Input = int8_t;
    using Seen = Unseen;
    struct Weights {
        int16_t at[STEP];
    };
    using Total = int32_t;
    static constexpr int PARTS = 1, WIDTH = 64, OFFSET = 0;
    static Ints zero() { return {}; }
    Weights weights(const uint8_t *at, Seen &) const {
        Weights found;
        for (int i = 0; i < STEP; i++) found.at[i] = int8_t(at[i]);
        return found;
    }
    static const Input *input(int, const Input *x) { return x; }
    Ints part(int, const Weights &w, const Input *x, Ints sum) const {
        for (int i = 0; i < STEP; i += LANES)
            for (int lane = 0; lane < LANES; lane++) sum.v[lane] += int32_t(w.at[i + lane]) * int32_t(int16_t(x[i + lane]));
        return sum;
    }
};

#endif

// A token as int8 codes times its step: largest magnitude / 127, or 1 where that is 0; ties to even. The step is NaN where a
// number is infinite or NaN.
inline float quantize_int8(const void *x, Number number, int64_t count, int8_t *codes) {
    constexpr int64_t SOME = 1024;
    float part[SOME], largest = 0;
    bool finite = true;
    const auto each = [&](auto what) {
        for (int64_t first = 0; first < count; first += SOME) {
            const int64_t some = std::min(SOME, count - first);
            if (number == Number::f32)
                std::memcpy(part, static_cast<const float *>(x) + first, size_t(some) * 4);
            else
                for (int64_t i = 0; i < some; i++) part[i] = codec::BF16::value(static_cast<const uint16_t *>(x)[first + i]);
            what(first, some);
        }
    };
    each([&](int64_t, int64_t some) {
        uint32_t top = 0;
        for (int64_t i = 0; i < some; i++) top = std::max(top, codec::bits(part[i]) & codec::MAGNITUDE);
        finite &= top < codec::INFINITE;
        largest = std::max(largest, codec::number(std::min(top, codec::INFINITE)));
    });
    if (!finite) {
        std::memset(codes, 0, size_t(count));
        return codec::number(codec::NOT_A_NUMBER);
    }
    const float quotient = largest / 127.0f, step = quotient == 0 ? 1.0f : quotient;
    each([&](int64_t first, int64_t some) {
        for (int64_t i = 0; i < some; i++) codes[first + i] = int8_t(codec::Int8::code(part[i] / step));
    });
    return step;
}

// The product of one matrix [n, k] and some tokens, by one thread; no two at a time in a thread.
class Int8Product {
    const uint8_t *const codes;
    const int64_t k, width, count;
    struct Rooms {
        Room codes, sums, steps;
    };
    static Rooms &rooms() {
        static thread_local Rooms kept;
        return kept;
    }
    int8_t *x;
    float *steps;

  public:
    Int8Product(const uint8_t *weights, int64_t columns, const Tokens &tokens)
        : codes(weights), k(columns), width(steps_of(columns) * STEP), count(tokens.count) {
        const int64_t all = (count + TOGETHER) * width;
        x = rooms().codes.need<int8_t>(all);
        steps = rooms().steps.need<float>(count);
        std::memset(x, 0, size_t(all));
        for (int64_t t = 0; t < count; t++) steps[t] = quantize_int8(tokens.row(t), tokens.number, k, x + t * width);
    }

    float step(int64_t token) const { return steps[token]; }

    // out[token * out_stride + row - begin]: exact sums, rounded once to fp32; unscaled.
    void rows(int64_t begin, int64_t end, float *out, int64_t out_stride) {
        const int64_t height = end - begin;
        int32_t *sums = rooms().sums.need<int32_t>(TOGETHER * height * 3);
        int64_t *totals = reinterpret_cast<int64_t *>(sums + TOGETHER * height);
        for (int64_t t = 0; t < count; t += TOGETHER) {
            const int64_t few = std::min(TOGETHER, count - t);
            std::fill(totals, totals + few * height, 0);
            for (int64_t first = 0; first < k; first += EXACT) {
                part(begin, end, t, first, sums);
                for (int64_t i = 0; i < few * height; i++) totals[i] += sums[i];
            }
            for (int64_t i = 0; i < few; i++)
                for (int64_t r = 0; r < height; r++) out[(t + i) * out_stride + r] = float(totals[i * height + r]);
        }
    }

  private:
    // sums[token - t][row - begin] over at most EXACT columns from `first` on.
    void part(int64_t begin, int64_t end, int64_t t, int64_t first, int32_t *sums) const {
        const int64_t few = std::min(TOGETHER, count - t), columns = std::min(EXACT, k - first);
        dots<false>(Int8Step(), end - begin, {codes + begin * k + first, k, columns}, few, {x + t * width + first, width}, {}, {sums, end - begin});
        for (int64_t i = 0; Int8Step::OFFSET && i < few; i++) {
            int32_t whole = 0;
            for (int64_t column = 0; column < columns; column++) whole += x[(t + i) * width + first + column];
            for (int64_t r = 0; r < end - begin; r++) sums[i * (end - begin) + r] -= Int8Step::OFFSET * whole;
        }
    }
};

} // namespace xq
