// Number formats: one code to fp32 and back, in operations that compilers vectorise on every processor with the same bits
// on all of them: no fused multiply-add, no sum whose order is left to the compiler.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace codec {

constexpr int32_t SIGN = INT32_MIN, MAGNITUDE = INT32_MAX, INFINITE = 0x7f800000, NOT_A_NUMBER = 0x7fc00000;

// What follows is written once for one number and for a vector of them.
template <int size> struct Vectors {
    typedef float Floats __attribute__((vector_size(size)));
    typedef int32_t Ints __attribute__((vector_size(size)));
};
template <typename T> struct Of { // T: float or int32_t
    using Float = float;
    using Int = int32_t;
};
template <typename T>
    requires(sizeof(T) > 4)
struct Of<T> {
    using Float = typename Vectors<sizeof(T)>::Floats;
    using Int = typename Vectors<sizeof(T)>::Ints;
};
template <typename T> using Float = typename Of<T>::Float;
template <typename T> using Int = typename Of<T>::Int;
template <typename T> constexpr Int<T> bits(T value) { return __builtin_bit_cast(Int<T>, value); }
template <typename T> constexpr Float<T> number(T value) { return __builtin_bit_cast(Float<T>, value); }
template <typename T> constexpr T all(std::conditional_t<std::is_same_v<T, Float<T>>, float, int32_t> value) { return T{} + value; }
// minps and maxps: b where either is NaN.
template <typename T> constexpr T least(T a, T b) { return a < b ? a : b; }
template <typename T> constexpr T most(T a, T b) { return a > b ? a : b; }

template <typename T> struct [[gnu::packed, gnu::may_alias]] At { // any address
    using Type = T;
    T value;
};
using One = At<uint8_t>;
using Two = At<uint16_t>;
using Four = At<float>;
using Eight = At<double>;

// A float of `exponent_` and `mantissa_` bits, IEEE-like up to its largest finite code. Above it: an infinity where nan_ is
// not the next code, and NaN. nan_: the code that NaN becomes; 0: the format has none. With no negative zero, nan_ is that code.
template <int exponent_, int mantissa_, int bias_, int32_t largest_, int32_t nan_, bool negative_zero_ = true>
struct Small {
    static constexpr int mantissa = mantissa_, width = exponent_ + mantissa_, dropped = 23 - mantissa;
    static constexpr int32_t magnitude = (1 << width) - 1, top = largest_;
    static constexpr int32_t normal = (128 - bias_) << 23; // fp32 bits of the smallest normal
    static constexpr float largest = number((top << dropped) + normal - (1 << 23));

    template <typename I> [[gnu::always_inline]] static Float<I> value(I code) {
        const I a = code & magnitude, sign = code << (31 - width) & SIGN;
        // Right for normals; of a subnormal it is half of that plus the smallest normal.
        const Float<I> normals = number((a << dropped) + (normal - (1 << 23)));
        I found = least(bits(normals), bits(normals + (normals - number(normal))));
        if constexpr (top < magnitude && nan_ != top + 1) found = a == top + 1 ? all<I>(INFINITE) : found;
        if constexpr (top < magnitude && nan_) found = a > (nan_ == top + 1 ? top : top + 1) ? all<I>(NOT_A_NUMBER) : found;
        if constexpr (!negative_zero_) return number((code & (2 * magnitude + 1)) == nan_ ? all<I>(NOT_A_NUMBER) : found | sign);
        return number(found | sign);
    }
    // To nearest, ties to even; above the largest to the largest. A sum with a number so large that its last place is that of
    // the result rounds; the exponent, and what the codes of normals begin at, ride along in the sum's low bits.
    template <typename F> [[gnu::always_inline]] static Int<F> code(F x) {
        const Int<F> size = bits(x) & MAGNITUDE, sign = bits(x) >> (31 - width) & (1 << width);
        const Int<F> a = least(size, all<Int<F>>(bits(largest)));
        const Int<F> exponent = most(a & INFINITE, all<Int<F>>(normal));
        constexpr int32_t start = -(normal >> dropped) & 0xffff;
        const Int<F> sum = bits(number(a) + number(exponent + ((dropped << 23) | start)));
        const Int<F> finite = (sum + (exponent >> dropped)) & magnitude;
        const auto unless_nan = [&](Int<F> code) { return size > INFINITE ? all<Int<F>>(nan_) : code; };
        if constexpr (!nan_) return unless_nan(finite | sign);
        const Int<F> found = unless_nan(finite);
        if constexpr (negative_zero_) return found | sign;
        return found == 0 ? found : found | sign;
    }
};

