// Tiles: what is converted at a time. A tile's true values stay in the second-level cache between the passes over them, and
// a piece of one of its rows in the first.
#pragma once
#include "codec_measure.h"
#include "codec_scales.h"
#include <memory>
#include <numeric>
#include <vector>

namespace codec {

constexpr int64_t UNIT = 256;  // columns: a multiple of every group that an element has of its own
constexpr int64_t PIECE = 512; // columns
constexpr int64_t WIDE = 1024; // columns of a tile, about

struct Tile {
    int64_t row, rows, column, columns;
};

// Tiles that hold whole blocks of the target, if it has scales.
struct Tiling {
    Size size;
    int64_t height = 1, width;
    Tiling(const Blocks &blocks, Size size, bool scaled) : size(size) {
        if (scaled) height = std::clamp<int64_t>(blocks.rows, 1, std::max<int64_t>(1, size.rows));
        const int64_t unit = scaled && blocks.across > 1 ? std::lcm(blocks.columns, UNIT) : UNIT;
        width = scaled && blocks.across <= 1 ? size.columns : std::max(unit, WIDE / unit * unit);
        width = std::clamp<int64_t>(width, 1, std::max<int64_t>(1, size.columns));
    }
    template <typename What> void each(What what) const {
        for (int64_t row = 0; row < size.rows; row += height)
            for (int64_t column = 0; column < size.columns; column += width)
                what(Tile{row, std::min(height, size.rows - row), column, std::min(width, size.columns - column)});
    }
};

// Calls what(row, first column, last column) for the pieces of a tile; rows and columns are the tile's own.
template <typename What> void for_pieces(Tile tile, What what) {
    for (int64_t r = 0; r < tile.rows; r++)
        for (int64_t first = 0; first < tile.columns; first += PIECE) what(r, first, std::min(tile.columns, first + PIECE));
}

// The true values of one tile after the other: the source's own codes where those are bf16 without scales, else fp32.
class Truth {
    const Matrix &source;
    const Blocks blocks;
    const int64_t across; // columns of the matrix
    std::unique_ptr<float[]> values;
    std::unique_ptr<uint32_t[]> found; // the codes of the largest magnitude in each column
    Tile tile{};

    static bool is_direct(const Matrix &m) { return !m.scales && m.element == KIND_BF16; }
    uint8_t *found_codes() const { return reinterpret_cast<uint8_t *>(found.get()); }

    // Codes without their signs are in the order of what they stand for.
    template <typename Code> static Code magnitude(ConstBytes codes, int64_t i) { return load<Code>(codes, i) & Code(Code(-1) >> 1); }
    template <typename Code> static void raise(ConstBytes from, int64_t count, Bytes to) {
        for (int64_t i = 0; i < count; i++) store(to, i, std::max(load<Code>(to, i), magnitude<Code>(from, i)));
    }
    template <typename Code> static Code most(ConstBytes from, int64_t begin, int64_t end) {
        Code largest = 0;
        for (int64_t i = begin; i < end; i++) largest = std::max(largest, magnitude<Code>(from, i));
        return largest;
    }

  public:
    const bool direct;
    Truth(const Matrix &m, const Tiling &tiling)
        : source(m), blocks(m, tiling.size), across(tiling.size.columns), values(is_direct(m) ? nullptr : new float[size_t(tiling.height * tiling.width)]),
          found(new uint32_t[size_t(tiling.width)]), direct(is_direct(m)) {}

