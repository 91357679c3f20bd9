// Blocks, and the rules by which their scales are chosen.
#pragma once
#include "codec_rows.h"

namespace codec {

struct Matrix { // as in codec.py
    uint8_t *codes;
    float *scales; // null: unscaled
    int64_t stride;
    int32_t element, block_rows, block_columns;
    const Element &format() const { return ELEMENTS[element]; }
};
struct Size {
    int64_t rows, columns;
};
enum class Scaling : int32_t { none, f32, bf16, pow2 };
enum class Rule : int32_t { ceil, floor, even, nearest };

// The blocks of a matrix, with whole dimensions written out.
struct Blocks {
    int64_t rows, columns, across;
    Blocks(const Matrix &m, Size size)
        : rows(m.block_rows ? m.block_rows : std::max<int64_t>(1, size.rows)),
          columns(m.block_columns ? m.block_columns : std::max<int64_t>(1, size.columns)),
          across((size.columns + columns - 1) / columns) {}
    int64_t index(int64_t row, int64_t column) const { return row / rows * across + column / columns; }
    // Calls what(begin, end, block across) for the parts of columns [first, end) that lie in one block.
    template <typename What> void parts(int64_t first, int64_t end, What what) const {
        int64_t block = first / columns;
        for (int64_t begin = first; begin < end; block++) {
            const int64_t next = std::min(end, (block + 1) * columns);
            what(begin, next, block);
            begin = next;
        }
    }
};

inline uint32_t power_of_two(uint32_t amax, const Element &element, Rule rule) { // exponent byte
    const int64_t field = amax >> 23;
    switch (rule) {
    case Rule::ceil: {
        const uint32_t b = bits(std::max(number(amax), 1e-4f) / element.largest);
        return std::clamp<uint32_t>((b >> 23) + ((b & 0x7fffff) != 0), 1, 254);
    }
    case Rule::floor: return uint32_t(std::clamp<int64_t>(field - element.exponent(), 0, 254));
    case Rule::even: {
        const int64_t rounded = (amax + (1u << (22 - element.mantissa))) >> 23;
        return uint32_t(std::clamp<int64_t>(rounded - element.exponent(), 0, 254));
    }
    case Rule::nearest: return std::min<uint32_t>(E8M0::code(number(amax) / element.largest), 254);
    }
    return 127;
}

// What a block's values are multiplied or divided by on the way to codes, and multiplied by on the way back.
struct Scale {
    float back, forth;
};

// What an element's `quick` takes for a power of two; negative: it cannot.
inline int16_t quick_exponent(Scale scale, const Element &element) {
    const int32_t field = int32_t(bits(scale.forth) >> 23);
    return field ? int16_t((254 - element.bias - field) * 128) : -1;
}

inline Scale choose(uint32_t amax, const Element &element, Scaling scaling, Rule rule) {
    amax = std::min(amax, INFINITE - 1); // of a block with an infinity or NaN
    if (scaling == Scaling::pow2) {
        const uint32_t byte = power_of_two(amax, element, rule);
        return {E8M0::value(byte), E8M0::value(254 - byte)};
    }
    if (element.whole && !amax) return {1, 1};
    const float scale = (element.whole ? number(amax) : std::max(number(amax), 1e-4f)) / element.reach;
    const float stored = scaling == Scaling::bf16 ? BF16::value(BF16::code(scale)) : scale;
    return {stored, stored};
}

} // namespace codec
