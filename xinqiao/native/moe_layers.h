// Rows of x, sorted by expert, times each expert's weight; and gated experts made of two such products.
#pragma once
#include "linear_fp8.h"
#include "moe_weights.h"

namespace xq::moe {

inline float wide(float x) { return x; }
inline float wide(uint16_t x) { return codec::BF16::value(x); }
inline void put(float *to, const float *from, int64_t count) { std::memcpy(to, from, size_t(count) * sizeof(float)); }
inline void put(uint16_t *to, const float *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] = uint16_t(codec::BF16::code(from[i]));
}

// A row as the kernels take it, zeros up to `depth`. Int16: whole numbers from -127 to 127, of which x is `factor` times as large.
template <class T> inline void ready(const T *x, int64_t k, int64_t depth, float *to, float &) {
    for (int64_t i = 0; i < k; i++) to[i] = wide(x[i]);
    std::fill(to + k, to + depth, 0.0f);
}
inline void ready(const uint16_t *x, int64_t k, int64_t depth, uint16_t *to, float &) {
    std::memcpy(to, x, size_t(k) * sizeof(uint16_t));
    std::fill(to + k, to + depth, uint16_t(0));
}
template <class T> inline void ready(const T *x, int64_t k, int64_t depth, int16_t *to, float &factor) {
    float top = 0;
    bool lost = false;
    for (int64_t i = 0; i < k; i++) {
        const float size = std::fabs(wide(x[i]));
        top = size > top ? size : top;
        lost |= size != size;
    }
    factor = lost ? NAN : top / 127.0f;
    for (int64_t i = 0; i < k; i++) {
        const float code = wide(x[i]) / factor;
        to[i] = int16_t(std::fabs(code) <= 127.5f ? std::nearbyintf(code) : 0.0f); // a row of zeros, or with a NaN or infinity: zeros
    }
    std::fill(to + k, to + depth, int16_t(0));
}

// Rows sorted by expert: `ends` of each one's. Row i is row source[i] of `from`; source null: row i.
template <class T> struct Sorted {
    const T *from;
    const int64_t *source;
    const int64_t *ends;
    int64_t experts;
    int64_t begin(int64_t e) const { return e ? ends[e - 1] : 0; }
};

#if defined(XQ_E4M3_HALVES)

// Strips of rows from `from` up to, not including, `to`, and those that lie `apart` rows further, times a few tokens, by the kernel of
// linear layers. finish(token, strip's first row, values): as in `product`.
template <class Finish> void as_linear(const Fp8Weights &w, const Tokens &x, int64_t from, int64_t to, int64_t apart, Finish finish) {
    static thread_local Room space;
    const bool one = apart == STRIP;
    const int64_t each = one ? PAIR : STRIP, second = one ? STRIP : (to - from + STRIP - 1) / STRIP * STRIP;
    const int64_t width = one ? (to - from + PAIR - 1) / PAIR * PAIR : 2 * second;
    float *sums = space.need<float>(x.count * width);
    std::fill_n(sums, x.count * width, 0.0f);
    Fp8Product product(w, x);
    product.rows(from, to, sums, width);
    if (!one) product.rows(from + apart, to + apart, sums + second, width);
    for (int64_t t = 0; t < x.count; t++)
        for (int64_t first = from; first < to; first += each) {
            const float *strip = sums + t * width + first - from;
            float values[PAIR];
            std::copy_n(strip, STRIP, values);
            std::copy_n(strip + second, STRIP, values + STRIP);
            finish(t, first, values);
        }
}

#endif

