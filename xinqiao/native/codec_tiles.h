// Tiles: what is converted at a time. A tile's source stays in the second-level cache between the passes over it.
#pragma once
#include "codec_scales.h"
#include <memory>
#include <numeric>
#include <vector>

namespace codec {

constexpr int64_t UNIT = 256;  // columns: a multiple of every group that an element has of its own
constexpr int64_t WIDE = 512;  // columns of a tile, about; four times as many of one that is a single row

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
        width = scaled && blocks.across <= 1 ? size.columns : std::max(unit, (height == 1 ? 4 : 1) * WIDE / unit * unit);
        width = std::clamp<int64_t>(width, 1, std::max<int64_t>(1, size.columns));
    }
    template <typename What> void each(What what) const {
        for (int64_t row = 0; row < size.rows; row += height)
            for (int64_t column = 0; column < size.columns; column += width)
                what(Tile{row, std::min(height, size.rows - row), column, std::min(width, size.columns - column)});
    }
};

// Columns [first, end) in pieces of at most UNIT.
template <typename What> void pieces(int64_t first, int64_t end, What what) {
    for (; first < end; first += UNIT) what(first, std::min(end, first + UNIT));
}

// The true values of one tile after the other: the source's own codes where those are bf16 or fp32, else decoded ones.
class Truth {
    const Matrix &source;
    const Blocks blocks;
    const bool direct;
    std::unique_ptr<float[]> values;
    Tile tile{};

  public:
    const bool bf16; // not fp32

    Truth(const Matrix &m, const Tiling &tiling)
        : source(m), blocks(m, tiling.size), direct(!m.scales && (m.element == KIND_BF16 || m.element == KIND_F32)),
          values(direct ? nullptr : new float[size_t(tiling.height * tiling.width)]), bf16(direct && m.element == KIND_BF16) {}

    void move(Tile to) {
        tile = to;
        if (direct) return;
        for (int64_t r = 0; r < tile.rows; r++) {
            float *out = values.get() + r * tile.columns;
            const uint8_t *codes = source.codes + (tile.row + r) * source.stride;
            if (!source.scales) {
                source.format().decode(codes, tile.column, tile.columns, 1.0f, out);
                continue;
            }
            const float *scales = source.scales + blocks.index(tile.row + r, 0);
            blocks.parts(tile.column, tile.column + tile.columns, [&](int64_t begin, int64_t end, int64_t block) {
                source.format().decode(codes, begin, end - begin, scales[block], out + (begin - tile.column));
            });
        }
    }
    // Row `r` of the tile from a column on.
    const uint8_t *row(int64_t r, int64_t column) const {
        if (direct) return source.codes + (tile.row + r) * source.stride + column * (bf16 ? 2 : 4);
        return reinterpret_cast<const uint8_t *>(values.get() + r * tile.columns + (column - tile.column));
    }
    // Begins to bring the same row of the next tile to the second-level cache: rows are pages apart, which processors do not
    // foresee.
    void foresee(int64_t r, int64_t columns) const {
        const int64_t first = tile.column + tile.columns, end = std::min(columns, first + tile.columns);
        if (!direct || first >= end || tile.rows == 1) return;
        for (const uint8_t *from = row(r, first); from < row(r, end); from += 64) __builtin_prefetch(from, 0, 2);
    }
    int32_t largest(int64_t r, int64_t begin, int64_t end) const { // magnitude, as bits
        return bf16 ? FromBF16::largest(row(r, begin), end - begin) : FromF32::largest(row(r, begin), end - begin);
    }
    void floats(int64_t r, int64_t begin, int64_t end, Floats out) const {
        ELEMENTS[bf16 ? KIND_BF16 : KIND_F32].decode(row(r, begin), 0, end - begin, 1.0f, out);
    }
};

// The target of a conversion, or the second matrix of a comparison, tile by tile.
class Stored {
    const Matrix &m;
    const Element &element;
    const Blocks blocks;
    std::vector<int32_t> largest; // magnitude of the truth, of each block of a row of blocks
    std::vector<Scale> scales;

  public:
    Stored(const Matrix &m, Size size)
        : m(m), element(m.format()), blocks(m, size), largest(size_t(blocks.across)), scales(size_t(blocks.across), Scale{1, 1, false}) {}

    Tiling tiling(Size size, bool scaled) const { return Tiling(blocks, size, scaled); }

