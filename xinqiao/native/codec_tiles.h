// Tiles: what is converted at a time. A tile's fp32 values stay in the second-level cache between the passes over them.
#pragma once
#include "codec_rows.h"
#include <algorithm>
#include <memory>
#include <numeric>

namespace codec {

struct Matrix { // as in codec.py
    uint8_t *codes;
    float *scales; // null: unscaled
    int64_t stride;
    int32_t element, block_rows, block_columns;
};
struct Size {
    int64_t rows, columns;
};
struct Errors { // as in codec.py
    int64_t count, different, saturated, underflowed, nonfinite;
    double signal, noise, largest;
};
enum class Scaling : int32_t { none, f32, bf16, pow2 };
enum class Rule : int32_t { ceil, floor, even, nearest };

constexpr int64_t UNIT = 256;  // columns: a multiple of every block that an element has of its own
constexpr int64_t WIDE = 2048; // columns of a tile one row high
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The blocks of a matrix, with whole dimensions written out.
struct Blocks {
    int64_t rows, columns, across;
    Blocks(const Matrix &m, Size size)
        : rows(m.block_rows ? m.block_rows : std::max<int64_t>(1, size.rows)),
          columns(m.block_columns ? m.block_columns : std::max<int64_t>(1, size.columns)), across(ceil_div(size.columns, columns)) {}
    int64_t index(int64_t row, int64_t column) const { return row / rows * across + column / columns; }
    // Calls what(begin, end, index) for the parts of columns [first, end) of a row that lie in one block.
    template <typename What> void parts(int64_t row, int64_t first, int64_t end, What what) const {
        for (int64_t begin = first; begin < end;) {
            const int64_t next = std::min(end, (begin / columns + 1) * columns);
            what(begin, next, index(row, begin));
            begin = next;
        }
    }
};

struct Tile {
    int64_t row, rows, column, columns;
};

template <typename What> void for_tiles(Size size, int64_t height, int64_t width, What what) {
    for (int64_t row = 0; row < size.rows; row += height)
        for (int64_t column = 0; column < size.columns; column += width)
            what(Tile{row, std::min(height, size.rows - row), column, std::min(width, size.columns - column)});
}

// Values of a row, scales applied.
inline void decode_row(const Matrix &m, const Blocks &blocks, int64_t row, int64_t first, int64_t count, Floats out) {
    ELEMENTS[m.element].decode(m.codes + row * m.stride, first, count, out);
    if (!m.scales) return;
    blocks.parts(row, first, first + count, [&](int64_t begin, int64_t end, int64_t index) {
        const float scale = m.scales[index];
        for (int64_t i = begin - first; i < end - first; i++) out[i] *= scale;
    });
}

inline uint32_t largest_magnitude(ConstFloats values, int64_t count) { // as bits; NaN and infinity count as the largest finite
    uint32_t found = 0;
    for (int64_t i = 0; i < count; i++) found = std::max(found, bits(values[i]) & MAGNITUDE);
    return std::min(found, INFINITE - 1);
}

inline float bf16_nearest(float value) { return number(bf16_code(value) << 16); }

// What a block's values are multiplied or divided by on the way to codes, and multiplied by on the way back.
struct Scale {
    float back, forth;
    bool divide;
};

inline uint32_t power_of_two(uint32_t amax, const Element &element, Rule rule) { // exponent byte
    const int64_t field = amax >> 23;
    switch (rule) {
    case Rule::ceil: {
        const uint32_t b = bits(std::max(number(amax), 1e-4f) / element.largest);
        return std::clamp<uint32_t>((b >> 23) + ((b & 0x7fffff) != 0), 1, 254);
    }
    case Rule::floor: return uint32_t(std::clamp<int64_t>(field - element.exponent, 0, 254));
    case Rule::even: {
        const int64_t rounded = (amax + (1u << (22 - element.mantissa))) >> 23;
        return uint32_t(std::clamp<int64_t>(rounded - element.exponent, 0, 254));
    }
    case Rule::nearest: return std::min<uint32_t>(e8m0_code(number(amax) / element.largest), 254);
    }
    return 127;
}

inline Scale choose(uint32_t amax, const Element &element, Scaling scaling, Rule rule) {
    if (scaling == Scaling::pow2) {
        const uint32_t byte = power_of_two(amax, element, rule);
        return {e8m0_value(byte), e8m0_value(254 - byte), false};
    }
    const bool whole_numbers = element.mantissa == 0;
    // HiF8 is finest around 1: its blocks reach up to the largest value with three mantissa bits.
    const float top = element.decode == decode_table<hif8_value> ? 15.0f : element.largest;
    float scale = whole_numbers ? (amax ? number(amax) / top : 1.0f) : std::max(number(amax), 1e-4f) / top;
    if (scaling == Scaling::bf16) scale = bf16_nearest(scale);
    return {scale, scale, true};
}

// As many lanes at a time as the processor has; sixteen in all, so that sums are the same on every one.
#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX2__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif
typedef float Floats_ __attribute__((vector_size(BYTES)));
typedef int32_t Ints __attribute__((vector_size(BYTES)));
constexpr int LANES = 16, PARTS = LANES * 4 / BYTES;

// Adds up over the rows of a tile, each lane a sum of its own; folded into doubles at its end.
struct Measure {
    Floats_ signal[PARTS] = {}, noise[PARTS] = {}, largest[PARTS] = {};
    Ints different[PARTS] = {}, saturated[PARTS] = {}, underflowed[PARTS] = {}, nonfinite[PARTS] = {};

