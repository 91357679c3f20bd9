// Tiles: what is converted at a time. A tile's source stays in the second-level cache between the passes over it.
#pragma once
#include "codec_measure.h"
#include "codec_scales.h"
#include <memory>
#include <numeric>
#include <vector>

namespace codec {

constexpr int64_t UNIT = 256;  // columns: a multiple of every group that an element has of its own
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
    Truth(const Matrix &m, const Tiling &tiling)
        : source(m), blocks(m, tiling.size), direct(!m.scales && (m.element == KIND_BF16 || m.element == KIND_F32)),
          values(direct ? nullptr : new float[size_t(tiling.height * tiling.width)]) {}

    void move(Tile to) {
        tile = to;
        if (direct) return;
        for (int64_t r = 0; r < tile.rows; r++) {
            float *out = values.get() + r * tile.columns;
            source.format().decode(source.codes + (tile.row + r) * source.stride, tile.column, tile.columns, out);
            if (!source.scales) continue;
            const float *scales = source.scales + blocks.index(tile.row + r, 0);
            blocks.parts(tile.column, tile.column + tile.columns, [&](int64_t begin, int64_t end, int64_t block) {
                for (int64_t i = begin - tile.column; i < end - tile.column; i++) out[i] *= scales[block];
            });
        }
    }
    // Columns [begin, end) of row `r` of the tile; `spare` is where they go if they are not fp32 already.
    const float *row(int64_t r, int64_t begin, int64_t end, Floats spare) const {
        if (!direct) return values.get() + r * tile.columns + (begin - tile.column);
        source.format().decode(source.codes + (tile.row + r) * source.stride, begin, end - begin, spare);
        return spare;
    }
    void raise(int64_t r, int64_t begin, int64_t end, uint32_t &largest) const { // to the largest magnitude, as bits
        if (direct && source.element == KIND_BF16) {
            const Two *codes = reinterpret_cast<const Two *>(source.codes + (tile.row + r) * source.stride);
            uint16_t found = 0;
            for (int64_t i = begin; i < end; i++) found = std::max(found, uint16_t(codes[i] & 0x7fff));
            largest = std::max(largest, uint32_t(found) << 16);
        } else {
            pieces(begin, end, [&](int64_t from, int64_t to) {
                float spare[UNIT];
                largest = std::max(largest, largest_magnitude(row(r, from, to, spare), to - from));
            });
        }
    }
};

inline void encode_row(const Truth &truth, const Matrix &m, const Blocks &blocks, Tile tile, int64_t r, const Scale *scales) {
    uint8_t *codes = m.codes + (tile.row + r) * m.stride;
    pieces(tile.column, tile.column + tile.columns, [&](int64_t first, int64_t end) {
        float spare[UNIT];
        const float *a = truth.row(r, first, end, spare);
        blocks.parts(first, end, [&](int64_t begin, int64_t stop, int64_t block) {
            m.format().encode(a + begin - first, stop - begin, scales[block], codes, begin);
        });
    });
}

inline void measure_row(const Truth &truth, const Matrix &m, const Blocks &blocks, Tile tile, int64_t r, Measure &measure) {
    const float *scales = m.scales ? m.scales + blocks.index(tile.row + r, 0) : nullptr;
    const float top = m.format().largest;
    pieces(tile.column, tile.column + tile.columns, [&](int64_t first, int64_t end) {
        float spare[UNIT], stored[UNIT];
        const float *a = truth.row(r, first, end, spare);
        m.format().decode(m.codes + (tile.row + r) * m.stride, first, end - first, stored);
        blocks.parts(first, end, [&](int64_t begin, int64_t stop, int64_t block) {
            const float scale = scales ? scales[block] : 1.0f;
            measure.add(a + begin - first, stored + begin - first, stop - begin, scale, top * scale);
        });
    });
}

// The scales of one row of blocks, by their number across.
class Scales {
    std::vector<uint32_t> largest;
    std::vector<Scale> chosen;

  public:
    explicit Scales(const Blocks &blocks) : largest(size_t(blocks.across)), chosen(size_t(blocks.across), Scale{1, 1, false}) {}
    const Scale *all() const { return chosen.data(); }

    void choose(const Truth &truth, const Matrix &m, const Blocks &blocks, Tile tile, Scaling scaling, Rule rule) {
        const int64_t first = tile.column, end = tile.column + tile.columns;
        blocks.parts(first, end, [&](int64_t, int64_t, int64_t block) { largest[size_t(block)] = 0; });
        for (int64_t r = 0; r < tile.rows; r++)
            blocks.parts(first, end, [&](int64_t begin, int64_t stop, int64_t block) {
                truth.raise(r, begin, stop, largest[size_t(block)]);
            });
        float *stored = m.scales + blocks.index(tile.row, 0);
        blocks.parts(first, end, [&](int64_t, int64_t, int64_t block) {
            chosen[size_t(block)] = codec::choose(largest[size_t(block)], m.format(), scaling, rule);
            stored[block] = chosen[size_t(block)].back;
        });
    }
};

inline void convert(const Matrix &source, const Matrix &target, Size size, Scaling scaling, Rule rule, Errors *errors) {
    const bool scaled = scaling != Scaling::none;
    const Blocks blocks(target, size);
    const Tiling tiling(blocks, size, scaled);
    Truth truth(source, tiling);
    Scales scales(blocks);
    tiling.each([&](Tile tile) {
        truth.move(tile);
        if (scaled) scales.choose(truth, target, blocks, tile, scaling, rule);
        Measure measure;
        for (int64_t r = 0; r < tile.rows; r++) {
            encode_row(truth, target, blocks, tile, r, scales.all());
            if (errors) measure_row(truth, target, blocks, tile, r, measure);
        }
        if (errors) measure.fold(tile.rows * tile.columns, *errors);
    });
}

inline void compare(const Matrix &a, const Matrix &b, Size size, Errors &errors) {
    const Blocks blocks(b, size);
    const Tiling tiling(blocks, size, b.scales != nullptr);
    Truth truth(a, tiling);
    tiling.each([&](Tile tile) {
        truth.move(tile);
        Measure measure;
        for (int64_t r = 0; r < tile.rows; r++) measure_row(truth, b, blocks, tile, r, measure);
        measure.fold(tile.rows * tile.columns, errors);
    });
}

} // namespace codec
