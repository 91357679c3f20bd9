// The weights of all experts, and sixteen rows of one of them as a kernel takes them.
#pragma once
#include "linear_scales.h"
#include "moe_multiply.h"
#include <vector>

namespace xq::moe {

enum class Kind : int32_t { f32, bf16, e4m3, int8 };
enum class Scaling : int32_t { none, f32, e8m0 }; // of e4m3: a block's; int8's rows have theirs elsewhere

struct Powers { // of two, by their UE8M0 codes
    float at[256];
    constexpr Powers() : at() {
        for (uint32_t code = 0; code < 256; code++) at[code] = codec::E8M0::value(code);
    }
};
inline constexpr Powers POWERS;

struct Weights { // as in cpu/moe.py
    const uint8_t *codes; // [experts, n, k]
    const uint8_t *scales; // [experts, blocks down, blocks across]; int8: float [experts, n]
    int64_t experts, n, k, block_rows, block_columns;
    Kind kind;
    Scaling scaling;

    int64_t size() const { return kind == Kind::f32 ? 4 : kind == Kind::bf16 ? 2 : 1; }
    const uint8_t *row(int64_t expert, int64_t r) const { return codes + (expert * n + r) * k * size(); }
    int64_t across() const { return (k + block_columns - 1) / block_columns; }
    int64_t scale(int64_t expert, int64_t r) const { // the place of the row's first
        return (expert * ((n + block_rows - 1) / block_rows) + r / block_rows) * across();
    }
    float factor(int64_t place) const {
        return scaling == Scaling::e8m0 ? POWERS.at[scales[place]] : codec::load<float>(scales, place);
    }
    Fp8Weights of(int64_t expert) const { // e4m3, in blocks of multiples of 32 columns
        const int32_t bytes = scaling == Scaling::f32 ? 4 : 1;
        return {row(expert, 0), scales + scale(expert, 0) * bytes, n, k, bytes, int32_t(block_rows), int32_t(block_columns)};
    }
    float row_factor(int64_t expert, int64_t r) const { return codec::load<float>(scales, expert * n + r); } // of int8
};

#if defined(XQ_BF16_STEPS)

inline __m512i up_to_64(const uint8_t *codes, int64_t count) { // then zeros
    return count >= 64 ? _mm512_loadu_si512(codes) : _mm512_maskz_loadu_epi8((1ull << count) - 1, codes);
}

// Rows of e4m3 times tokens, without a place in memory between: sums of a block, times its scale, are added up. place: of each
// row's first scale.
template <int rows, int tokens>
inline void add_blocks(const Weights &w, const uint8_t *codes, const int64_t (&place)[rows], int64_t depth, const uint16_t *x,
                       __m512 (&sum)[rows][tokens]) {
    const E4m3Decoder decode;
    __m512 part[rows][tokens];
    const auto step = [&](int64_t k, auto some) {
        Bf16Pair pair[rows];
        for (int r = 0; r < rows; r++) {
            soon(codes + k * rows + r * 64); // lines of all the rows, in their order
            pair[r] = decode(some(codes + r * w.k + k));
        }
        for (int t = 0; t < tokens; t++) {
            const Bf16::Operand a = Bf16::load(x + t * depth + k), b = Bf16::load(x + t * depth + k + 32);
            for (int r = 0; r < rows; r++) part[r][t] = Bf16::step(part[r][t], Bf16::Operand(pair[r].a), a);
            for (int r = 0; r < rows; r++) part[r][t] = Bf16::step(part[r][t], Bf16::Operand(pair[r].b), b);
        }
    };
    for (int64_t first = 0, block = 0; first < w.k; first += w.block_columns, block++) {
        const int64_t end = std::min(w.k, first + w.block_columns);
        for (auto &row : part)
            for (auto &p : row) p = _mm512_setzero_ps();
        int64_t k = first;
        for (; k + 64 <= end; k += 64) step(k, [](const uint8_t *at) { return _mm512_loadu_si512(at); });
        if (k < end) step(k, [&](const uint8_t *at) { return up_to_64(at, end - k); });
        for (int r = 0; r < rows; r++) {
            const __m512 factor = _mm512_set1_ps(w.factor(place[r] + block));
            for (int t = 0; t < tokens; t++) sum[r][t] = _mm512_fmadd_ps(part[r][t], factor, sum[r][t]);
        }
    }
}

// Tables of e4m3 times each UE8M0 scale. Exact: e4m3 has four bits, and below 2^-126 the products of `vdpbf16ps` are zero.
inline const E4m3Tables *tables() {
    static const std::vector<E4m3Tables> made = [] {
        std::vector<E4m3Tables> all;
        for (uint32_t scale = 0; scale < 256; scale++) all.emplace_back(codec::E8M0::value(scale));
        return all;
    }();
    return made.data();
}

// A row as bf16, in the order of `E4m3Decoder`. to: whole vectors of 64.
inline void spell(const Weights &w, const uint8_t *codes, int64_t place, uint16_t *to) {
    const uint8_t *scale = w.scales + place;
    const E4m3Tables *all = tables();
    if (w.block_columns % 64 == 0)
        for (int64_t first = 0; first < w.k; first += w.block_columns) {
            const E4m3Decoder decode(all[*scale++]);
            for (int64_t k = first; k < std::min(w.k, first + w.block_columns); k += 64) {
                const Bf16Pair pair = decode(up_to_64(codes + k, w.k - k));
                _mm512_storeu_si512(to + k, pair.a);
                _mm512_storeu_si512(to + k + 32, pair.b);
            }
        }
    else
        for (int64_t k = 0; k < w.k; k += 64) { // two halves may be of two blocks
            const __m512i some = up_to_64(codes + k, w.k - k);
            const int64_t last = std::min(k + 32, w.k - 1);
            const Bf16Pair x = E4m3Decoder(all[scale[k / w.block_columns]])(some), y = E4m3Decoder(all[scale[last / w.block_columns]])(some);
            _mm512_storeu_si512(to + k, _mm512_mask_mov_epi32(x.a, 0xff00, y.a));
            _mm512_storeu_si512(to + k + 32, _mm512_mask_mov_epi32(x.b, 0xff00, y.b));
        }
}

inline void fill(const Weights &w, const uint8_t *codes, int64_t place, uint16_t *to, Bf16) {
    if (w.kind == Kind::bf16) return void(std::memcpy(to, codes, size_t(w.k) * 2));
    spell(w, codes, place, to);
}

#endif

inline void fill(const Weights &w, const uint8_t *codes, int64_t place, float *to, Fp32) {
    if (w.kind == Kind::f32) return void(std::memcpy(to, codes, size_t(w.k) * 4));
    if (w.kind == Kind::bf16) {
        for (int64_t k = 0; k < w.k; k++) to[k] = codec::BF16::value(codec::load<uint16_t>(codes, k));
        return;
    }
    for (int64_t first = 0; first < w.k; first += w.block_columns) {
        const int64_t count = std::min(w.k - first, w.block_columns);
        e4m3_values(codes + first, count, w.factor(place++), to + first);
    }
}

inline void fill(const Weights &w, const uint8_t *codes, int64_t, int16_t *to, Int16) {
    for (int64_t k = 0; k < w.k; k++) to[k] = int8_t(codes[k]);
}

#if defined(__AVX2__)

// 32 codes of int8, or fewer and zeros.
inline Int16::Operand up_to_32(const uint8_t *codes, int64_t count) {
#if defined(__AVX512BW__)
    const auto *at = reinterpret_cast<const __m256i *>(codes);
    return _mm512_cvtepi8_epi16(count >= 32 ? _mm256_loadu_si256(at) : _mm256_maskz_loadu_epi8((1u << count) - 1, codes));
#else
    const auto wide = [](const uint8_t *at) { return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(at))); };
    if (count >= 32) return {wide(codes), wide(codes + 16)};
    uint8_t last[32] = {};
    std::copy_n(codes, count, last);
    return {wide(last), wide(last + 16)};
