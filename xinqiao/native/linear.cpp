// Linear layers of 8-bit weights for few tokens; for many, their weights as bf16 or fp32. Plain C; linear.py says what it
// means. Nothing here depends on PyTorch.
#include "large.h"
#include "linear_convert.h"
#include "linear_fp8.h"
#include "linear_int8.h"

namespace xq {

struct Call {
    const void *x;    // [tokens, k]
    const void *bias; // [n]; null: none
    void *y;          // [tokens, n]
    int64_t tokens;
    Number x_number, bias_number, y_number;
    int32_t threads;

    Tokens input(int64_t k) const { return {x, x_number, tokens, k}; }
};
struct Int8Weights {
    const uint8_t *codes; // [n, k]
    const float *scales;  // [n]
    int64_t n, k;
};

constexpr int64_t PANEL = 128;   // rows that are finished together
constexpr int64_t AT_ONCE = 64; // tokens

// make(tokens) gives what has rows(begin, end, out, stride); finish(product, token, row, sum) a result without its bias.
template <typename Make, typename Finish> void few(int64_t n, int64_t k, const Call &call, Make make, Finish finish) {
    parallel(call.threads, [&](int thread, int of) {
        static thread_local Room room;
        const Share share(n, 16, thread, of);
        float *sums = room.need<float>(PANEL * AT_ONCE);
        for (int64_t t = 0; t < call.tokens && share.begin < share.end; t += AT_ONCE) {
            const Tokens tokens = call.input(k).from(t, AT_ONCE);
            auto product = make(tokens);
            for (int64_t row = share.begin, next; row < share.end; row = next) {
                next = std::min(share.end, (row / PANEL + 1) * PANEL);
                product.rows(row, next, sums, PANEL);
                for (int64_t i = 0; i < tokens.count; i++)
                    for (int64_t r = row; r < next; r++) {
                        const float found = finish(product, i, r, sums[i * PANEL + r - row]);
                        write(call.y, call.y_number, (t + i) * n + r, call.bias ? found + read(call.bias, call.bias_number, r) : found);
                    }
            }
        }
    });
}

} // namespace xq

#pragma GCC visibility push(default)
extern "C" {

void xq_linear_fp8(const xq::Fp8Weights *w, const xq::Call *call) {
    xq::used(w->codes, size_t(w->n * w->k));
    xq::few(
        w->n, w->k, *call, [&](const xq::Tokens &tokens) { return xq::Fp8Product(*w, tokens); },
        [](const auto &, int64_t, int64_t, float sum) { return sum; });
}

void xq_linear_int8(const xq::Int8Weights *w, const xq::Call *call) {
    xq::used(w->codes, size_t(w->n * w->k));
    xq::few(
        w->n, w->k, *call, [&](const xq::Tokens &tokens) { return xq::Int8Product(w->codes, w->k, tokens); },
        [&](const auto &product, int64_t token, int64_t row, float sum) { return sum * (product.step(token) * w->scales[row]); });
}

// call->y: the codes, int8 [tokens, k].
void xq_linear_int8_tokens(const xq::Call *call, int64_t k, float *steps) {
    xq::parallel(call->threads, [&](int thread, int of) {
        const xq::Share share(call->tokens, 1, thread, of);
        const xq::Tokens x = call->input(k);
        for (int64_t t = share.begin; t < share.end; t++)
            steps[t] = xq::quantize_int8(x.row(t), x.number, k, static_cast<int8_t *>(call->y) + t * k);
    });
}

int32_t xq_linear_plain(const xq::Fp8Weights *w) { return xq::plain(*w); }

void xq_linear_bf16_values(const xq::Fp8Weights *w, const xq::Part *part, uint16_t *out, int32_t threads) {
    xq::dequantize(*w, *part, out, threads);
}

void xq_linear_f32_values(const xq::Fp8Weights *w, const xq::Part *part, float *out, int32_t threads) {
    xq::dequantize(*w, *part, out, threads);
}

void xq_linear_round(const xq::Call *call, int64_t k, int64_t block) {
    xq::parallel(call->threads, [&](int thread, int of) {
        const xq::Share share(call->tokens, 1, thread, of);
        const xq::Tokens mine = call->input(k).from(share.begin, share.end - share.begin);
        xq::round_activations(mine, k, block, static_cast<uint16_t *>(call->y) + share.begin * k);
    });
}
}
#pragma GCC visibility pop
