// Matrices from one number format to another, tile by tile, and how far the stored values are from what they were.
// The interface is plain C; codec.py says what it means. Nothing here depends on PyTorch.
#include "codec_tiles.h"
#include "ieee.h"

namespace codec {

float HiF8::value(uint32_t code) {
    const uint32_t a = code & 0x7f;
    const float sign = code & 0x80 ? -1.0f : 1.0f;
    if (a == 0) return code ? number(NOT_A_NUMBER) : 0.0f;
    if (a == 0x6f) return sign * number(INFINITE);
    if (a < 0x08) return sign * std::ldexp(1.0f, int(a) - 23);
    if (a < 0x10) return sign * (1 + float(a & 7) / 8);
    // dot bits, then a sign of the exponent, its bits below the leading one, and what is left is mantissa
    const int length = a < 0x20 ? 1 : a < 0x40 ? 2 : a < 0x60 ? 3 : 4;
    const int mantissa = length < 3 ? 3 : 5 - length;
    const int below = length - 1;
    const int whole = 1 << below | int(a >> mantissa & ((1u << below) - 1));
    const int exponent = a >> (mantissa + below) & 1 ? -whole : whole;
    const float part = float(a & ((1u << mantissa) - 1)) / float(1 << mantissa);
    return sign * std::ldexp(1 + part, exponent);
}

uint32_t HiF8::code(float x) {
    const uint32_t all = bits(x), sign = (all & SIGN) >> 24;
    uint32_t a = all & MAGNITUDE;
    if (a > INFINITE) return 0x80;
    if (a < bits(0x1p-23f)) return 0;
    a = std::clamp(a, bits(0x1p-22f), bits(largest));
    const int before = int(a >> 23) - 127, size = before < 0 ? -before : before;
    const int mantissa = before < -15 ? 0 : size < 4 ? 3 : size < 8 ? 2 : 1;
    a = (a + (1u << (22 - mantissa))) >> (23 - mantissa) << (23 - mantissa);
    const int exponent = int(a >> 23) - 127, whole = exponent < 0 ? -exponent : exponent;
    if (exponent < -15) return sign | uint32_t(exponent + 23);
    const uint32_t minus = exponent < 0, e = uint32_t(whole);
    if (e == 0) return sign | 0x08 | (a >> 20 & 7);
    if (e < 2) return sign | 0x10 | minus << 3 | (a >> 20 & 7);
    if (e < 4) return sign | 0x20 | minus << 4 | (e & 1) << 3 | (a >> 20 & 7);
    if (e < 8) return sign | 0x40 | minus << 4 | (e & 3) << 2 | (a >> 21 & 3);
    return sign | 0x60 | minus << 4 | (e & 7) << 1 | (a >> 22 & 1);
}

} // namespace codec

#pragma GCC visibility push(default)
extern "C" {

void xq_codec_convert(const codec::Matrix *source, const codec::Matrix *target, int64_t rows, int64_t columns,
                      int32_t scaling, int32_t rule, codec::Errors *errors) {
    const xq::Ieee arithmetic;
    codec::convert(*source, *target, {rows, columns}, codec::Scaling(scaling), codec::Rule(rule), errors);
}

void xq_codec_compare(const codec::Matrix *a, const codec::Matrix *b, int64_t rows, int64_t columns, codec::Errors *errors) {
    const xq::Ieee arithmetic;
    codec::compare(*a, *b, {rows, columns}, *errors);
}
}
#pragma GCC visibility pop