// finish(expert, row, strip, values): values[0..15] are of the weight's rows from 16 · strip on, values[16..31] of those that
// lie `apart` rows further; where apart = 16, strips are two apart.
template <class D, class T, class Finish>
void product(Sorted<T> x, const Weights &w, int64_t apart, int32_t threads, Finish finish) {
    using Element = typename D::Element;
    const int64_t depth = padded<D>(w.k), count = x.ends[x.experts - 1];
    const int64_t half = apart == STRIP ? w.n : apart, each = apart == STRIP ? PAIR : STRIP, strips = (half + each - 1) / each;
    constexpr bool whole = std::is_same_v<D, Int16>;
    const bool spelled = w.kind == Kind::e4m3; // and, as bf16, in another order
    const bool as_is = std::is_same_v<Element, T> && !x.source && depth == w.k && !spelled;
    Room space, space_factors;
    Element *made = space.need<Element>(as_is ? 0 : count * depth);
    float *factors = space_factors.need<float>(whole ? count : 1);
    const Element *tokens = as_is ? reinterpret_cast<const Element *>(x.from) : made;
    std::vector<int64_t> busy;
    for (int64_t e = 0; e < x.experts; e++)
        if (x.ends[e] > x.begin(e)) busy.push_back(e);
    // A thread takes several strips that lie one after the other, since it asks for the next ones before it comes to them.
    const int64_t run = std::clamp<int64_t>(int64_t(busy.size()) * strips / (threads * 8), 1, 16);
    const int64_t runs = (strips + run - 1) / run, items = int64_t(busy.size()) * runs;
#pragma omp parallel num_threads(threads)
    {
        if (!as_is) {
#pragma omp for
            for (int64_t i = 0; i < count; i++) {
                ready(x.from + (x.source ? x.source[i] : i) * w.k, w.k, depth, made + i * depth, factors[whole ? i : 0]);
#if defined(XQ_BF16_STEPS)
                if constexpr (std::is_same_v<D, Bf16>)
                    for (int64_t k = 0; spelled && k < depth; k += xq::STEP) E4m3ByBf16::arrange(made + i * depth + k, made + i * depth + k);
#endif
            }
        }
        Room space_a, space_b;
#pragma omp for schedule(dynamic, 1)
        for (int64_t item = 0; item < items; item++) {
            const int64_t e = busy[size_t(item / runs)], begin = x.begin(e), mine = x.ends[e] - begin;
            const int64_t from = item % runs * run * each, to = std::min(half, from + run * each);
#if defined(XQ_E4M3_HALVES)
            if constexpr (std::is_same_v<D, Fp32>)
                if (mine <= FEW && spelled && w.block_columns % 32 == 0) {
                    const Tokens few{tokens + begin * depth, Number::f32, mine, depth};
                    as_linear(w.of(e), few, from, to, apart, [&](int64_t i, int64_t first, float *values) { finish(e, begin + i, first, values); });
                    continue;
                }
#endif
            for (int64_t first = from; first < to; first += each) {
                const Strip<D> a(w, e, first, half, depth, space_a);
                const Strip<D> b(w, e, first + apart, w.n, depth, space_b);
                float scale[PAIR] = {}; // of int8's rows
                for (int64_t j = 0; whole && j < PAIR; j++)
                    if (const int64_t r = j < STRIP ? first + j : first + apart + j - STRIP; r < w.n) scale[j] = w.row_factor(e, r);
                multiply<D>(a, b, tokens + begin * depth, mine, depth, [&](int64_t t, int64_t some, float *values) {
                    for (int64_t i = begin + t; i < begin + t + some; i++, values += PAIR) {
                        for (int64_t j = 0; whole && j < PAIR; j++) values[j] = values[j] * factors[i] * scale[j];
                        finish(e, i, first, values);
                    }
                });
            }
        }
    }
}

// Calls with the kernel that suits x and the weights.
template <class T, class Call> void suited(const Weights &w, Call call) {
#if defined(__AVX512BF16__)
    const bool powers = w.kind == Kind::e4m3 && w.scaling == Scaling::e8m0 && w.block_columns % 32 == 0;
    if constexpr (std::is_same_v<T, uint16_t>)
        if (w.kind == Kind::bf16 || powers) return call(Bf16());
#endif
    if (w.kind == Kind::int8) return call(Int16());
    call(Fp32());
}

