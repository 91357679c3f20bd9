// Values by fours: a vector of every fourth value, and three of those that follow them. Codes of one byte then join and part by
// shifts alone, where narrowing and widening vectors costs more than the arithmetic in between.
#pragma once
#include "codec_elements.h"
#include <utility>

namespace codec {

// As many bytes at a time as the processor has.
#if defined(__AVX512F__)
constexpr int NATIVE = 64;
#elif defined(__AVX2__)
constexpr int NATIVE = 32;
#else
constexpr int NATIVE = 16;
#endif

template <int size> struct Planes { // of `size` values: one plane has every fourth
    using Floats = typename Vectors<size>::Floats;
    using Ints = typename Vectors<size>::Ints;
    static constexpr int lanes = size / 4;
    Floats plane[4];

    static Ints words(const void *from) {
        Ints found;
        std::memcpy(&found, from, size);
        return found;
    }
    // Every second lane of a and b, one after the other, from lane `first` on.
    template <int first> static Ints second(Ints a, Ints b) {
        return [&]<int... i>(std::integer_sequence<int, i...>) {
#if defined(__clang__)
            return __builtin_shufflevector(a, b, (2 * i + first)...);
#else
            return __builtin_shuffle(a, b, Ints{(2 * i + first)...});
#endif
        }(std::make_integer_sequence<int, lanes>());
    }

    // A lane of a, one of b, and so on: the first half of both, or the second.
    template <int half> static Ints zip(Ints a, Ints b) {
        constexpr int first = half * lanes / 2;
        return [&]<int... i>(std::integer_sequence<int, i...>) {
#if defined(__clang__)
            return __builtin_shufflevector(a, b, (first + i / 2 + i % 2 * lanes)...);
#else
            return __builtin_shuffle(a, b, Ints{(first + i / 2 + i % 2 * lanes)...});
#endif
        }(std::make_integer_sequence<int, lanes>());
    }

    [[gnu::always_inline]] static Planes of_f32(const uint8_t *from) {
        const Ints a = words(from), b = words(from + size), c = words(from + 2 * size), d = words(from + 3 * size);
        const Ints even = second<0>(a, b), odd = second<1>(a, b), even_ = second<0>(c, d), odd_ = second<1>(c, d);
        return {{number(second<0>(even, even_)), number(second<0>(odd, odd_)), number(second<1>(even, even_)), number(second<1>(odd, odd_))}};
    }
    [[gnu::always_inline]] static Planes of_bf16(const uint8_t *from) {
        const Ints a = words(from), b = words(from + size), even = second<0>(a, b), odd = second<1>(a, b);
        return {{number(even << 16), number(even & -0x10000), number(odd << 16), number(odd & -0x10000)}};
    }
    template <typename E> [[gnu::always_inline]] static Planes of_bytes(const uint8_t *from) {
        const Ints codes = words(from);
        return {{E::value(codes), E::value(codes >> 8), E::value(codes >> 16), E::value(codes >> 24)}};
    }
    [[gnu::always_inline]] void to_f32(float *to) const {
        const Ints a = bits(plane[0]), b = bits(plane[1]), c = bits(plane[2]), d = bits(plane[3]);
        const Ints even = zip<0>(a, c), odd = zip<0>(b, d), even_ = zip<1>(a, c), odd_ = zip<1>(b, d);
        const Ints found[4] = {zip<0>(even, odd), zip<1>(even, odd), zip<0>(even_, odd_), zip<1>(even_, odd_)};
        std::memcpy(to, found, sizeof found);
    }
    template <typename E> [[gnu::always_inline]] void to_bytes(uint8_t *to) const {
        const Ints found = E::code(plane[0]) | E::code(plane[1]) << 8 | E::code(plane[2]) << 16 | E::code(plane[3]) << 24;
        std::memcpy(to, &found, size);
    }
};

// Both numbers that values may be before they are encoded. largest: magnitude, as fp32 bits; above INFINITE where one is NaN.
struct FromF32 {
    static constexpr int64_t bytes = 4;
    template <typename P> [[gnu::always_inline]] static P planes(const uint8_t *from) { return P::of_f32(from); }
    static float one(const uint8_t *from) { return reinterpret_cast<const Four *>(from)->value; }
    static int32_t largest(const uint8_t *from, int64_t count) {
        const Four *values = reinterpret_cast<const Four *>(from);
        int32_t found = 0;
        for (int64_t i = 0; i < count; i++) found = std::max(found, bits(values[i].value) & MAGNITUDE);
        return found;
    }
};
struct FromBF16 {
    static constexpr int64_t bytes = 2;
    template <typename P> [[gnu::always_inline]] static P planes(const uint8_t *from) { return P::of_bf16(from); }
    static float one(const uint8_t *from) { return BF16::value(int32_t(reinterpret_cast<const Two *>(from)->value)); }
    static int32_t largest(const uint8_t *from, int64_t count) {
        const Two *codes = reinterpret_cast<const Two *>(from);
        uint16_t found = 0;
        for (int64_t i = 0; i < count; i++) found = std::max(found, uint16_t(codes[i].value & 0x7fff));
        return int32_t(found) << 16;
    }
};

template <typename E> struct FromBytes {
    static constexpr int64_t bytes = 1;
    template <typename P> [[gnu::always_inline]] static P planes(const uint8_t *from) { return P::template of_bytes<E>(from); }
};

// Sixteen lanes of every plane, so that what they add up to is the same on every processor.
using Native = Planes<NATIVE>;
constexpr int64_t LANES = 16, WIDTH = NATIVE / 4, PARTS = LANES / WIDTH, GROUP = 4 * LANES;

// One factor for each lane of a group: of one block, or of two with half a group each.
struct Factors {
    float first, second;
    Native::Floats of(int64_t part) const {
        if constexpr (PARTS > 1) return all<Native::Floats>(part < PARTS / 2 ? first : second);
        Native::Ints halves;
        for (int64_t lane = 0; lane < WIDTH; lane++) halves[lane] = lane < LANES / 2 ? -1 : 0;
        return halves ? all<Native::Floats>(first) : all<Native::Floats>(second);
    }
};

} // namespace codec
