// Rows of each number format: `decode` writes fp32, `encode` reads fp32 times a factor, or divided by it.
#pragma once
#include "codec_elements.h"
#include "codec_gguf.h"

namespace codec {

using Decode = void (*)(ConstBytes row, int64_t first, int64_t count, Floats out);
using Encode = void (*)(ConstFloats in, int64_t count, float scale, bool divide, Bytes row, int64_t first);

struct Element {
    float largest;    // finite
    int mantissa;     // bits, for the rule 'even'
    int32_t exponent; // floor(log2(largest))
    Decode decode;
    Encode encode; // null: decode only
};

// 256 values for the formats of one byte whose codes follow no simple rule; two values a byte for packed ones.
using Table = std::array<float, 256>;
template <float (*value)(uint32_t)> const Table &table() {
    static const Table built = [] {
        Table t{};
        for (uint32_t i = 0; i < 256; i++) t[i] = value(i);
        return t;
    }();
    return built;
}

template <typename S> float signed_value(uint32_t code) {
    const uint32_t a = code & S::magnitude, sign = code & (S::magnitude + 1);
    if (S::nan && (S::negative_zero ? a >= S::nan : code == S::nan)) return number(0x7fc00000);
    if (S::largest < a) return sign ? -number(INFINITE) : number(INFINITE);
    return sign ? -S::value(a) : S::value(a);
}

template <float (*value)(uint32_t)> void decode_table(ConstBytes row, int64_t first, int64_t count, Floats out) {
    const Table &t = table<value>();
    for (int64_t i = 0; i < count; i++) out[i] = t[row[first + i]];
}

template <float (*value)(uint32_t)> void decode_packed(ConstBytes row, int64_t first, int64_t count, Floats out) {
    for (int64_t i = 0; i < count; i++) {
        const uint32_t byte = row[(first + i) / 2];
        out[i] = value((first + i) & 1 ? byte >> 4 : byte & 15);
    }
}

// e4m3fn without a table: this is the format that matters most.
inline void decode_e4m3fn(ConstBytes row, int64_t first, int64_t count, Floats out) {
    const uint8_t *from = row + first;
    for (int64_t i = 0; i < count; i++) {
        const uint32_t code = from[i], a = code & 0x7f;
        const float part = float(int32_t(a)) * E4M3FN::last_place;
        const uint32_t whole = (a << 20) + (120u << 23);
        const uint32_t found = a < 8 ? bits(part) : a == 0x7f ? 0x7fc00000u : whole;
        out[i] = number(found | (code & 0x80) << 24);
    }
}

inline void decode_f32(ConstBytes row, int64_t first, int64_t count, Floats out) {
    std::memcpy(out, row + 4 * first, 4 * size_t(count));
}
inline void decode_f64(ConstBytes row, int64_t first, int64_t count, Floats out) {
    const Eight *from = reinterpret_cast<const Eight *>(row) + first;
    for (int64_t i = 0; i < count; i++) out[i] = float(from[i]);
}
inline void decode_bf16(ConstBytes row, int64_t first, int64_t count, Floats out) {
    const Two *from = reinterpret_cast<const Two *>(row) + first;
    for (int64_t i = 0; i < count; i++) out[i] = number(uint32_t(from[i]) << 16);
}
inline float f16_value(uint32_t code) {
    const uint32_t a = code & 0x7fff, sign = (code & 0x8000) << 16;
    const uint32_t found = a < 0x400 ? bits(float(int32_t(a)) * F16::last_place) : (a << 13) + ((a >= 0x7c00 ? 224u : 112u) << 23);
    return number(found | sign);
}
inline void decode_f16(ConstBytes row, int64_t first, int64_t count, Floats out) {
    const Two *from = reinterpret_cast<const Two *>(row) + first;
    for (int64_t i = 0; i < count; i++) out[i] = f16_value(from[i]);
}
inline void decode_int8(ConstBytes row, int64_t first, int64_t count, Floats out) {
    const uint8_t *from = row + first;
    for (int64_t i = 0; i < count; i++) out[i] = float(int8_t(from[i]));
}
inline float int4_value(uint32_t code) { return float(int32_t(code ^ 8) - 8); }

// One loop for multiplying, one for dividing: the compiler keeps the choice out of both.
template <typename Store> void encode_with(ConstFloats in, int64_t count, float scale, bool divide, Store put) {
    if (divide)
        for (int64_t i = 0; i < count; i++) put(i, in[i] / scale);
    else
        for (int64_t i = 0; i < count; i++) put(i, in[i] * scale);
}

template <typename S> void encode_small(ConstFloats in, int64_t count, float scale, bool divide, Bytes row, int64_t first) {
    uint8_t *__restrict to = row + first;
    encode_with(in, count, scale, divide, [=](int64_t i, float x) { to[i] = uint8_t(S::code(x)); });
}
template <uint32_t (*code)(float)>
void encode_packed(ConstFloats in, int64_t count, float scale, bool divide, Bytes row, int64_t first) {
    encode_with(in, count, scale, divide, [=](int64_t i, float x) {
        uint8_t &byte = row[(first + i) / 2];
        const uint32_t found = code(x);
        byte = uint8_t((first + i) & 1 ? (byte & 15) | found << 4 : found);
    });
}
inline uint32_t int4_code(float x) { return uint32_t(nearest(x, 7.0f)) & 15; }

inline void encode_int8(ConstFloats in, int64_t count, float scale, bool divide, Bytes row, int64_t first) {
    uint8_t *__restrict to = row + first;
    encode_with(in, count, scale, divide, [=](int64_t i, float x) { to[i] = uint8_t(nearest(x, 127.0f)); });
}
inline void encode_f32(ConstFloats in, int64_t count, float scale, bool divide, Bytes row, int64_t first) {
    Four *__restrict to = reinterpret_cast<Four *>(row) + first;
    encode_with(in, count, scale, divide, [=](int64_t i, float x) { to[i] = x; });
}
inline void encode_f16(ConstFloats in, int64_t count, float scale, bool divide, Bytes row, int64_t first) {
    Two *__restrict to = reinterpret_cast<Two *>(row) + first;
    encode_with(in, count, scale, divide, [=](int64_t i, float x) { to[i] = uint16_t(F16::code(x)); });
}
inline void encode_bf16(ConstFloats in, int64_t count, float scale, bool divide, Bytes row, int64_t first) {
    Two *__restrict to = reinterpret_cast<Two *>(row) + first;
    encode_with(in, count, scale, divide, [=](int64_t i, float x) { to[i] = uint16_t(bf16_code(x)); });
}
inline void encode_e8m0(ConstFloats in, int64_t count, float scale, bool divide, Bytes row, int64_t first) {
    uint8_t *__restrict to = row + first;
    encode_with(in, count, scale, divide, [=](int64_t i, float x) { to[i] = uint8_t(e8m0_code(x)); });
}
inline void encode_hif8(ConstFloats in, int64_t count, float scale, bool divide, Bytes row, int64_t first) {
    encode_with(in, count, scale, divide, [=](int64_t i, float x) { row[first + i] = uint8_t(hif8_code(x)); });
}

template <typename S> constexpr Element small_element(Decode decode, Encode encode) {
    const float top = S::value(S::largest);
    return {top, S::mantissa, int32_t(bits(top) >> 23) - 127, decode, encode};
}

// In the order of ELEMENTS in codec.py.
inline const Element ELEMENTS[] = {
    {std::numeric_limits<float>::max(), 23, 127, decode_f32, encode_f32},
    small_element<F16>(decode_f16, encode_f16),
    {3.3895313892515355e38f, 7, 127, decode_bf16, encode_bf16},
    {std::numeric_limits<float>::max(), 23, 127, decode_f64, nullptr},
    small_element<E4M3FN>(decode_e4m3fn, encode_small<E4M3FN>),
    small_element<E4M3FNUZ>(decode_table<signed_value<E4M3FNUZ>>, encode_small<E4M3FNUZ>),
    small_element<E5M2>(decode_table<signed_value<E5M2>>, encode_small<E5M2>),
    small_element<E5M2FNUZ>(decode_table<signed_value<E5M2FNUZ>>, encode_small<E5M2FNUZ>),
    {1.7014118346046923e38f, 0, 127, decode_table<e8m0_value>, encode_e8m0},
    small_element<E2M1>(decode_packed<signed_value<E2M1>>, encode_packed<E2M1::code>),
    small_element<E3M2>(decode_table<signed_value<E3M2>>, encode_small<E3M2>),
    small_element<E2M3>(decode_table<signed_value<E2M3>>, encode_small<E2M3>),
    {127.0f, 0, 6, decode_int8, encode_int8},
    {7.0f, 0, 2, decode_packed<int4_value>, encode_packed<int4_code>},
    {32768.0f, 3, 15, decode_table<hif8_value>, encode_hif8},
    {0, 0, 0, gguf::rows<gguf::Q8_0>, nullptr},
    {0, 0, 0, gguf::rows<gguf::Q4_0>, nullptr},
    {0, 0, 0, gguf::rows<gguf::Q4_1>, nullptr},
    {0, 0, 0, gguf::rows<gguf::Q5_0>, nullptr},
    {0, 0, 0, gguf::rows<gguf::Q5_1>, nullptr},
    {0, 0, 0, gguf::rows<gguf::Q2_K>, nullptr},
    {0, 0, 0, gguf::rows<gguf::Q3_K>, nullptr},
    {0, 0, 0, gguf::rows<gguf::Q4_K>, nullptr},
    {0, 0, 0, gguf::rows<gguf::Q5_K>, nullptr},
    {0, 0, 0, gguf::rows<gguf::Q6_K>, nullptr},
};
constexpr int32_t COUNT = sizeof(ELEMENTS) / sizeof(ELEMENTS[0]);

} // namespace codec