using E4M3FN = Small<4, 3, 7, 0x7e, 0x7f>;
using E4M3FNUZ = Small<4, 3, 8, 0x7f, 0x80, false>;
using E5M2 = Small<5, 2, 15, 0x7b, 0x7f>;
using E5M2FNUZ = Small<5, 2, 16, 0x7f, 0x80, false>;
using E2M1 = Small<2, 1, 1, 0x7, 0x0>;
using E3M2 = Small<3, 2, 3, 0x1f, 0x0>;
using E2M3 = Small<2, 3, 1, 0x1f, 0x0>;
using F16 = Small<5, 10, 15, 0x7bff, 0x7e00>;

struct F32 {
    static constexpr int mantissa = 23;
    static constexpr float largest = std::numeric_limits<float>::max();
};

struct BF16 {
    static constexpr int mantissa = 7;
    static constexpr float largest = number(0x7f7f0000);
    template <typename I> [[gnu::always_inline]] static Float<I> value(I code) { return number(code << 16); }
    template <typename F> [[gnu::always_inline]] static Int<F> code(F x) { // to nearest even; overflows to infinity as IEEE does
        const Int<F> high = bits(x) >> 16 & 0xffff, low = bits(x) & 0xffff;
        const Int<F> up = low + (high & 1) > 0x8000 ? all<Int<F>>(1) : all<Int<F>>(0);
        return (bits(x) & MAGNITUDE) > INFINITE ? high | 0x40 : high + up;
    }
};

struct E8M0 {
    static constexpr int mantissa = 0;
    static constexpr float largest = number(254 << 23);
    static float value(int32_t code) { return number(code == 255 ? NOT_A_NUMBER : code ? code << 23 : 0x00400000); }
    static int32_t code(float x) { // to the nearest power of two; the sign is dropped
        const int32_t a = bits(x) & MAGNITUDE, exponent = a >> 23;
        const int32_t up = (a & 0x400000) && ((a & 0x3fffff) || exponent) ? 1 : 0;
        return exponent == 255 ? 255 : exponent + up;
    }
};

template <int limit, int32_t mask> struct Whole { // numbers from -limit to limit, in two's complement
    static constexpr int mantissa = 0;
    static constexpr float largest = float(limit);
    static constexpr int32_t half = mask / 2 + 1;
    template <typename I> [[gnu::always_inline]] static Float<I> value(I code) { // the last place of 2^23 is 1
        return number(((code & mask) ^ half) | bits(0x1p23f)) - (0x1p23f + float(half));
    }
    template <typename F> [[gnu::always_inline]] static Int<F> code(F x) { // to nearest even; NaN: 0
        const F clamped = most(least(x, all<F>(largest)), all<F>(-largest));
        const Int<F> found = (bits(clamped + 0x1.8p23f) - bits(0x1.8p23f)) & mask;
        return x == x ? found : all<Int<F>>(0);
    }
};
using Int8 = Whole<127, 255>;
using Int4 = Whole<7, 15>;

struct HiF8 { // arXiv 2409.16626: a prefix says how many exponent bits follow; the rest is mantissa
    static constexpr int mantissa = 3;
    static constexpr float largest = 32768.0f;
    static float value(int32_t code);
    static int32_t code(float x); // ties away from zero; above the largest to the largest
};

} // namespace codec