    // Of row `r` of the tile: bf16 if `direct`, else fp32.
    const uint8_t *codes(int64_t r) const {
        if (direct) return source.codes + (tile.row + r) * source.stride + 2 * tile.column;
        return reinterpret_cast<const uint8_t *>(values.get() + r * tile.columns);
    }
    void move(Tile to) {
        tile = to;
        if (direct) return;
        for_pieces(tile, [&](int64_t r, int64_t first, int64_t end) {
            float *out = values.get() + r * tile.columns - tile.column; // columns are the matrix's
            first += tile.column, end += tile.column;
            source.format().decode(source.codes + (tile.row + r) * source.stride, first, end - first, out + first);
            if (!source.scales) return;
            const float *scales = source.scales + blocks.index(tile.row + r, 0);
            blocks.parts(first, end, [&](int64_t begin, int64_t stop, int64_t block) {
                const float scale = scales[block];
                for (int64_t i = begin; i < stop; i++) out[i] *= scale;
            });
        });
    }
    // Begins to fetch the same columns of the next tile: rows are pages apart, which processors do not foresee.
    void foresee(int64_t r, int64_t begin, int64_t end) const {
        if (!direct || tile.rows == 1) return;
        end = std::min(end + tile.columns, across - tile.column);
        for (int64_t i = begin + tile.columns; i < end; i += 32) __builtin_prefetch(codes(r) + 2 * i, 0, 2);
    }
    // Columns [begin, end) of the tile's row `r`; `spare` is where they go if they are not fp32 already.
    const float *row(int64_t r, int64_t begin, int64_t end, Floats spare) const {
        if (!direct) return values.get() + r * tile.columns + begin;
        const uint8_t *from = codes(r);
        for (int64_t i = begin; i < end; i++) spare[i - begin] = BF16::value(load<uint16_t>(from, i));
        return spare;
    }
    // Readies `largest`.
    void look() {
        if (tile.rows == 1) return;
        std::fill_n(found.get(), tile.columns, 0);
        for (int64_t r = 0; r < tile.rows; r++)
            direct ? raise<uint16_t>(codes(r), tile.columns, found_codes()) : raise<uint32_t>(codes(r), tile.columns, found_codes());
    }
    // The largest magnitude in columns [begin, end) of the tile, as fp32 bits.
    uint32_t largest(int64_t begin, int64_t end) const {
        const uint8_t *from = tile.rows == 1 ? codes(0) : found_codes();
        return direct ? uint32_t(most<uint16_t>(from, begin, end)) << 16 : most<uint32_t>(from, begin, end);
    }
};

// What each column of a tile is multiplied or divided by, and multiplied by on the way back.
class Columns {
    const bool alike; // all columns: those of one piece are kept
    std::vector<float> forth_, back_;
    std::vector<int16_t> exponents_;

    int64_t at(int64_t column) const { return alike ? 0 : column; }
    template <typename T> void fill(std::vector<T> &values, int64_t begin, int64_t end, T value) const {
        T *to = values.data();
        end = alike ? std::min(end, PIECE) : end;
        for (int64_t i = begin; i < end; i++) to[i] = value;
    }

  public:
    bool quick = false; // `exponents` stand for `forth`
    bool fits = false;  // nothing is larger than the format and the scales can tell

    Columns(const Blocks &blocks, int64_t width)
        : alike(blocks.across <= 1), forth_(size_t(alike ? PIECE : width), 1.0f), back_(forth_), exponents_(forth_.size()) {}
    const float *forth(int64_t column) const { return forth_.data() + at(column); }
    const float *back(int64_t column) const { return back_.data() + at(column); }
    const int16_t *exponents(int64_t column) const { return exponents_.data() + at(column); }

