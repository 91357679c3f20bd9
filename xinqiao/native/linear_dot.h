// Rows of weights times a few tokens: every weight is read and decoded once for up to eight tokens.
#pragma once
#include "linear_steps.h"

namespace xq {

// Lines of weights are asked for this many rows before they are needed; measured, 8 to 16 are best.
constexpr int64_t AHEAD = 12;

// Rows of codes: row r begins at `at + r * stride` bytes.
struct Codes {
    const uint8_t *at;
    int64_t stride, columns;
};

// Scales of a row's blocks of 32 columns, two a step; rows lie `stride` apart, 0: they share theirs. at is null: unscaled.
struct StepScales {
    const float *at = nullptr;
    int64_t stride = 0;
};

// Arranged activations, 64-byte aligned, padded with zeros to whole steps; tokens lie `stride` apart.
template <typename T> struct Arranged {
    const T *at;
    int64_t stride;
};

template <int rows, int tokens, bool scaled, class Kind> class Dot {
    static constexpr int CHAINS = !scaled && rows * tokens < 8 ? 2 : 1; // sums that do not wait for each other
    using Sum = decltype(Kind::zero());
    Sum sum[rows][tokens][CHAINS];
    const Kind &kind;

    void step(const typename Kind::Weights (&w)[rows], const typename Kind::Input *x, int64_t stride, const Floats (&scale)[rows]) {
        for (int t = 0; t < tokens; t++)
            for (int r = 0; r < rows; r++) {
                if constexpr (scaled) {
                    Sum block = Kind::zero();
                    for (int i = 0; i < Kind::PARTS; i++) block = kind.part(i, w[r], x + t * stride, block);
                    sum[r][t][0] = fma(block, scale[r], sum[r][t][0]);
                } else {
                    for (int i = 0; i < Kind::PARTS; i++) sum[r][t][i % CHAINS] = kind.part(i, w[r], x + t * stride, sum[r][t][i % CHAINS]);
                }
            }
    }

  public:
    explicit Dot(const Kind &k) : kind(k) {
        for (auto &row : sum)
            for (auto &token : row)
                for (auto &chain : token) chain = Kind::zero();
    }

    void run(Codes w, Arranged<typename Kind::Input> x, StepScales scales) {
        typename Kind::Weights now[rows];
        Floats scale[rows];
        const int64_t whole = w.columns / STEP;
        const auto scales_of = [&](int64_t s) {
            for (int r = 0; scaled && r < rows; r++) {
                const float *two = scales.at + r * scales.stride + 2 * s;
                scale[r] = keep(all(two[0]), 0, 8, two[1]);
            }
        };
        for (int64_t s = 0; s < whole; s++) {
            for (int r = 0; r < rows; r++) {
                const uint8_t *at = w.at + r * w.stride + s * Kind::WIDTH;
                for (int line = 0; line < Kind::WIDTH; line += 64) __builtin_prefetch(at + AHEAD * w.stride + line);
                now[r] = kind.weights(at);
            }
            scales_of(s);
            step(now, x.at + s * STEP, x.stride, scale);
        }
        if (const int64_t left = w.columns % STEP) {
            for (int r = 0; r < rows; r++) {
                const Padded<uint8_t> last(w.at + r * w.stride + whole * Kind::WIDTH, left * Kind::WIDTH / STEP);
                now[r] = kind.weights(last.at);
            }
            scales_of(whole);
            step(now, x.at + whole * STEP, x.stride, scale);
        }
    }

    auto value(int row, int token) const {
        const Sum &first = sum[row][token][0];
        return total(CHAINS == 2 ? first + sum[row][token][CHAINS - 1] : first);
    }
};

// out[token * out_stride + row] of `rows` rows and `tokens` <= most tokens. x has zeros for those up to `most`.
template <int together, int most, bool scaled, class Kind>
void few(const Kind &kind, int64_t rows, Codes w, int64_t tokens, Arranged<typename Kind::Input> x, StepScales scales,
         typename Kind::Total *out, int64_t out_stride) {
    int64_t row = 0;
    const auto take = [&](auto count) {
        Dot<count.value, most, scaled, Kind> dot(kind);
        dot.run({w.at + row * w.stride, w.stride, w.columns}, x, {scales.at + row * scales.stride, scales.stride});
        for (int r = 0; r < count.value; r++)
            for (int t = 0; t < tokens; t++) out[t * out_stride + row + r] = dot.value(r, t);
        row += count.value;
    };
    while (row + together <= rows) take(std::integral_constant<int, together>());
    while (row < rows) take(std::integral_constant<int, 1>());
}

// How many tokens `count` of them are computed as.
constexpr int64_t padded(int64_t count) { return count <= 2 ? std::max<int64_t>(count, 1) : count <= 4 ? 4 : 8; }

// For up to TOGETHER tokens; see `few`.
template <bool scaled, class Kind>
void dots(const Kind &kind, int64_t rows, Codes w, int64_t tokens, Arranged<typename Kind::Input> x, StepScales scales,
          typename Kind::Total *out, int64_t out_stride) {
    const int64_t most = padded(tokens);
    if (most == 1) return few<4, 1, scaled>(kind, rows, w, tokens, x, scales, out, out_stride);
    if (most == 2) return few<4, 2, scaled>(kind, rows, w, tokens, x, scales, out, out_stride);
    if (most == 4) return few<4, 4, scaled>(kind, rows, w, tokens, x, scales, out, out_stride);
    few<2, 8, scaled>(kind, rows, w, tokens, x, scales, out, out_stride);
}

} // namespace xq