#endif
}

template <int rows, int tokens>
inline void add_bytes(const Weights &w, const uint8_t *codes, int64_t depth, const int16_t *x, Int16::Sum (&sum)[rows][tokens]) {
    for (int64_t k = 0; k < w.k; k += 32)
        for (int r = 0; r < rows; r++) {
            soon(codes + k * rows + r * 32);
            const Int16::Operand row = up_to_32(codes + r * w.k + k, w.k - k);
            for (int t = 0; t < tokens; t++) sum[r][t] = Int16::step(sum[r][t], row, Int16::load(x + t * depth + k));
        }
}

#endif

#if defined(XQ_E4M3_HALVES)

// Sixteen bfloat16 numbers.
inline Floats from_bf16(const uint16_t *at) {
    const auto eight = [&](int i) {
        const __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(at) + i));
        return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
    };
    return {eight(0), eight(1)};
}

// f(row, token) for each.
template <int rows, int tokens, typename F> [[gnu::always_inline]] inline void each_sum(F f) {
    unrolled<rows>([&](auto r) __attribute__((always_inline)) { unrolled<tokens>([&](auto t) __attribute__((always_inline)) { f(r, t); }); });
}

// Rows of bf16 times tokens, without a place in memory between.
template <int rows, int tokens>
inline void add_bf16(const Weights &w, const uint8_t *codes, int64_t depth, const float *x, Floats (&to)[rows][tokens]) {
    const auto *first = reinterpret_cast<const uint16_t *>(codes);
    Floats sum[rows][tokens];
    each_sum<rows, tokens>([&](auto r, auto t) __attribute__((always_inline)) { sum[r][t] = all(0.0f); });
    const auto step = [&](int64_t k, const uint16_t *at, int64_t stride) __attribute__((always_inline)) {
        Floats some[rows];
        unrolled<rows>([&](auto r) __attribute__((always_inline)) {
            soon(first + k * rows + r * LANES);
            some[r] = from_bf16(at + r * stride);
        });
        each_sum<rows, tokens>([&](auto r, auto t) __attribute__((always_inline)) { sum[r][t] = fma(some[r], load(x + t * depth + k), sum[r][t]); });
    };
    int64_t k = 0;
    for (; k + LANES <= w.k; k += LANES) step(k, first + k, w.k);
    if (k < w.k) {
        uint16_t last[rows][LANES] = {};
        for (int r = 0; r < rows; r++) std::copy_n(first + r * w.k + k, w.k - k, last[r]);
        step(k, last[0], LANES);
    }
    each_sum<rows, tokens>([&](auto r, auto t) __attribute__((always_inline)) { to[r][t] = sum[r][t]; });
}