    void row(const float *a, const float *b, int64_t count, float limit) {
        int64_t i = 0;
        for (; i + LANES <= count; i += LANES) sixteen(a + i, b + i, limit);
        if (i == count) return;
        float x[LANES] = {}, y[LANES] = {}; // zeros differ in nothing
        std::copy(a + i, a + count, x);
        std::copy(b + i, b + count, y);
        sixteen(x, y, limit);
    }
    void fold(Errors &errors) const {
        for (int lane = 0; lane < LANES; lane++) {
            const int part = lane / (BYTES / 4), at = lane % (BYTES / 4);
            errors.signal += double(signal[part][at]);
            errors.noise += double(noise[part][at]);
            errors.largest = std::max(errors.largest, double(largest[part][at]));
            errors.different -= different[part][at];
            errors.saturated -= saturated[part][at];
            errors.underflowed -= underflowed[part][at];
            errors.nonfinite -= nonfinite[part][at];
        }
    }

  private:
    void sixteen(const float *a, const float *b, float limit) {
        for (int part = 0; part < PARTS; part++) {
            Floats_ x, y;
            std::memcpy(&x, a + part * (BYTES / 4), BYTES);
            std::memcpy(&y, b + part * (BYTES / 4), BYTES);
            const Ints size = reinterpret_cast<Ints>(x) & int32_t(MAGNITUDE);
            const Ints finite = size < int32_t(INFINITE); // a true lane is -1
            const Ints both_nan = (x != x) & (y != y);
            const Floats_ known = reinterpret_cast<Floats_>(reinterpret_cast<Ints>(x) & finite);
            const Floats_ off = reinterpret_cast<Floats_>(reinterpret_cast<Ints>(x - y) & finite);
            const Floats_ away = reinterpret_cast<Floats_>(reinterpret_cast<Ints>(off) & int32_t(MAGNITUDE));
            signal[part] += known * known;
            noise[part] += off * off;
            largest[part] = largest[part] > away ? largest[part] : away;
            different[part] += (x != y) & ~both_nan;
            saturated[part] += (reinterpret_cast<Floats_>(size) > limit) & finite;
            underflowed[part] += (x != 0.0f) & (y == 0.0f);
            nonfinite[part] += ~finite;
        }
    }
};

inline float limit_of(const Matrix &m, int64_t index) {
    const float largest = ELEMENTS[m.element].largest;
    return m.scales ? largest * m.scales[index] : largest;
}

inline void measure_tile(const Matrix &m, const Blocks &blocks, Tile tile, ConstFloats truth, Floats row, Errors &errors) {
    Measure measure;
    for (int64_t r = 0; r < tile.rows; r++) {
        decode_row(m, blocks, tile.row + r, tile.column, tile.columns, row);
        const float *a = truth + r * tile.columns;
        blocks.parts(tile.row + r, tile.column, tile.column + tile.columns, [&](int64_t begin, int64_t end, int64_t index) {
            measure.row(a + begin - tile.column, row + begin - tile.column, end - begin, limit_of(m, index));
        });
    }
    measure.fold(errors);
    errors.count += tile.rows * tile.columns;
}

struct Plan { // of tiles
    int64_t height, width;
    Plan(const Matrix &target, const Blocks &blocks, Size size, bool scaled) {
        height = scaled ? std::min<int64_t>(blocks.rows, std::max<int64_t>(1, size.rows)) : 1;
        const int64_t unit = std::lcm(scaled && target.block_columns ? blocks.columns : 1, UNIT);
        width = scaled && !target.block_columns ? std::max<int64_t>(1, size.columns)
                : height == 1                   ? std::max(unit, WIDE / unit * unit)
                                                : unit;
        width = std::min(width, std::max<int64_t>(1, size.columns));
    }
};

inline void encode_tile(const Matrix &m, const Blocks &blocks, Tile tile, ConstFloats values, Scaling scaling, Rule rule) {
    const Element &element = ELEMENTS[m.element];
    if (scaling == Scaling::none) {
        for (int64_t r = 0; r < tile.rows; r++)
            element.encode(values + r * tile.columns, tile.columns, 1.0f, false, m.codes + (tile.row + r) * m.stride, tile.column);
        return;
    }
    for (int64_t top = 0; top < tile.rows; top += blocks.rows) {
        const int64_t end = std::min(tile.rows, top + blocks.rows);
        blocks.parts(tile.row + top, tile.column, tile.column + tile.columns, [&](int64_t begin, int64_t stop, int64_t index) {
            const float *block = values + begin - tile.column;
            uint32_t amax = 0;
            for (int64_t r = top; r < end; r++) amax = std::max(amax, largest_magnitude(block + r * tile.columns, stop - begin));
            const Scale scale = choose(amax, element, scaling, rule);
            m.scales[index] = scale.back;
            for (int64_t r = top; r < end; r++)
                element.encode(block + r * tile.columns, stop - begin, scale.forth, scale.divide, m.codes + (tile.row + r) * m.stride, begin);
        });
    }
}

inline void convert(const Matrix &source, const Matrix &target, Size size, Scaling scaling, Rule rule, Errors *errors) {
    const Blocks from(source, size), to(target, size);
    const Plan plan(target, to, size, scaling != Scaling::none);
    const std::unique_ptr<float[]> values(new float[size_t(plan.height * plan.width)]), row(new float[size_t(plan.width)]);
    for_tiles(size, plan.height, plan.width, [&](Tile tile) {
        for (int64_t r = 0; r < tile.rows; r++)
            decode_row(source, from, tile.row + r, tile.column, tile.columns, values.get() + r * tile.columns);
        encode_tile(target, to, tile, values.get(), scaling, rule);
        if (errors) measure_tile(target, to, tile, values.get(), row.get(), *errors);
    });
}

inline void compare(const Matrix &a, const Matrix &b, Size size, Errors &errors) {
    const Blocks first(a, size), second(b, size);
    const Plan plan(b, second, size, b.scales != nullptr);
    const std::unique_ptr<float[]> values(new float[size_t(plan.height * plan.width)]), row(new float[size_t(plan.width)]);
    for_tiles(size, plan.height, plan.width, [&](Tile tile) {
        for (int64_t r = 0; r < tile.rows; r++)
            decode_row(a, first, tile.row + r, tile.column, tile.columns, values.get() + r * tile.columns);
        measure_tile(b, second, tile, values.get(), row.get(), errors);
    });
}

} // namespace codec
