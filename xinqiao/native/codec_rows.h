// Rows of codes to fp32 and back.
#pragma once
#include "codec_elements.h"
#include "codec_gguf.h"
#include "codec_planes.h"

namespace codec {

using ConstBytes = const uint8_t *__restrict;
using Bytes = uint8_t *__restrict;
using ConstFloats = const float *__restrict;
using Floats = float *__restrict;

// What a block's values are multiplied or divided by on the way to codes, and multiplied by on the way back.
struct Scale {
    float back, forth;
    bool divide;
    float second = forth; // of the second half of every 64 values, where two blocks share them
};

// Both take `count` elements from column `first` on.
using Decode = void (*)(ConstBytes row, int64_t first, int64_t count, float scale, Floats out);
using Encode = void (*)(ConstBytes in, int64_t count, const Scale &scale, Bytes row, int64_t first);

template <typename E, typename Code> void decode_codes(ConstBytes row, int64_t first, int64_t count, float scale, Floats out) {
    const Code *from = reinterpret_cast<const Code *>(row) + first;
    for (int64_t i = 0; i < count; i++) out[i] = E::value(int32_t(from[i].value)) * scale;
}
template <typename E> void decode_bytes(ConstBytes row, int64_t first, int64_t count, float scale, Floats out) {
    const uint8_t *from = row + first;
    int64_t i = 0;
    for (; i + NATIVE <= count; i += NATIVE) {
        Native planes = Native::of_bytes<E>(from + i);
        for (auto &plane : planes.plane) plane *= scale;
        planes.to_f32(out + i);
    }
    decode_codes<E, One>(from, i, count - i, scale, out + i);
}
template <typename Number> void decode_numbers(ConstBytes row, int64_t first, int64_t count, float scale, Floats out) {
    const Number *from = reinterpret_cast<const Number *>(row) + first;
    for (int64_t i = 0; i < count; i++) out[i] = float(from[i].value) * scale;
}
template <typename E> void decode_nibbles(ConstBytes row, int64_t first, int64_t count, float scale, Floats out) {
    if (count && first % 2) {
        *out++ = E::value(int32_t(row[first++ / 2] >> 4)) * scale;
        count--;
    }
    const uint8_t *from = row + first / 2;
    for (int64_t i = 0; i < count / 2; i++) {
        out[2 * i] = E::value(from[i] & 15) * scale;
        out[2 * i + 1] = E::value(from[i] >> 4) * scale;
    }
    if (count % 2) out[count - 1] = E::value(from[count / 2] & 15) * scale;
}
template <typename E> void decode_table(ConstBytes row, int64_t first, int64_t count, float scale, Floats out) {
    static const struct Table {
        float value[256];
        Table() {
            for (int32_t code = 0; code < 256; code++) value[code] = E::value(code);
        }
    } table;
    for (int64_t i = 0; i < count; i++) out[i] = table.value[row[first + i]] * scale;
}
// `first` and `count` are multiples of the group.
template <typename Group> void decode_groups(ConstBytes row, int64_t first, int64_t count, float scale, Floats out) {
    const uint8_t *group = row + first / Group::count * Group::bytes;
    for (int64_t i = 0; i < count; i += Group::count, group += Group::bytes) Group::decode(group, out + i);
    for (int64_t i = 0; i < count; i++) out[i] *= scale;
}

// One loop for multiplying, one for dividing: the compiler keeps the choice out of both.
template <typename E, typename Code> void encode_codes(ConstBytes values, int64_t count, const Scale &scale, Bytes row, int64_t first) {
    const Four *in = reinterpret_cast<const Four *>(values);
    Code *__restrict to = reinterpret_cast<Code *>(row) + first;
    const float by = scale.forth;
    if (scale.divide)
        for (int64_t i = 0; i < count; i++) to[i].value = typename Code::Type(E::code(in[i].value / by));
    else
        for (int64_t i = 0; i < count; i++) to[i].value = typename Code::Type(E::code(in[i].value * by));
}
template <typename E, typename From> void encode_bytes(ConstBytes in, int64_t count, const Scale &scale, Bytes row, int64_t first) {
    uint8_t *__restrict to = row + first;
    const Factors factors{scale.forth, scale.second};
    const auto all = [&](auto scaled) __attribute__((always_inline)) {
        int64_t i = 0;
        for (; i + GROUP <= count; i += GROUP)
            for (int64_t part = 0; part < PARTS; part++) {
                const int64_t at = i + part * NATIVE;
                Native planes = From::template planes<Native>(in + at * From::bytes);
                for (auto &plane : planes.plane) plane = scaled(plane, factors.of(part));
                planes.template to_bytes<E>(to + at);
            }
        for (; i + 16 <= count; i += 16) {
            auto planes = From::template planes<Planes<16>>(in + i * From::bytes);
            for (auto &plane : planes.plane) plane = scaled(plane, scale.forth);
            planes.template to_bytes<E>(to + i);
        }
        for (; i < count; i++) to[i] = uint8_t(E::code(scaled(From::one(in + i * From::bytes), scale.forth)));
    };
    if (scale.divide)
        all([](auto x, auto by) { return x / by; });
    else
        all([](auto x, auto by) { return x * by; });
}
inline void encode_f32(ConstBytes values, int64_t count, const Scale &scale, Bytes row, int64_t first) {
    const Four *in = reinterpret_cast<const Four *>(values);
    Four *__restrict to = reinterpret_cast<Four *>(row) + first;
    for (int64_t i = 0; i < count; i++) to[i].value = scale.divide ? in[i].value / scale.forth : in[i].value * scale.forth;
}
template <typename E, typename From> void encode_nibbles(ConstBytes in, int64_t count, const Scale &scale, Bytes row, int64_t first) {
    constexpr int64_t some = 256;
    uint8_t codes[some];
    for (int64_t done = 0; done < count; done += some) {
        const int64_t n = std::min(some, count - done);
        encode_bytes<E, From>(in + done * From::bytes, n, scale, codes, 0);
        int64_t i = 0, at = first + done;
        if (at % 2) row[at++ / 2] |= uint8_t(codes[i++] << 4); // the even column before it is written
        uint8_t *__restrict to = row + at / 2;
        const uint8_t *from = codes + i;
        const int64_t pairs = (n - i) / 2;
        for (int64_t j = 0; j < pairs; j++) to[j] = uint8_t(from[2 * j] | from[2 * j + 1] << 4);
        if ((n - i) % 2) to[pairs] = from[2 * pairs];
    }
}

} // namespace codec