#endif

template <class D> constexpr Kind NATIVE = std::is_same_v<typename D::Element, float> ? Kind::f32 : Kind::bf16;

// Rows of an expert from `first` up to, not including, `end`, at most sixteen, and zeros below them.
template <class D> class Strip {
    using Element = typename D::Element;
    const Weights &w;
    const uint8_t *const codes;
    const int64_t depth, place, across, above; // place: of the first row's scale; above: rows of its block above it
    const Element *direct = nullptr;
    Room &space;

    const uint8_t *row(int64_t r) const { return codes + r * w.k * w.size(); }
    int64_t scale(int64_t r) const { return above + r < w.block_rows ? place : place + (above + r) / w.block_rows * across; }
    const Element *made(int64_t r, Element *to) const {
        std::fill(to + (r < count ? w.k : 0), to + depth, Element(0));
        if (r < count) fill(w, row(r), scale(r), to, D());
        return to;
    }

    template <int rows, int tokens> void products(int64_t r, const Element *x, typename D::Sum (&sum)[rows][tokens]) const {
#if defined(XQ_BF16_STEPS)
        if constexpr (std::is_same_v<D, Bf16>)
            if (w.kind == Kind::e4m3 && w.block_columns % 64 == 0) {
                int64_t places[rows];
                for (int i = 0; i < rows; i++) places[i] = scale(r + i);
                return add_blocks(w, row(r), places, depth, x, sum);
            }
#endif
#if defined(XQ_E4M3_HALVES)
        if constexpr (std::is_same_v<D, Fp32>)
            if (w.kind == Kind::bf16) return add_bf16(w, row(r), depth, x, sum);
#endif
#if defined(__AVX2__)
        if constexpr (std::is_same_v<D, Int16>) return add_bytes(w, row(r), depth, x, sum);
#endif
        const Element *at = direct ? direct + r * depth : space.need<Element>(rows * depth);
        for (int i = 0; i < rows && !direct; i++) made(r + i, const_cast<Element *>(at) + i * depth);
        for (int64_t k = 0; k < depth; k += STEP<D>)
            for (int i = 0; i < rows; i++) {
                if (direct) soon(at + k * rows + i * STEP<D>);
                const typename D::Operand some = D::load(at + i * depth + k);
                for (int t = 0; t < tokens; t++) sum[i][t] = D::step(sum[i][t], some, D::load(x + t * depth + k));
            }
    }

  public:
    const int64_t count;
    Strip(const Weights &weights, int64_t expert, int64_t first, int64_t end, int64_t depth_, Room &scratch)
        : w(weights), codes(w.row(expert, first)), depth(depth_), place(w.scale(expert, first)), across(w.across()),
          above(first % w.block_rows), space(scratch), count(std::clamp<int64_t>(end - first, 0, STRIP)) {
        if (!std::is_same_v<D, Int16> && w.kind == NATIVE<D> && depth == w.k && count == STRIP)
            direct = reinterpret_cast<const Element *>(codes);
    }
    // Products of rows from r on with tokens x, `depth` apart, to `sums`.
    template <int rows, int tokens> void add(int64_t r, const Element *x, typename D::Sum (&sums)[tokens][STRIP]) const {
        typename D::Sum sum[rows][tokens];
        for (auto &row : sum)
            for (auto &token : row) token = D::zero();
        products(r, x, sum);
        for (int t = 0; t < tokens; t++)
            for (int i = 0; i < rows; i++) sums[t][r + i] = sum[i][t];
    }
    Rows<D> rows() const {
        if (direct) return direct;
        Element *all = space.need<Element>(STRIP * depth);
        for (int64_t r = 0; r < STRIP; r++) made(r, all + r * depth);
        return all;
    }
};

} // namespace xq::moe
