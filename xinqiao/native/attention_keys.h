// Keys and values of attention, in blocks of 64 tokens, strip by strip, and keys transposed, as products want them.
#pragma once
#include "large.h"
#include "tile.h"
#include <vector>

namespace xq {

// Rows of k and v: one for each token, [rows, kv_heads, size] row-major. With a table, token t of sequence i is row
// table[i, t / page] * page + t % page; a page is a multiple of 64 tokens.
struct Cache {
    const void *k, *v;
    int64_t half; // 0: fp32, 1: bf16
    int64_t kv_heads, k_size, v_size; // sizes are multiples of 16
    const int32_t *table;
    int64_t table_row, page;
};

// One sequence: rows of q and of k, and the position of its first query among the tokens.
struct Sequence {
    int64_t q, queries, k, keys, start;
};

inline float widened(uint16_t bf16) { return __builtin_bit_cast(float, uint32_t(bf16) << 16); }

inline const void *row_at(const Cache &cache, const void *base, int64_t size, const Sequence &s, int64_t sequence, int64_t group, int64_t token) {
    int64_t row = s.k + token;
    if (cache.table) row = int64_t(cache.table[sequence * cache.table_row + token / cache.page]) * cache.page + token % cache.page;
    return static_cast<const char *>(base) + (row * cache.kv_heads + group) * size * (cache.half ? 2 : 4);
}

// A block's keys [size, 64], strip by strip.
inline Right turned(const float *at, int64_t size) { return {at, STRIP, size * STRIP}; }

// `rows` rows of `size` numbers, transposed into [size, 64], strip by strip; 0 in the columns behind them.
inline void transpose(Right from, int64_t rows, int64_t size, float *to) {
    const int64_t whole = rows / LANES * LANES;
    const auto column = [&](int64_t r) { return to + r / STRIP * size * STRIP + r % STRIP; };
    for (int64_t r = 0; r < whole; r += LANES)
        for (int64_t d = 0; d < size; d += LANES) transpose16(from.at + r * from.row + d, from.row, column(r) + d * STRIP, STRIP);
    for (int64_t r = whole; r < TILE; r++)
        for (int64_t d = 0; d < size; d++) column(r)[d * STRIP] = r < rows ? from.at[r * from.row + d] : 0.0f;
}

// fp32 rows of a block: in place, or widened into `room`.
inline Right rows_of(const Cache &cache, const void *at, int64_t size, int64_t rows, float *room) {
    const int64_t row = cache.kv_heads * size;
    if (!cache.half) return {static_cast<const float *>(at), row};
    const uint16_t *narrow = static_cast<const uint16_t *>(at);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t d = 0; d < size; d++) room[r * size + d] = widened(narrow[r * row + d]);
    return {room, size};
}

// Blocks of one sequence and key head, each made when asked for, or all of them beforehand.
class Blocks {
  public:
    Blocks(const Cache &cache, const Sequence &s, int64_t sequence, int64_t group) : cache(cache), s(s), sequence(sequence), group(group) {}

    int64_t count() const { return (s.keys + TILE - 1) / TILE; }

    void prepare(bool with_values) {
        packed.resize(size_t(count() * TILE * cache.k_size));
        packed_values.resize(with_values ? size_t(count() * TILE * wide_values()) : 0);
        std::vector<float> room(size_t(TILE * std::max(cache.k_size, cache.v_size)));
        for (int64_t b = 0; b < count(); b++) {
            turn(b, packed.data() + b * TILE * cache.k_size, room.data());
            if (with_values) pack(values_in_place(b, room.data()), rows(b), packed_values.data() + b * TILE * wide_values());
        }
    }

    // A block's keys [k_size, 64] and values [64, v_size]. room: 2 * k_size * 64 numbers, and v_size * 64, for a block to be made in.
    Right keys(int64_t b, float *room) const {
        if (!packed.empty()) return turned(packed.data() + b * TILE * cache.k_size, cache.k_size);
        turn(b, room, room + TILE * cache.k_size);
        return turned(room, cache.k_size);
    }
    Right values(int64_t b, float *room) const {
        if (!packed_values.empty()) return {packed_values.data() + b * TILE * wide_values(), STRIP, TILE * STRIP};
        return values_in_place(b, room);
    }

    // A block that is asked for soon: its lines are fetched while another is computed.
    void prefetch(int64_t b) const {
        if (packed_values.empty()) return;
        const auto fetch = [](const float *at, int64_t count) {
            for (int64_t i = 0; i < count; i += LANES) __builtin_prefetch(at + i, 0, 2);
        };
        fetch(packed.data() + b * TILE * cache.k_size, TILE * cache.k_size);
        fetch(packed_values.data() + b * TILE * wide_values(), TILE * wide_values());
    }

  private:
    int64_t wide_values() const { return (cache.v_size + STRIP - 1) / STRIP * STRIP; }
    Right values_in_place(int64_t b, float *room) const {
        return rows_of(cache, row_at(cache, cache.v, cache.v_size, s, sequence, group, b * TILE), cache.v_size, rows(b), room);
    }
    void pack(Right from, int64_t rows, float *to) const {
        for (int64_t r = 0; r < rows; r++)
            for (int64_t d = 0; d < cache.v_size; d += LANES)
                store(to + d / STRIP * TILE * STRIP + r * STRIP + d % STRIP, load(from.at + r * from.row + d));
    }
    int64_t rows(int64_t b) const { return std::min<int64_t>(TILE, s.keys - b * TILE); }
    void turn(int64_t b, float *to, float *room) const {
        const void *keys = row_at(cache, cache.k, cache.k_size, s, sequence, group, b * TILE);
        transpose(rows_of(cache, keys, cache.k_size, rows(b), room), rows(b), cache.k_size, to);
    }

    const Cache &cache;
    const Sequence &s;
    int64_t sequence, group;
    Large packed, packed_values;
};

} // namespace xq