    void look(const Truth &truth, Tile tile) {
        parts(tile, [&](int64_t, int64_t, int64_t block) { largest[size_t(block)] = 0; });
        for (int64_t r = 0; r < tile.rows; r++)
            parts(tile, [&](int64_t begin, int64_t end, int64_t block) {
                int32_t &found = largest[size_t(block)];
                found = std::max(found, truth.largest(r, begin, end));
            });
    }
    void choose(Tile tile, Scaling scaling, Rule rule) {
        float *stored = m.scales + blocks.index(tile.row, 0);
        parts(tile, [&](int64_t, int64_t, int64_t block) {
            scales[size_t(block)] = codec::choose(largest[size_t(block)], element, scaling, rule);
            stored[block] = scales[size_t(block)].back;
        });
    }
    void read_scales(Tile tile) {
        if (!m.scales) return;
        const float *stored = m.scales + blocks.index(tile.row, 0);
        parts(tile, [&](int64_t, int64_t, int64_t block) { scales[size_t(block)].back = stored[block]; });
    }
    void encode(const Truth &truth, Tile tile, int64_t r) const {
        const FromNumbers &known = truth.bf16 ? element.bf16 : element.f32;
        const Encode straight = known.encode;
        uint8_t *codes = row(tile, r);
        runs(tile, known.pairs, [&](int64_t first, int64_t end, int64_t block, int64_t next) {
            Scale scale = scales[size_t(block)];
            scale.second = scales[size_t(next)].forth;
            if (straight) return straight(truth.row(r, first), end - first, scale, codes, first);
            pieces(first, end, [&](int64_t begin, int64_t stop) {
                float values[UNIT];
                truth.floats(r, begin, stop, values);
                element.f32.encode(reinterpret_cast<const uint8_t *>(values), stop - begin, scale, codes, begin);
            });
        });
    }
    void measure(const Truth &truth, Tile tile, int64_t r, Measure &measure) const {
        const MeasureGroups groups = truth.bf16 ? element.bf16.measure : element.f32.measure;
        runs(tile, groups != nullptr, [&](int64_t first, int64_t end, int64_t block, int64_t next) {
            if (groups && ordinary(block) && ordinary(next)) {
                const int64_t whole = (end - first) / GROUP * GROUP;
                const Factors factors{scales[size_t(block)].back, scales[size_t(next)].back};
                (measure.*groups)(truth.row(r, first), row(tile, r), first, whole, factors);
                first += whole;
            }
            blocks.parts(first, end, [&](int64_t from, int64_t to, int64_t one) {
                pieces(from, to, [&](int64_t begin, int64_t stop) { measure_piece(truth, tile, r, {begin, stop}, one, measure); });
            });
        });
    }

  private:
    struct Span {
        int64_t begin, end;
    };
    uint8_t *row(Tile tile, int64_t r) const { return m.codes + (tile.row + r) * m.stride; }
    float limit(int64_t block) const { return element.largest * scales[size_t(block)].back; }
    bool ordinary(int64_t block) const { return Measure::ordinary(largest[size_t(block)], limit(block)); }

    void measure_piece(const Truth &truth, Tile tile, int64_t r, Span span, int64_t block, Measure &measure) const {
        float values[UNIT], stored[UNIT];
        const int64_t count = span.end - span.begin;
        truth.floats(r, span.begin, span.end, values);
        element.decode(row(tile, r), span.begin, count, 1.0f, stored);
        const float scale = scales[size_t(block)].back;
        if (ordinary(block) || Measure::ordinary(truth.largest(r, span.begin, span.end), limit(block)))
            measure.add(values, stored, count, scale);
        else
            measure.add_any(values, stored, count, scale, limit(block));
    }
    template <typename What> void parts(Tile tile, What what) const { blocks.parts(tile.column, tile.column + tile.columns, what); }
    // Calls what(begin, end, block, next block) for parts of a row in one block, or, if asked for, in two that share groups.
    template <typename What> void runs(Tile tile, bool pairs, What what) const {
        int64_t first = tile.column;
        const int64_t end = tile.column + tile.columns;
        if (blocks.paired() && pairs)
            for (; first + GROUP <= end; first += GROUP) what(first, first + GROUP, first / blocks.columns, first / blocks.columns + 1);
        blocks.parts(first, end, [&](int64_t begin, int64_t stop, int64_t block) { what(begin, stop, block, block); });
    }
};

inline void convert(const Matrix &source, const Matrix &target, Size size, Scaling scaling, Rule rule, Errors *errors) {
    const bool scaled = scaling != Scaling::none;
    Stored stored(target, size);
    const Tiling tiling = stored.tiling(size, scaled);
    Truth truth(source, tiling);
    tiling.each([&](Tile tile) {
        truth.move(tile);
        if (scaled || errors) stored.look(truth, tile);
        if (scaled) stored.choose(tile, scaling, rule);
        Measure measure;
        for (int64_t r = 0; r < tile.rows; r++) {
            truth.foresee(r, size.columns);
            stored.encode(truth, tile, r);
            if (errors) stored.measure(truth, tile, r, measure);
        }
        if (errors) measure.fold(tile.rows * tile.columns, *errors);
    });
}

inline void compare(const Matrix &a, const Matrix &b, Size size, Errors &errors) {
    Stored stored(b, size);
    const Tiling tiling = stored.tiling(size, b.scales != nullptr);
    Truth truth(a, tiling);
    tiling.each([&](Tile tile) {
        truth.move(tile);
        stored.look(truth, tile);
        stored.read_scales(tile);
        Measure measure;
        for (int64_t r = 0; r < tile.rows; r++) {
            truth.foresee(r, size.columns);
            stored.measure(truth, tile, r, measure);
        }
        measure.fold(tile.rows * tile.columns, errors);
    });
}

} // namespace codec
