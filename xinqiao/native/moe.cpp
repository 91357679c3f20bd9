// Mixture of experts: the router's choice, linear layers of many experts, and gated experts with their weighted sum.
// The interface is plain C; ops/cpu/moe.py says what it means. Nothing here depends on PyTorch.
#include "large.h"
#include "moe_layers.h"

#include "moe_choose.h"

using namespace xq::moe;

static void in_use(const Weights &w) { xq::used(w.codes, size_t(w.experts * w.n * w.k * w.size())); }

#pragma GCC visibility push(default)
extern "C" {

void xq_moe_choose(const float *logits, const float *bias, int64_t tokens, const Router *rule, int64_t *chosen, int32_t threads) {
#pragma omp parallel num_threads(threads)
    {
        Chooser chooser(*rule);
#pragma omp for
        for (int64_t t = 0; t < tokens; t++) chooser.choose(logits + t * rule->experts, bias, chosen + t * rule->top_k);
    }
}

// x [m, k], y [m, n]: float, or bfloat16 where `half`. ends: of each expert's rows.
void xq_moe_linear(const void *x, const Weights *w, const int64_t *ends, const void *bias, void *y, int32_t half, int32_t threads) {
    in_use(*w);
    if (half) return linear(static_cast<const uint16_t *>(x), *w, ends, static_cast<const uint16_t *>(bias), static_cast<uint16_t *>(y), threads);
    linear(static_cast<const float *>(x), *w, ends, static_cast<const float *>(bias), static_cast<float *>(y), threads);
}

void xq_moe_experts(const Layer *layer, int32_t half, int32_t threads) {
    in_use(*layer->gate_up);
    in_use(*layer->down);
    half ? experts<uint16_t>(*layer, threads) : experts<float>(*layer, threads);
}
}
#pragma GCC visibility pop
