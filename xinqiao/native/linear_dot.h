// Rows of weights times a few tokens: every weight is read and decoded once for up to eight tokens.
#pragma once
#include "linear_steps.h"
#include <limits>

namespace xq {

// Rows of codes: row r begins at `at + r * stride` bytes. ahead: bytes from what is read to what is asked for, into the second
// cache; see `ahead_of`.
struct Codes {
    const uint8_t *at;
    int64_t stride, columns, ahead = 0;
};

// How rows that are taken together lie.
#if defined(__AVX512F__)
// Side by side. Lines are asked for some rows ahead: rows of 4 KB that lie one after the other would push each other out of the
// first cache (measured: 26 GB/s against 17; 8 rows are as good as 12 or 16).
constexpr bool APART = false;
constexpr bool EACH_TOKEN = true; // sums of blocks: as many as registers have room for beside the others
inline int64_t ahead_of(int64_t, int64_t stride) { return 8 * stride; }
#else
// As far apart as the panel allows: each is a stream of its own, which the processor follows by itself, too. Measured on Zen 3:
// 10 GB/s at any length of rows, against 5 at 1 KB and 7 at 4 KB where they lie side by side. Of parts of rows, the next row's.
constexpr bool APART = true;
constexpr bool EACH_TOKEN = false; // every part is decoded once for all tokens
inline int64_t ahead_of(int64_t bytes, int64_t stride) { return bytes == stride ? 1024 : stride; }
#endif

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
    static constexpr int CHAINS = !scaled && rows * tokens < Kind::CHAINED ? 2 : 1; // sums that do not wait for each other
    using Sum = decltype(Kind::zero());
    Sum sum[rows][tokens][CHAINS];
    typename Kind::Seen seen[rows];
    const Kind &kind;

    using Row = typename Kind::Weights;

    void step(const Row (&w)[rows], const typename Kind::Input *x, int64_t stride, const Floats (&scale)[rows]) {
        if constexpr (scaled && EACH_TOKEN)
            unrolled<tokens>([&](auto t) __attribute__((always_inline)) { add<1>(t, w, x, stride, scale); });
        else
            add<tokens>(0, w, x, stride, scale);
    }

    // Tokens from `first` on.
    template <int some>
    [[gnu::always_inline]] void add(int first, const Row (&w)[rows], const typename Kind::Input *x, int64_t stride, const Floats (&scale)[rows]) {
        const auto each = [&](auto f) __attribute__((always_inline)) {
            unrolled<some>([&](auto t) __attribute__((always_inline)) { unrolled<rows>([&](auto r) __attribute__((always_inline)) { f(r, t); }); });
        };
        Sum block[rows][some];
        if constexpr (scaled) each([&](auto r, auto t) __attribute__((always_inline)) { block[r][t] = Kind::zero(); });
        unrolled<Kind::PARTS>([&](auto i) __attribute__((always_inline)) {
            each([&](auto r, auto t) __attribute__((always_inline)) {
                Sum &to = scaled ? block[r][t] : sum[r][first + t][i % CHAINS];
                to = kind.part(i, w[r], Kind::input(i, x + (first + t) * stride), to);
            });
        });
        if constexpr (scaled)
            each([&](auto r, auto t) __attribute__((always_inline)) { sum[r][first + t][0] = fma(block[r][t], scale[r], sum[r][first + t][0]); });
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
                for (int line = 0; line < Kind::WIDTH; line += 64) __builtin_prefetch(at + w.ahead + line, 0, 2);
                now[r] = kind.weights(at, seen[r]);
            }
            scales_of(s);
            step(now, x.at + s * STEP, x.stride, scale);
        }
        if (const int64_t left = w.columns % STEP) {
            for (int r = 0; r < rows; r++) {
                const Padded<uint8_t> last(w.at + r * w.stride + whole * Kind::WIDTH, left * Kind::WIDTH / STEP);
                now[r] = kind.weights(last.at, seen[r]);
            }
            scales_of(whole);
            step(now, x.at + whole * STEP, x.stride, scale);
        }
    }

    auto value(int row, int token) const {
        const Sum &first = sum[row][token][0];
        const auto found = total(CHAINS == 2 ? first + sum[row][token][CHAINS - 1] : first);
        return seen[row].any() ? std::numeric_limits<decltype(found)>::quiet_NaN() : found;
    }
};

