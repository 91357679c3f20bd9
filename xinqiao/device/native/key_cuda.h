// What only the CUDA key needs: its hooks, and the operators that ATen's composite code calls on CUDA alone.
#pragma once

#include "kernels.h"
#include "sdp_cuda.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/transformers/attention.h>
#include <torch/csrc/distributed/c10d/reducer_timer.hpp>

namespace xq {

using HooksBase = at::CUDAHooksInterface;

struct KeyHooks : HooksBase {
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  bool hasROCM() const override { return config.hip; }
  c10::DeviceIndex current_device() const override { return xq::current_device; }
  int getNumGPUs() const override { return config.devices; }
  at::Allocator* getCUDADeviceAllocator() const override { return &allocator; }
  std::string showConfig() const override { return "virtual chip"; }
  void deviceSynchronize(c10::DeviceIndex d) const override { wait_device(d); }
};

inline std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt, Tensor, Tensor, Tensor> flash_attention(const Tensor& q, const Tensor& k, const Tensor& v,
    double, bool causal, bool, std::optional<double> scale) {
  return account("aten::_scaled_dot_product_flash_attention", {q, k, v}, [&] {
    auto a = attend(q, k, v, std::nullopt, causal, scale);
    return std::make_tuple(a.out, a.logsumexp, Tensor(), Tensor(), q.sym_size(2), k.sym_size(2), no_seed(q), no_seed(q), Tensor());
  }, causal);
}
inline std::tuple<Tensor, Tensor, Tensor> flash_attention_backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
    const Tensor& logsumexp, const Tensor&, const Tensor&, c10::SymInt, c10::SymInt, double, bool causal, const Tensor&, const Tensor&, std::optional<double> scale) {
  return account("aten::_scaled_dot_product_flash_attention_backward", {grad, q, k, v},
      [&] { return attend_backward(grad, q, k, v, {out, logsumexp}, std::nullopt, causal, scale); }, causal);
}
inline std::tuple<Tensor, Tensor, Tensor, Tensor> efficient_attention(const Tensor& q, const Tensor& k, const Tensor& v, const MaybeTensor& mask, bool, double,
    bool causal, std::optional<double> scale) {
  return account("aten::_scaled_dot_product_efficient_attention", {q, k, v}, [&] {
    auto a = attend(q, k, v, mask, causal, scale);
    return std::make_tuple(a.out, a.logsumexp, no_seed(q), no_seed(q));
  }, causal);
}
inline std::tuple<Tensor, Tensor, Tensor, Tensor> efficient_attention_backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
    const Tensor& out, const Tensor& logsumexp, const Tensor&, const Tensor&, double, std::array<bool, 4>, bool causal, std::optional<double> scale) {
  if (!grad.defined()) return {};
  return account("aten::_scaled_dot_product_efficient_attention_backward", {grad, q, k, v}, [&] {
    auto [gq, gk, gv] = attend_backward(grad, q, k, v, {out, logsumexp}, mask, causal, scale);
    return std::make_tuple(gq, gk, gv, Tensor());
  }, causal);
}

// softmax(half, dtype=float) is one kernel on CUDA; on the CPU the input is converted first. The results are the same.
inline void softmax(const c10::OperatorHandle& handle, torch::jit::Stack* stack) {
  const size_t first = stack->size() - 3;
  if ((*stack)[first + 2].toBool()) {
    (*stack)[first] = (*stack)[first].toTensor().to(c10::kFloat);
    (*stack)[first + 2] = false;
  }
  fallback(handle, stack);
}
inline void softmax_backward(const c10::OperatorHandle& handle, torch::jit::Stack* stack) {
  const size_t first = stack->size() - 4;
  const auto wanted = (c10::ScalarType)(*stack)[first + 3].toInt();
  const auto given = (*stack)[first].toTensor().scalar_type();
  (*stack)[first + 3] = (int64_t)given;
  fallback(handle, stack);
  if (wanted != given) stack->back() = stack->back().toTensor().to(wanted);
}

// Products with another output dtype exist on CUDA only, where they accumulate and return in it.
inline Tensor mm_to(const Tensor& a, const Tensor& b, c10::ScalarType out) {
  return account("aten::mm.dtype", {a, b}, [&] { return adopt(at::mm(to_host(a).to(out), to_host(b).to(out)), a.device().index()); });
}
inline Tensor& mm_to_out(const Tensor& a, const Tensor& b, c10::ScalarType dtype, Tensor& out) {
  return out.copy_(mm_to(a, b, dtype));
}
inline Tensor bmm_to(const Tensor& a, const Tensor& b, c10::ScalarType out) {
  return account("aten::bmm.dtype", {a, b}, [&] { return adopt(at::bmm(to_host(a).to(out), to_host(b).to(out)), a.device().index()); });
}
inline Tensor addmm_to(const Tensor& c, const Tensor& a, const Tensor& b, c10::ScalarType out, const at::Scalar& beta, const at::Scalar& alpha) {
  return account("aten::addmm.dtype", {c, a, b},
      [&] { return adopt(at::addmm(to_host(c).to(out), to_host(a).to(out), to_host(b).to(out), beta, alpha), a.device().index()); });
}

template <class... Args>
bool never(Args...) {
  return false;
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("_fused_sdp_choice", choose_attention);
  m.impl("_scaled_dot_product_flash_attention", flash_attention);
  m.impl("_scaled_dot_product_flash_attention_backward", flash_attention_backward);
  m.impl("_scaled_dot_product_efficient_attention", efficient_attention);
  m.impl("_scaled_dot_product_efficient_attention_backward", efficient_attention_backward);
  for (const char* name : {"_softmax", "_log_softmax"}) m.impl(name, torch::CppFunction::makeFromBoxedFunction<&softmax>());
  for (const char* name : {"_softmax_backward_data", "_log_softmax_backward_data"}) m.impl(name, torch::CppFunction::makeFromBoxedFunction<&softmax_backward>());
  m.impl("mm.dtype", mm_to);
  m.impl("mm.dtype_out", mm_to_out);
  m.impl("bmm.dtype", bmm_to);
  m.impl("addmm.dtype", addmm_to);
  using Lengths = c10::IntArrayRef;
  m.impl("_use_cudnn_ctc_loss", never<const Tensor&, const Tensor&, Lengths, Lengths, int64_t>);
  m.impl("_use_miopen_ctc_loss", never<const Tensor&, const Tensor&, Lengths, Lengths, int64_t>);
  m.impl("_use_cudnn_ctc_loss.Tensor", never<const Tensor&, const Tensor&, const Tensor&, const Tensor&, int64_t>);
  m.impl("_use_miopen_ctc_loss.Tensor", never<const Tensor&, const Tensor&, const Tensor&, const Tensor&, int64_t>);
}

// DDP's logger asserts that CUDA parameters have a timer.
struct Timer final : c10d::Timer {
  explicit Timer(c10::Device) {}
  std::optional<int64_t> measureDifference(Event a, Event b) override {
    const auto from = getTimestamp(a), to = getTimestamp(b);
    return from && to ? std::optional(*to - *from) : std::nullopt;
  }
};

} // namespace xq

namespace at::native {
REGISTER_CUDA_DISPATCH(_fused_sdp_choice_stub, &xq::choose_attention)
}
namespace c10d {
C10_REGISTER_TYPED_CLASS(TimerRegistry, c10::kCUDA, xq::Timer)
}
