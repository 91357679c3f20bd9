// What is known of every number format.
#pragma once
#include "codec_measure.h"
#include "codec_rows.h"

namespace codec {

using MeasureGroups = void (Measure::*)(const uint8_t *a, const uint8_t *row, int64_t first, int64_t count, const Factors &scales);

// The numbers that values may be before they are encoded: fp32, or bf16 as it lies in a file.
struct FromNumbers {
    Encode encode = nullptr;         // null: by way of fp32, or not at all
    MeasureGroups measure = nullptr; // null: by way of fp32
    bool pairs = false;              // encode knows of Scale::second
};

struct Element {
    float largest = 0;    // finite
    int32_t mantissa = 0; // bits
    Decode decode;
    FromNumbers f32{}, bf16{};
    float reach = largest; // what a block's largest magnitude becomes under a scale that is no power of two
    bool whole = false;    // numbers: blocks of zeros get the scale 1
    int32_t exponent() const { return (bits(largest) >> 23) - 127; }
};

template <typename E> constexpr Element bytes() {
    return {.largest = E::largest,
            .mantissa = E::mantissa,
            .decode = decode_bytes<E>,
            .f32 = {encode_bytes<E, FromF32>, &Measure::add_groups<FromBytes<E>, FromF32>, true},
            .bf16 = {encode_bytes<E, FromBF16>, &Measure::add_groups<FromBytes<E>, FromBF16>, true}};
}
template <typename E> constexpr Element other(Decode decode, Encode encode) {
    return {.largest = E::largest, .mantissa = E::mantissa, .decode = decode, .f32 = {encode}};
}
template <typename E> constexpr Element nibbles() {
    return {.largest = E::largest,
            .mantissa = E::mantissa,
            .decode = decode_nibbles<E>,
            .f32 = {encode_nibbles<E, FromF32>, nullptr, true},
            .bf16 = {encode_nibbles<E, FromBF16>, nullptr, true}};
}
template <typename Stored> constexpr Element planar(Element e) {
    e.f32.measure = &Measure::add_groups<Stored, FromF32>;
    e.bf16.measure = &Measure::add_groups<Stored, FromBF16>;
    return e;
}
constexpr Element whole(Element e) {
    e.whole = true;
    return e;
}
template <typename Block> constexpr Element grouped() { return {.decode = decode_groups<Block>}; }

constexpr Element hif8() { // finest around 1: blocks reach up to the largest value with three mantissa bits
    Element e = other<HiF8>(decode_table<HiF8>, encode_codes<HiF8, One>);
    e.reach = 15.0f;
    return e;
}

// In the order of ELEMENTS in codec.py.
inline constexpr Element ELEMENTS[] = {
    planar<FromF32>(other<F32>(decode_numbers<Four>, encode_f32)),
    other<F16>(decode_codes<F16, Two>, encode_codes<F16, Two>),
    planar<FromBF16>(other<BF16>(decode_codes<BF16, Two>, encode_codes<BF16, Two>)),
    other<F32>(decode_numbers<Eight>, nullptr),
    bytes<E4M3FN>(),
    bytes<E4M3FNUZ>(),
    bytes<E5M2>(),
    bytes<E5M2FNUZ>(),
    other<E8M0>(decode_table<E8M0>, encode_codes<E8M0, One>),
    nibbles<E2M1>(),
    bytes<E3M2>(),
    bytes<E2M3>(),
    whole(bytes<Int8>()),
    whole(nibbles<Int4>()),
    hif8(),
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
constexpr int32_t KIND_F32 = 0, KIND_BF16 = 2;

} // namespace codec
