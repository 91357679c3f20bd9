// Calls of every kernel with sizes around its vectors, on buffers that end where they must: for the sanitizers.
#include "../../xinqiao/native/moe_layers.h"

#include "../../xinqiao/native/moe_choose.h"
#include <cstdio>

using namespace xq::moe;

static int64_t calls = 0;

template <class T> static void one(Kind kind, Scaling scaling, int64_t n, int64_t k, int64_t block_rows, int64_t block_columns) {
    const int64_t experts_ = 3, size = kind == Kind::f32 ? 4 : kind == Kind::bf16 ? 2 : 1;
    const int64_t blocks = (n + block_rows - 1) / block_rows * ((k + block_columns - 1) / block_columns);
    const int64_t scale_bytes = kind == Kind::int8 ? 4 * n : scaling == Scaling::e8m0 ? blocks : 4 * blocks;
    const std::vector<uint8_t> codes(size_t(experts_ * n * k * size), 0x31), scales(size_t(experts_ * scale_bytes), 0x3f);
    const Weights w{codes.data(), scales.data(), experts_, n, k, block_rows, block_columns, kind, scaling};
    for (int64_t many : {1, 2, 5, 8, 9, 27}) {
        const std::vector<int64_t> ends{0, 1, 1 + many};
        const std::vector<T> x(size_t((1 + many) * k)), bias(size_t(experts_ * n));
        std::vector<T> y(size_t((1 + many) * n));
        linear<T>(x.data(), w, ends.data(), bias.data(), y.data(), 1);
        calls++;
    }
    if (n % 2) return;
    const int64_t inner = n / 2; // the same codes as both matrices of a layer whose hidden size is k
    const Weights down{codes.data(), scales.data(), experts_, k, inner, block_rows, block_columns, kind, Scaling(scaling)};
    if (kind == Kind::e4m3 || kind == Kind::int8) return; // scales of other sizes
    const std::vector<T> x(size_t(4 * k));
    std::vector<T> y(x.size());
    const std::vector<float> factors(8, 0.5f);
    const std::vector<int64_t> chosen{0, 2, -1, 2, 2, 1, -1, -1};
    experts<T>(Layer{x.data(), factors.data(), chosen.data(), &w, &down, y.data(), 4, 2}, 1);
    calls++;
}

int main() {
    for (int64_t n : {1, 16, 34})
        for (int64_t k : {1, 32, 65, 130}) {
            one<float>(Kind::f32, Scaling::none, n, k, 1, 1);
            one<uint16_t>(Kind::bf16, Scaling::none, n, k, 1, 1);
            for (Scaling scaling : {Scaling::f32, Scaling::e8m0})
                for (int64_t wide : {32, 128}) {
                    one<float>(Kind::e4m3, scaling, n, k, wide / 32, wide);
                    one<uint16_t>(Kind::e4m3, scaling, n, k, wide / 32, wide);
                }
            one<float>(Kind::int8, Scaling::none, n, k, 1, 1);
            one<uint16_t>(Kind::int8, Scaling::none, n, k, 1, 1);
        }
    for (int64_t groups : {1, 3})
        for (int64_t each : {1, 5, 16})
            for (Score kind : {Score::sigmoid, Score::softmax, Score::as_is}) {
                const Router rule{groups * each, std::min<int64_t>(2, each), groups, 1, kind};
                const std::vector<float> logits(size_t(rule.experts)), bias(logits);
                std::vector<int64_t> chosen(size_t(rule.top_k));
                Chooser(rule).choose(logits.data(), bias.data(), chosen.data());
                calls++;
            }
    std::printf("%lld calls\n", (long long)calls);
}
