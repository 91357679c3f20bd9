// Rows of codes to fp32 and back.
#pragma once
#include "codec_elements.h"
#include "codec_gguf.h"
#include <type_traits>

namespace codec {

using ConstBytes = const uint8_t *__restrict;
using Bytes = uint8_t *__restrict;
using ConstFloats = const float *__restrict;
using Floats = float *__restrict;

// Both take `count` elements from column `first` on; each has a number of its own that it is multiplied or divided by.
using Decode = void (*)(ConstBytes row, int64_t first, int64_t count, Floats out);
using Encode = void (*)(ConstFloats in, ConstFloats by, int64_t count, bool divide, Bytes row, int64_t first);

// From bf16 numbers times powers of two, sixteen bits at a time. `exponents` are those powers', from `drop_exponent` of them.
// False where that is not possible, and `row` is to be written again: the format's subnormals are not.
using EncodeQuick = bool (*)(ConstBytes in, const int16_t *exponents, int64_t count, Bytes row, int64_t first);

struct Element {
    float largest;    // finite
    float reach;      // what a block's largest magnitude becomes under a scale that is no power of two
    int32_t mantissa; // bits
    bool whole;       // numbers: blocks of zeros get the scale 1
    Decode decode;
    Encode encode; // null: decode only
    EncodeQuick quick = nullptr;
    int16_t bias = 0;
    int32_t exponent() const { return int32_t(bits(largest) >> 23) - 127; }
};

template <typename E, typename Code> void decode_codes(ConstBytes row, int64_t first, int64_t count, Floats out) {
    for (int64_t i = 0; i < count; i++) out[i] = E::value(load<Code>(row, first + i));
}
template <typename Number> void decode_numbers(ConstBytes row, int64_t first, int64_t count, Floats out) {
    for (int64_t i = 0; i < count; i++) out[i] = float(load<Number>(row, first + i));
}
template <typename E> void decode_nibbles(ConstBytes row, int64_t first, int64_t count, Floats out) {
    if (count && first % 2) {
        *out++ = E::value(row[first++ / 2] >> 4);
        count--;
    }
    const uint8_t *from = row + first / 2;
    for (int64_t i = 0; i < count / 2; i++) {
        out[2 * i] = E::value(from[i] & 15u);
        out[2 * i + 1] = E::value(from[i] >> 4);
    }
    if (count % 2) out[count - 1] = E::value(from[count / 2] & 15u);
}
template <typename E> void decode_table(ConstBytes row, int64_t first, int64_t count, Floats out) {
    static const struct Table {
        float value[256];
        Table() {
            for (uint32_t code = 0; code < 256; code++) value[code] = E::value(code);
        }
    } table;
    for (int64_t i = 0; i < count; i++) out[i] = table.value[row[first + i]];
}

// One loop for multiplying, one for dividing: the compiler keeps the choice out of both.
template <typename E, typename Code>
void encode_codes(ConstFloats in, ConstFloats by, int64_t count, bool divide, Bytes row, int64_t first) {
    if (divide)
        for (int64_t i = 0; i < count; i++) store(row, first + i, Code(E::code(in[i] / by[i])));
    else
        for (int64_t i = 0; i < count; i++) store(row, first + i, Code(E::code(in[i] * by[i])));
}
inline void encode_f32(ConstFloats in, ConstFloats by, int64_t count, bool divide, Bytes row, int64_t first) {
    for (int64_t i = 0; i < count; i++) store(row, first + i, divide ? in[i] / by[i] : in[i] * by[i]);
}
template <typename E> void encode_nibbles(ConstFloats in, ConstFloats by, int64_t count, bool divide, Bytes row, int64_t first) {
    constexpr int64_t some = 256;
    uint8_t codes[some];
    for (int64_t done = 0; done < count; done += some) {
        const int64_t n = std::min(some, count - done);
        encode_codes<E, uint8_t>(in + done, by + done, n, divide, codes, 0);
        int64_t i = 0, at = first + done;
        if (at % 2) row[at++ / 2] |= uint8_t(codes[i++] << 4); // the even column before it is written
        uint8_t *__restrict to = row + at / 2;
        const uint8_t *from = codes + i;
        const int64_t pairs = (n - i) / 2;
        for (int64_t j = 0; j < pairs; j++) to[j] = uint8_t(from[2 * j] | from[2 * j + 1] << 4);
        if ((n - i) % 2) to[pairs] = from[2 * pairs];
    }
}

template <typename E> bool encode_quick(ConstBytes in, const int16_t *exponents, int64_t count, Bytes row, int64_t first) {
    constexpr int dropped = 7 - E::mantissa;
    uint8_t *__restrict to = row + first;
    int16_t rare = 0;
    for (int64_t i = 0; i < count; i++) {
        const uint16_t code = load<uint16_t>(in, i);
        const int16_t size = code & 0x7fff, scaled = std::max<int16_t>(int16_t(size - exponents[i]), 0);
        const int16_t half = (1 << (dropped - 1)) - 1, odd = scaled >> dropped & 1;
        const int16_t rounded = std::min<int16_t>(int16_t(scaled + half + odd) >> dropped, E::top);
        rare |= int16_t(scaled < 128) & int16_t(size > 0);
        to[i] = uint8_t(rounded | (code >> 8 & 0x80));
    }
    return !rare;
}

template <typename E, typename Code> constexpr Element plain() {
    return {E::largest, E::largest, E::mantissa, false, decode_codes<E, Code>, encode_codes<E, Code>};
}
template <typename E> constexpr Element quick() {
    return {E::largest, E::largest, E::mantissa, false, decode_codes<E, uint8_t>, encode_codes<E, uint8_t>, encode_quick<E>, E::bias};
}
template <typename Block> constexpr Element grouped() { return {0, 0, 0, false, gguf::rows<Block>, nullptr}; }

// In the order of ELEMENTS in codec.py.
inline constexpr Element ELEMENTS[] = {
    {F32::largest, F32::largest, F32::mantissa, false, decode_numbers<float>, encode_f32},
    plain<F16, uint16_t>(),
    plain<BF16, uint16_t>(),
    {F32::largest, F32::largest, F32::mantissa, false, decode_numbers<double>, nullptr},
    quick<E4M3FN>(),
    plain<E4M3FNUZ, uint8_t>(),
    quick<E5M2>(),
    plain<E5M2FNUZ, uint8_t>(),
    plain<E8M0, uint8_t>(),
    {E2M1::largest, E2M1::largest, E2M1::mantissa, false, decode_nibbles<E2M1>, encode_nibbles<E2M1>},
    plain<E3M2, uint8_t>(),
    plain<E2M3, uint8_t>(),
    {Int8::largest, Int8::largest, 0, true, decode_codes<Int8, uint8_t>, encode_codes<Int8, uint8_t>},
    {Int4::largest, Int4::largest, 0, true, decode_nibbles<Int4>, encode_nibbles<Int4>},
    // finest around 1: blocks reach up to the largest value with three mantissa bits
    {HiF8::largest, 15.0f, HiF8::mantissa, false, decode_table<HiF8>, encode_codes<HiF8, uint8_t>},
    grouped<gguf::Q8_0>(),
    grouped<gguf::Q4_0>(),
    grouped<gguf::Q4_1>(),
    grouped<gguf::Q5_0>(),
    grouped<gguf::Q5_1>(),
    grouped<gguf::Q2_K>(),
    grouped<gguf::Q3_K>(),
    grouped<gguf::Q4_K>(),
    grouped<gguf::Q5_K>(),
    grouped<gguf::Q6_K>(),
};
constexpr int32_t KIND_BF16 = 2;

} // namespace codec