// Where results go: at[token * stride + row]; `add`: to what is there.
template <typename T> struct Sums {
    T *at;
    int64_t stride;
    bool add = false;
};

// `rows` rows times `tokens` tokens, up to `most` at once. x has zeros for what the last ones lack. A function of its own, so that
// its sums have the registers.
template <int together, int most, bool scaled, class Kind>
[[gnu::noinline]] void few(const Kind &kind, int64_t rows, Codes w, int64_t tokens, Arranged<typename Kind::Input> x, StepScales scales,
         Sums<typename Kind::Total> out) {
    // count rows, of which the first is `row`.
    const auto take = [&](auto count, int64_t row, int64_t apart) {
        for (int64_t first = 0; first < tokens; first += most) {
            Dot<count.value, most, scaled, Kind> dot(kind);
            dot.run({w.at + row * w.stride, apart * w.stride, w.columns, w.ahead}, {x.at + first * x.stride, x.stride},
                    {scales.at + row * scales.stride, apart * scales.stride});
            for (int r = 0; r < count.value; r++)
                for (int t = 0; t < std::min<int64_t>(most, tokens - first); t++) {
                    auto &to = out.at[(first + t) * out.stride + row + r * apart];
                    to = out.add ? to + dot.value(r, t) : dot.value(r, t);
                }
        }
    };
    const int64_t whole = rows / together;
    for (int64_t i = 0; i < whole; i++) take(std::integral_constant<int, together>(), APART ? i : i * together, APART ? whole : 1);
    for (int64_t row = whole * together; row < rows; row++) take(std::integral_constant<int, 1>(), row, 1);
}

// How many tokens `count` of them are computed as.
constexpr int64_t padded(int64_t count) { return count <= 2 ? std::max<int64_t>(count, 1) : count <= 4 ? 4 : 8; }

// How many rows are taken together with some tokens.
template <class Kind> constexpr int rows_of(int tokens) { return std::clamp(Kind::SUMS / tokens, 1, Kind::ROWS); }

constexpr int64_t NEAR = 32768; // bytes of activations that stay near while rows go by

// For up to TOGETHER tokens; see `few`. Columns in parts whose activations stay in a near cache.
template <bool scaled, class Kind>
void dots(const Kind &kind, int64_t rows, Codes w, int64_t tokens, Arranged<typename Kind::Input> x, StepScales scales,
          Sums<typename Kind::Total> out) {
    const int64_t most = padded(tokens), part = NEAR / most / int64_t(sizeof(typename Kind::Input));
    for (int64_t first = 0; first == 0 || first < w.columns; first += part) {
        const int64_t columns = std::min(part, w.columns - first), ahead = ahead_of(columns * Kind::WIDTH / STEP, w.stride);
        const Codes codes{w.at + first / STEP * Kind::WIDTH, w.stride, columns, ahead};
        const Arranged<typename Kind::Input> from{x.at + first, x.stride};
        const StepScales by{scales.at + (scaled ? first / 32 : 0), scales.stride};
        const Sums<typename Kind::Total> to{out.at, out.stride, out.add || first > 0};
        const auto take = [&](auto count) { few<rows_of<Kind>(count), count, scaled>(kind, rows, codes, tokens, from, by, to); };
        if (most == 1) take(std::integral_constant<int, 1>());
        if (most == 2) take(std::integral_constant<int, 2>());
        if (most == 4) take(std::integral_constant<int, 4>());
        if (most == 8) take(std::integral_constant<int, Kind::TOKENS>());
    }
}

} // namespace xq
