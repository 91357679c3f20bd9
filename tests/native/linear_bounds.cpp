// Every kernel of linear.cpp on buffers of exactly the size that they are said to have, under the compiler's sanitizers.
#include "../../xinqiao/native/linear.cpp"
#include <cstdio>
#include <vector>

template <typename T> static std::vector<T> made(int64_t count, uint32_t seed) {
    std::vector<T> found(static_cast<size_t>(count));
    for (auto &one : found) one = T((seed = seed * 1664525 + 1013904223) >> 24 & 0x3f);
    return found;
}

static int calls = 0;

template <typename T> static void fp8(int64_t n, int64_t k, int64_t tokens, int32_t rows, int32_t columns, xq::Number number) {
    const auto codes = made<uint8_t>(n * k, 1), scales = made<uint8_t>((n + rows - 1) / rows * ((k + columns - 1) / columns), 2);
    const auto x = made<T>(tokens * k, 3), bias = made<T>(n, 4);
    std::vector<T> y(size_t(tokens * n));
    const xq::Fp8Weights w{codes.data(), scales.data(), n, k, 1, rows, columns};
    const xq::Call call{x.data(), bias.data(), y.data(), tokens, number, number, number, int32_t(1 + tokens % 2)};
    xq_linear_fp8(&w, &call);
    const int64_t first = k > 64 ? 64 : 0;
    const xq::Part part{n / 2, n - n / 2, first, k - first};
    std::vector<float> wide(size_t(part.rows * part.columns));
    std::vector<uint16_t> narrow(wide.size());
    xq_linear_f32_values(&w, &part, wide.data(), 2);
    xq_linear_bf16_values(&w, &part, narrow.data(), 2);
    std::vector<uint16_t> rounded(size_t(tokens * k));
    const xq::Call round{x.data(), nullptr, rounded.data(), tokens, number, number, number, 2};
    xq_linear_round(&round, k, 32);
    calls += 4 + xq_linear_plain(&w) * 0;
}

template <typename T> static void int8(int64_t n, int64_t k, int64_t tokens, xq::Number number) {
    const auto codes = made<uint8_t>(n * k, 1);
    const auto scales = made<float>(n, 2);
    const auto x = made<T>(tokens * k, 3);
    std::vector<T> y(size_t(tokens * n));
    const xq::Int8Weights w{codes.data(), scales.data(), n, k};
    const xq::Call call{x.data(), nullptr, y.data(), tokens, number, number, number, int32_t(1 + tokens % 2)};
    xq_linear_int8(&w, &call);
    std::vector<int8_t> rounded(size_t(tokens * k));
    std::vector<float> steps(size_t(tokens), 0.0f);
    const xq::Call round{x.data(), nullptr, rounded.data(), tokens, number, number, number, 2};
    xq_linear_int8_tokens(&round, k, steps.data());
    calls += 2;
}

int main() {
    for (int64_t n : {1, 17, 130})
        for (int64_t k : {1, 33, 64, 200})
            for (int64_t tokens : {1, 2, 3, 9, 65}) {
                for (int32_t rows : {128, 1}) {
                    fp8<float>(n, k, tokens, rows, rows == 1 ? 32 : 128, xq::Number::f32);
                    fp8<uint16_t>(n, k, tokens, rows, rows == 1 ? 32 : 128, xq::Number::bf16);
                }
                int8<float>(n, k, tokens, xq::Number::f32);
                int8<uint16_t>(n, k, tokens, xq::Number::bf16);
            }
    std::printf("%d calls\n", calls);
}
