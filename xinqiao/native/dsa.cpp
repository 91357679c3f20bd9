// Sparse attention as DeepSeek-V3.2 has it, for xinqiao/ops/cpu/dsa.py.
#include "dsa_attention.h"
#include "dsa_backward.h"
#include "dsa_index.h"

namespace {

#if defined(__AVX512BF16__)
using Halves = xq::Pairs;
#else
using Halves = xq::Single; // bf16 is widened
#endif

} // namespace

#pragma GCC visibility push(default)
extern "C" {

void xq_dsa_index(const xq::Index *x, int32_t *choice) { xq::index(*x, choice); }

void xq_dsa_attention(const xq::Attention *x, void *out, float *lse) {
    if (x->latent.kind == xq::BF16) xq::attention<Halves>(*x, static_cast<uint16_t *>(out), lse);
    else xq::attention<xq::Single>(*x, static_cast<float *>(out), lse);
}

void xq_dsa_attention_backward(const xq::Backward *x) {
    if (x->x.latent.kind == xq::BF16) xq::backward<uint16_t>(*x);
    else xq::backward<float>(*x);
}
}
#pragma GCC visibility pop
