// What only a vendor's device (PrivateUse1) needs: its hooks, its autocast lists, its overrideable attention.
#pragma once

#include "kernels.h"

#include <ATen/autocast_mode.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/transformers/attention.h>

namespace xq {

using HooksBase = at::PrivateUse1HooksInterface;

struct KeyHooks : HooksBase {
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t n) const override { resize_storage(storage, n); }
};

inline int64_t choose_attention(const Tensor& q, const Tensor& k, const Tensor& v, const MaybeTensor& mask, double dropout, bool causal, std::optional<double>,
    bool gqa) {
  return (int64_t)(host_is_fused({q, k, v, mask, dropout, causal, gqa}) ? sdp::SDPBackend::overrideable : sdp::SDPBackend::math);
}
inline std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt, Tensor, Tensor, Tensor> fused_attention(const Tensor& q, const Tensor& k, const Tensor& v,
    const MaybeTensor& mask, double, bool causal, bool, std::optional<double> scale) {
  return account("aten::_scaled_dot_product_fused_attention_overrideable", {q, k, v}, [&] {
    auto a = attend(q, k, v, mask, causal, scale);
    return std::make_tuple(a.out, a.logsumexp, Tensor(), Tensor(), q.sym_size(2), k.sym_size(2), no_seed(q), no_seed(q), Tensor());
  }, causal);
}
inline std::tuple<Tensor, Tensor, Tensor, Tensor> fused_attention_backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
    std::array<bool, 4>, const Tensor& out, const Tensor& logsumexp, const Tensor&, const Tensor&, c10::SymInt, c10::SymInt, double, bool causal, const Tensor&,
    const Tensor&, std::optional<double> scale) {
  return account("aten::_scaled_dot_product_fused_attention_overrideable_backward", {grad, q, k, v}, [&] {
    auto [gq, gk, gv] = attend_backward(grad, q, k, v, {out, logsumexp}, mask, causal, scale);
    return std::make_tuple(gq, gk, gv, Tensor());
  }, causal);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("_fused_sdp_choice", choose_attention);
  m.impl("_scaled_dot_product_fused_attention_overrideable", fused_attention);
  m.impl("_scaled_dot_product_fused_attention_overrideable_backward", fused_attention_backward);
}
TORCH_LIBRARY_IMPL(aten, Conjugate, m) { // a copy out of the device reads the bit itself
  m.impl("_copy_from", torch::CppFunction::makeFallthrough());
}
TORCH_LIBRARY_IMPL(aten, Negative, m) {
  m.impl("_copy_from", torch::CppFunction::makeFallthrough());
}

// CUDA's lists, which the vendors follow; the CPU's are others.
TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFallthrough());
}
#define XQ_LOWER(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
#define XQ_FP32(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)
#define XQ_SET(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32_set_opt_dtype)
#define XQ_PROMOTE(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, promote)
using namespace at::autocast; // what ATen's macros expect
TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
  AT_FORALL_LOWER_PRECISION_FP(XQ_LOWER)
  AT_FORALL_FP32(XQ_FP32)
  AT_FORALL_FP32_SET_OPT_DTYPE(XQ_SET)
  AT_FORALL_PROMOTE(XQ_PROMOTE)
}

} // namespace xq

namespace at::native {
REGISTER_PRIVATEUSE1_DISPATCH(_fused_sdp_choice_stub, &xq::choose_attention)
}
