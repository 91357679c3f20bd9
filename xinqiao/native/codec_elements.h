// Number formats: one code to fp32 and back, in operations that compilers vectorise on every processor with the same bits
// on all of them: no fused multiply-add, no sum whose order is left to the compiler.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace codec {

constexpr uint32_t bits(float value) { return __builtin_bit_cast(uint32_t, value); }
constexpr float number(uint32_t value) { return __builtin_bit_cast(float, value); }
constexpr uint32_t SIGN = 0x80000000u, MAGNITUDE = 0x7fffffffu, INFINITE = 0x7f800000u, NOT_A_NUMBER = 0x7fc00000u;

// All bits or none; unlike a branch or `?:`, compilers do not take apart the loop that it is in.
constexpr int32_t only_if(bool yes) { return -int32_t(yes); }

// Number `i` of those that begin at any address.
template <typename T> inline T load(const uint8_t *from, int64_t i) {
    T found;
    std::memcpy(&found, from + i * int64_t(sizeof(T)), sizeof(T));
    return found;
}
template <typename T> inline void store(uint8_t *to, int64_t i, T value) {
    std::memcpy(to + i * int64_t(sizeof(T)), &value, sizeof(T));
}

// A float of `exponent_` and `mantissa_` bits, IEEE-like up to its largest finite code. Above it: an infinity where nan_ is
// not the next code, and NaN. nan_: the code that NaN becomes; 0: the format has none. With no negative zero, nan_ is that code.
template <int exponent_, int mantissa_, int bias_, uint32_t largest_, uint32_t nan_, bool negative_zero_ = true>
struct Small {
    static constexpr int mantissa = mantissa_, bias = bias_, width = exponent_ + mantissa_, dropped = 23 - mantissa;
    static constexpr uint32_t magnitude = (1u << width) - 1, top = largest_;
    static constexpr uint32_t normal = uint32_t(128 - bias) << 23; // fp32 bits of the smallest normal
    static constexpr float last_place = float(1.0 / double(1ull << (bias + mantissa - 1))); // of subnormals

    static constexpr uint32_t unsigned_value(uint32_t a) { // fp32 bits
        return bits(number(a << dropped) * number(uint32_t(254 - bias) << 23));
    }
    static constexpr float largest = number((top << dropped) + normal - (1u << 23));

    static float value(uint32_t code) {
        const uint32_t a = code & magnitude, sign = (code & (magnitude + 1)) << (31 - width);
        uint32_t found = unsigned_value(a);
        if constexpr (top < magnitude && nan_) found = a > top ? a == top + 1 && top + 1 != nan_ ? INFINITE : NOT_A_NUMBER : found;
        if constexpr (!negative_zero_) return number(code == nan_ ? NOT_A_NUMBER : found | sign);
        return number(found | sign);
    }
    // To nearest, ties to even; above the largest to the largest. A sum with a number so large that its last place is that of
    // the result rounds; the exponent, and what the codes of normals begin at, ride along in the sum's low bits.
    static uint32_t code(float x) {
        const int32_t size = bits(x) & MAGNITUDE, nan = only_if(size > int32_t(INFINITE));
        const int32_t a = std::min(size, int32_t(bits(largest))), exponent = std::max(a & int32_t(INFINITE), int32_t(normal));
        constexpr uint32_t start = (0u - (normal >> dropped)) & 0xffff;
        const uint32_t sum = bits(number(uint32_t(a)) + number(uint32_t(exponent) + ((uint32_t(dropped) << 23) | start)));
        const uint32_t finite = (sum + (uint32_t(exponent) >> dropped)) & magnitude;
        const uint32_t found = (finite & ~nan) | (nan_ & nan), sign = (bits(x) & SIGN) >> (31 - width);
        if constexpr (!nan_) return found | (sign & ~nan);
        return negative_zero_ ? found | sign : found | (sign & only_if(found));
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
    static float value(uint32_t code) { return number(code << 16); }
    static uint32_t code(float x) { // to nearest even; overflows to infinity as IEEE does
        const uint32_t all = bits(x), rounded = (all + 0x7fff + ((all >> 16) & 1)) >> 16;
        return (all & MAGNITUDE) > INFINITE ? (all >> 16) | 0x40 : rounded;
    }
};

struct E8M0 {
    static constexpr int mantissa = 0;
    static constexpr float largest = number(254u << 23);
    static constexpr float value(uint32_t code) { return number(code == 255 ? NOT_A_NUMBER : code ? code << 23 : 0x00400000); }
    static uint32_t code(float x) { // to the nearest power of two; the sign is dropped
        const uint32_t a = bits(x) & MAGNITUDE, exponent = a >> 23;
        const uint32_t up = (a & 0x400000) && ((a & 0x3fffff) || exponent) ? 1 : 0;
        return exponent == 255 ? 255 : exponent + up;
    }
};

template <int limit, uint32_t mask> struct Whole { // numbers from -limit to limit
    static constexpr int mantissa = 0;
    static constexpr float largest = float(limit);
    static float value(uint32_t code) { return float(int32_t((code & mask) ^ (mask / 2 + 1)) - int32_t(mask / 2 + 1)); }
    static uint32_t code(float x) { // to nearest even; NaN: 0
        const float low = x < largest ? x : largest, clamped = low > -largest ? low : -largest;
        const float round = 0x1.8p23f; // its last place is 1
        return x == x ? (bits(clamped + round) - bits(round)) & mask : 0;
    }
};
using Int8 = Whole<127, 255>;
using Int4 = Whole<7, 15>;

struct HiF8 { // arXiv 2409.16626: a prefix says how many exponent bits follow; the rest is mantissa
    static constexpr int mantissa = 3;
    static constexpr float largest = 32768.0f;
    static float value(uint32_t code);
    static uint32_t code(float x); // ties away from zero; above the largest to the largest
};

} // namespace codec