    // Picks the scales of a tile's blocks, and stores them.
    void choose(const Truth &truth, const Matrix &m, const Blocks &blocks, Tile tile, Scaling scaling, Rule rule) {
        const Element &format = m.format();
        quick = truth.direct && format.quick && scaling == Scaling::pow2;
        fits = true;
        float *stored = m.scales + blocks.index(tile.row, 0);
        blocks.parts(tile.column, tile.column + tile.columns, [&](int64_t begin, int64_t end, int64_t block) {
            begin -= tile.column, end -= tile.column;
            const uint32_t largest = truth.largest(begin, end);
            const Scale scale = codec::choose(largest, format, scaling, rule);
            stored[block] = scale.back;
            fill(forth_, begin, end, scale.forth);
            fill(back_, begin, end, scale.back);
            fits &= number(largest) <= format.largest * scale.back;
            if (!quick) return;
            const int16_t exponent = quick_exponent(scale, format);
            fill(exponents_, begin, end, exponent);
            quick = exponent >= 0 && largest < INFINITE;
        });
    }
    // Takes the scales that are stored.
    void read(const Truth &truth, const Matrix &m, const Blocks &blocks, Tile tile) {
        const float top = m.format().largest;
        fits = true;
        blocks.parts(tile.column, tile.column + tile.columns, [&](int64_t begin, int64_t end, int64_t block) {
            begin -= tile.column, end -= tile.column;
            const float scale = m.scales ? m.scales[blocks.index(tile.row, 0) + block] : 1.0f;
            fill(back_, begin, end, scale);
            fits &= number(truth.largest(begin, end)) <= top * scale;
        });
    }
};

// Compares with what is stored in `m`.
class Comparison {
    const Matrix &m;
    const Tile tile;
    const Columns &columns;
    const bool ordinary;
    Measure measure;

  public:
    Comparison(const Truth &truth, const Matrix &m, Tile tile, const Columns &columns)
        : m(m), tile(tile), columns(columns), ordinary(Measure::ordinary(truth.largest(0, tile.columns))) {}
    void add(int64_t r, int64_t first, int64_t count, const float *truth) {
        float stored[PIECE];
        m.format().decode(m.codes + (tile.row + r) * m.stride, tile.column + first, count, stored);
        const float *back = columns.back(first), top = m.format().largest;
        if (!ordinary) return measure.add_any(truth, stored, back, count, top);
        measure.add(truth, stored, back, count);
        if (!columns.fits) measure.add_saturated(truth, back, count, top);
    }
    void fold(Errors &errors) const { measure.fold(tile.rows * tile.columns, errors); }
};

inline void convert(const Matrix &source, const Matrix &target, Size size, Scaling scaling, Rule rule, Errors *errors) {
    const bool scaled = scaling != Scaling::none && target.scales, divide = scaled && scaling != Scaling::pow2;
    const Blocks blocks(target, size);
    const Tiling tiling(blocks, size, scaled);
    Truth truth(source, tiling);
    Columns columns(blocks, tiling.width);
    tiling.each([&](Tile tile) {
        truth.move(tile);
        truth.look();
        if (scaled)
            columns.choose(truth, target, blocks, tile, scaling, rule);
        else if (errors)
            columns.read(truth, target, blocks, tile);
        Comparison comparison(truth, target, tile, columns);
        for_pieces(tile, [&](int64_t r, int64_t first, int64_t end) {
            truth.foresee(r, first, end);
            float spare[PIECE];
            uint8_t *row = target.codes + (tile.row + r) * target.stride;
            const bool done = columns.quick && target.format().quick(truth.codes(r) + 2 * first, columns.exponents(first), end - first, row, tile.column + first);
            if (done && !errors) return;
            const float *values = truth.row(r, first, end, spare);
            if (!done) target.format().encode(values, columns.forth(first), end - first, divide, row, tile.column + first);
            if (errors) comparison.add(r, first, end - first, values);
        });
        if (errors) comparison.fold(*errors);
    });
}

inline void compare(const Matrix &a, const Matrix &b, Size size, Errors &errors) {
    const Blocks blocks(b, size);
    const Tiling tiling(blocks, size, b.scales && b.block_rows); // one scale for all: any tile will do
    Truth truth(a, tiling);
    Columns columns(blocks, tiling.width);
    tiling.each([&](Tile tile) {
        truth.move(tile);
        truth.look();
        columns.read(truth, b, blocks, tile);
        Comparison comparison(truth, b, tile, columns);
        for_pieces(tile, [&](int64_t r, int64_t first, int64_t end) {
            truth.foresee(r, first, end);
            float spare[PIECE];
            comparison.add(r, first, end - first, truth.row(r, first, end, spare));
        });
        comparison.fold(errors);
    });
}

} // namespace codec
