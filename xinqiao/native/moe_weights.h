// The weights of all experts, and sixteen rows of one of them as a kernel takes them.
#pragma once
#include "codec_elements.h"
#include "moe_multiply.h"

namespace xq::moe {

enum class Kind : int32_t { f32, bf16, e4m3, int8 };
enum class Scaling : int32_t { none, f32, e8m0 }; // of e4m3: a block's; int8's rows have theirs elsewhere

struct Weights { // as in cpu/moe.py
    const uint8_t *codes; // [experts, n, k]
    const uint8_t *scales; // [experts, blocks down, blocks across]; int8: float [experts, n]
    int64_t experts, n, k, block_rows, block_columns;
    Kind kind;
    Scaling scaling;

    int64_t size() const { return kind == Kind::f32 ? 4 : kind == Kind::bf16 ? 2 : 1; }
    const uint8_t *row(int64_t expert, int64_t r) const { return codes + (expert * n + r) * k * size(); }
    int64_t scale(int64_t expert, int64_t r) const { // the place of the row's first
        const int64_t down = (n + block_rows - 1) / block_rows, across = (k + block_columns - 1) / block_columns;
        return (expert * down + r / block_rows) * across;
    }
    float factor(int64_t place) const {
        if (scaling == Scaling::e8m0) return codec::E8M0::value(scales[place]);
        return scaling == Scaling::f32 ? codec::load<float>(scales, place) : 1.0f;
    }
    float row_factor(int64_t expert, int64_t r) const { return codec::load<float>(scales, expert * n + r); } // of int8
};

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)

// The bfloat16 of each of 128 magnitudes times each power of two, as a low and a high byte. Exact: e4m3 has four bits. Below
// 2^-126 the products of `vdpbf16ps` are zero.
struct Table {
    uint8_t low[128], high[128];
};
inline const Table *tables() {
    static const std::vector<Table> made = [] {
        std::vector<Table> all(256);
        for (uint32_t scale = 0; scale < 256; scale++)
            for (uint32_t code = 0; code < 128; code++) {
                const uint32_t value = codec::BF16::code(codec::E4M3FN::value(code) * codec::E8M0::value(scale));
                all[scale].low[code] = uint8_t(value), all[scale].high[code] = uint8_t(value >> 8);
            }
        return all;
    }();
    return made.data();
}

inline void spell(const Table &table, const uint8_t *codes, int64_t count, uint16_t *to) { // to: whole vectors of 64
    const __m512i low0 = _mm512_loadu_si512(table.low), low1 = _mm512_loadu_si512(table.low + 64);
    const __m512i high0 = _mm512_loadu_si512(table.high), high1 = _mm512_loadu_si512(table.high + 64);
    const __m512i sign = _mm512_set1_epi8(int8_t(0x80)), order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    for (int64_t i = 0; i < count; i += 64) {
        const __mmask64 some = count - i >= 64 ? ~0ull : (1ull << (count - i)) - 1;
        const __m512i code = _mm512_permutexvar_epi64(order, _mm512_maskz_loadu_epi8(some, codes + i));
        const __m512i low = _mm512_permutex2var_epi8(low0, code, low1);
        const __m512i high = _mm512_ternarylogic_epi32(_mm512_permutex2var_epi8(high0, code, high1), code, sign, 0xf8);
        _mm512_storeu_si512(to + i, _mm512_unpacklo_epi8(low, high));
        if (count - i > 32) _mm512_storeu_si512(to + i + 32, _mm512_unpackhi_epi8(low, high));
    }
}

inline void fill(const Weights &w, int64_t expert, int64_t r, uint16_t *to, Bf16) {
    const uint8_t *codes = w.row(expert, r);
    if (w.kind == Kind::bf16) return void(std::memcpy(to, codes, size_t(w.k) * 2));
    const int64_t place = w.scale(expert, r);
    for (int64_t k = 0; k < w.k; k += w.block_columns)
        spell(tables()[w.scales[place + k / w.block_columns]], codes + k, std::min(w.block_columns, w.k - k), to + k);
}

#endif

inline void fill(const Weights &w, int64_t expert, int64_t r, float *to, Fp32) {
    const uint8_t *codes = w.row(expert, r);
    if (w.kind == Kind::f32) return void(std::memcpy(to, codes, size_t(w.k) * 4));
    if (w.kind == Kind::bf16) {
        for (int64_t k = 0; k < w.k; k++) to[k] = codec::BF16::value(codec::load<uint16_t>(codes, k));
        return;
    }
    const int64_t place = w.scale(expert, r);
    for (int64_t first = 0; first < w.k; first += w.block_columns) {
        const float factor = w.factor(place + first / w.block_columns);
        const int64_t end = std::min(w.k, first + w.block_columns);
        for (int64_t k = first; k < end; k++) to[k] = codec::E4M3FN::value(codes[k]) * factor;
    }
}

inline void fill(const Weights &w, int64_t expert, int64_t r, int16_t *to, Int16) {
    const uint8_t *codes = w.row(expert, r);
    for (int64_t k = 0; k < w.k; k++) to[k] = int8_t(codes[k]);
}

template <class D> constexpr Kind NATIVE = std::is_same_v<typename D::Element, float> ? Kind::f32 : Kind::bf16;

// Rows of an expert from `first` up to, not including, `end`, and zeros below them; in `space` unless they can be used as they lie.
template <class D>
inline Rows<D> rows(const Weights &w, int64_t expert, int64_t first, int64_t end, int64_t depth, std::vector<typename D::Element> &space) {
    using Element = typename D::Element;
    if (!std::is_same_v<D, Int16> && w.kind == NATIVE<D> && depth == w.k && end - first >= STRIP)
        return {reinterpret_cast<const Element *>(w.row(expert, first)), depth, STRIP * depth * int64_t(sizeof(Element))};
    space.resize(size_t(STRIP * depth) + 64);
    for (int64_t r = 0; r < STRIP; r++) {
        Element *to = space.data() + r * depth;
        const bool inside = first + r < end;
        if (inside) fill(w, expert, first + r, to, D());
        std::memset(to + (inside ? w.k : 0), 0, size_t(depth - (inside ? w.k : 0)) * sizeof(Element));
    }
    return {space.data(), depth, 0};
}

} // namespace xq::moe