template <class T> void linear(const T *x, const Weights &w, const int64_t *ends, const T *bias, T *y, int32_t threads) {
    suited<T>(w, [&](auto dot) {
        product<decltype(dot)>(Sorted<T>{x, nullptr, ends, w.experts}, w, STRIP, threads, [&](int64_t e, int64_t i, int64_t first, float *values) {
            const int64_t count = std::min<int64_t>(PAIR, w.n - first);
            if (bias)
                for (int64_t j = 0; j < count; j++) values[j] = values[j] + wide(bias[e * w.n + first + j]);
            put(y + i * w.n + first, values, count);
        });
    });
}

struct Layer { // as in cpu/moe.py
    const void *x; // [tokens, hidden]
    const float *factors; // [tokens, top_k]
    const int64_t *chosen; // [tokens, top_k], -1: none
    const Weights *gate_up, *down;
    void *y; // [tokens, hidden]
    int64_t tokens, top_k;
};

// Places of `chosen` by expert; `at`: where in that order each place is.
struct Order {
    std::vector<int64_t> ends, source, at;
    explicit Order(const Layer &l) : ends(size_t(l.gate_up->experts) + 1), at(size_t(l.tokens * l.top_k)) {
        for (size_t i = 0; i < at.size(); i++)
            if (l.chosen[i] >= 0) ends[size_t(l.chosen[i]) + 1]++;
        for (size_t e = 1; e < ends.size(); e++) ends[e] += ends[e - 1];
        source.resize(size_t(ends.back()));
        for (size_t i = 0; i < at.size(); i++) {
            if (l.chosen[i] < 0) continue;
            at[i] = ends[size_t(l.chosen[i])]++; // an expert's first place moves to its end
            source[size_t(at[i])] = int64_t(i) / l.top_k;
        }
    }
};

// g / (1 + e^-g) · u; g below -88 counts as -88.
inline void gated(const float *gate, const float *up, float *to) {
    const Floats g = max(all(-88.0f), load(gate));
    store(to, g / (all(1.0f) + exp(all(0.0f) - g)) * load(up));
}

template <class T> void combine(const Layer &l, const Order &order, const T *each, int32_t threads) {
    const int64_t hidden = l.down->n;
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> sum(static_cast<size_t>(hidden));
#pragma omp for
        for (int64_t t = 0; t < l.tokens; t++) {
            std::fill(sum.begin(), sum.end(), 0.0f);
            for (int64_t i = t * l.top_k; i < (t + 1) * l.top_k; i++) {
                if (l.chosen[i] < 0) continue;
                const T *row = each + order.at[size_t(i)] * hidden;
                for (int64_t j = 0; j < hidden; j++) sum[size_t(j)] = sum[size_t(j)] + l.factors[i] * wide(row[j]);
            }
            put(static_cast<T *>(l.y) + t * hidden, sum.data(), hidden);
        }
    }
}

template <class T> void experts(const Layer &l, int32_t threads) {
    const Order order(l);
    const int64_t inner = l.down->k, hidden = l.down->n, count = int64_t(order.source.size()), experts = l.gate_up->experts;
    Room space_between, space_each;
    T *between = space_between.need<T>(count * inner), *each = space_each.need<T>(count * hidden);
    suited<T>(*l.gate_up, [&](auto dot) {
        const Sorted<T> x{static_cast<const T *>(l.x), order.source.data(), order.ends.data(), experts};
        product<decltype(dot)>(x, *l.gate_up, inner, threads, [&](int64_t, int64_t i, int64_t first, float *values) {
            gated(values, values + STRIP, values);
            put(between + i * inner + first, values, std::min<int64_t>(STRIP, inner - first));
        });
    });
    suited<T>(*l.down, [&](auto dot) {
        const Sorted<T> x{between, nullptr, order.ends.data(), experts};
        product<decltype(dot)>(x, *l.down, STRIP, threads, [&](int64_t, int64_t i, int64_t first, float *values) {
            put(each + i * hidden + first, values, std::min<int64_t>(PAIR, hidden - first));
        });
    });
    combine(l, order, each, threads);
}

} // namespace xq::moe
