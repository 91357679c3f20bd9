// Number formats: rows of codes to fp32 and back. Plain loops that compilers vectorise on every processor, with the same
// bits on all of them: no fused multiply-add, no sum whose order is left to the compiler.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace codec {

using Bytes = uint8_t *__restrict;
using ConstBytes = const uint8_t *__restrict;
using Floats = float *__restrict;
using ConstFloats = const float *__restrict;

constexpr uint32_t bits(float value) { return __builtin_bit_cast(uint32_t, value); }
constexpr float number(uint32_t value) { return __builtin_bit_cast(float, value); }
constexpr uint32_t SIGN = 0x80000000u, MAGNITUDE = 0x7fffffffu, INFINITE = 0x7f800000u;

// Numbers at any address.
typedef uint16_t __attribute__((may_alias, aligned(1))) Two;
typedef float __attribute__((may_alias, aligned(1))) Four;
typedef double __attribute__((may_alias, aligned(1))) Eight;

// A float of `exponent_` and `mantissa_` bits, IEEE-like below its largest finite value. nan: the code without its sign.
template <int exponent_, int mantissa_, int bias_, uint32_t largest_, uint32_t nan_, bool negative_zero_ = true>
struct Small {
    static constexpr int mantissa = mantissa_, bias = bias_, width = exponent_ + mantissa_;
    static constexpr uint32_t largest = largest_, nan = nan_, magnitude = (1u << width) - 1;
    static constexpr bool negative_zero = negative_zero_;
    static constexpr uint32_t normal = uint32_t(127 - bias + 1) << 23; // fp32 bits of the smallest normal
    static constexpr float last_place = float(1.0 / double(1ull << (bias + mantissa - 1)));

    static constexpr float value(uint32_t code) { // of a code without sign
        return code < (1u << mantissa) ? float(int32_t(code)) * last_place : number((code << (23 - mantissa)) + (uint32_t(127 - bias) << 23));
    }
    static uint32_t code(float scaled) { // round to nearest even, saturate
        const uint32_t all = bits(scaled), top = bits(value(largest));
        const uint32_t sign = (all & SIGN) >> (31 - width);
        uint32_t a = all & MAGNITUDE;
        const bool is_nan = a > INFINITE;
        a = a < top ? a : top;
        const uint32_t odd = (a >> (23 - mantissa)) & 1;
        const uint32_t whole = ((a + (1u << (22 - mantissa)) - 1 + odd) >> (23 - mantissa)) - (uint32_t(127 - bias) << mantissa);
        const float magic = last_place * float(1 << 23); // adding it rounds to the subnormals' last place
        const uint32_t part = bits(number(a) + magic) - bits(magic);
        const uint32_t found = a < normal ? part : whole;
        const uint32_t signless = is_nan ? nan : found;
        return negative_zero || signless ? signless | sign : 0;
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

inline uint32_t bf16_code(float value) {
    const uint32_t all = bits(value);
    const uint32_t rounded = (all + 0x7fff + ((all >> 16) & 1)) >> 16;
    return (all & MAGNITUDE) > INFINITE ? (all >> 16) | 0x40 : rounded;
}

inline float e8m0_value(uint32_t code) {
    return code == 255 ? number(0x7fc00000) : code ? number(code << 23) : number(0x00400000);
}
inline uint32_t e8m0_code(float value) { // to the nearest power of two; the sign is dropped
    const uint32_t a = bits(value) & MAGNITUDE;
    const uint32_t exponent = a >> 23, rest = a & 0x3fffff;
    const bool up = (a & 0x400000) && (rest || exponent);
    return exponent == 255 ? 255 : exponent + up;
}

inline int32_t nearest(float value, float limit) { // whole number, ties to even, in -limit..limit; NaN: 0
    const float clamped = value > limit ? limit : value < -limit ? -limit : value == value ? value : 0.0f;
    return int32_t(bits(clamped + 12582912.0f) - bits(12582912.0f));
}

// HiF8 (arXiv 2409.16626): a prefix says how many exponent bits follow; the rest is mantissa.
float hif8_value(uint32_t code);
uint32_t hif8_code(float value);

} // namespace codec
