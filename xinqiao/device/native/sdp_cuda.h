// Which attention kernel a CUDA device takes, and when it takes none. The rules are those of PyTorch 2.13,
// aten/src/ATen/native/transformers/cuda/sdp_utils.cpp; programs branch on them and fail on them.
#pragma once

#include "kernels.h"

#include <ATen/native/transformers/sdp_utils_cpp.h>

namespace xq {

using sdp::sdp_params;
using Rule = bool (*)(const sdp_params&, bool);

inline bool capability_between(int low, int high) {
  const int have = config.major * 10 + config.minor;
  return have >= low && have <= high;
}
inline bool is_half(const sdp_params& p) {
  return p.query.scalar_type() == at::kHalf || p.query.scalar_type() == at::kBFloat16;
}
inline bool flash_hardware(const sdp_params&, bool debug) {
  const bool ok = config.hip || capability_between(80, 121);
  if (!ok && debug)
    TORCH_WARN("Flash attention only supports gpu architectures in the range [sm80, sm121]. Attempting to run on a sm ", config.major, ".", config.minor, " gpu.");
  return ok;
}
inline bool flash_dtype(const sdp_params& p, bool debug) {
  if (config.hip || config.major >= 8) return sdp::check_tensor_dtype(p, std::array{at::kHalf, at::kBFloat16}, debug);
  return sdp::check_tensor_dtype(p, std::array{at::kHalf}, debug);
}
inline bool flash_head(const sdp_params& p, bool debug) {
  const auto q = p.query.size(-1), k = p.key.size(-1), v = p.value.size(-1);
  const bool ok = q == k && q == v && q <= 256;
  if (!ok && debug)
    TORCH_WARN("Flash attention requires q,k,v to have the same last dimension and to be less than or equal to 256. Got Query.size(-1): ", q,
        ", Key.size(-1): ", k, ", Value.size(-1): ", v, " instead.");
  return ok;
}
inline bool flash_wide_head(const sdp_params& p, bool debug) { // consumer cards only
  if (!sdp::input_requires_grad(p) || !(capability_between(86, 89) || capability_between(120, 121))) return true;
  const auto head = p.query.size(-1);
  const bool ok = head <= 192 || (p.dropout == 0.0 && head > 224);
  if (!ok && debug) TORCH_WARN("Flash attention currently doesn't support training with head_dim ", head, " on this gpu architecture.");
  return ok;
}
inline bool flash_square(const sdp_params& p, bool debug) {
  const auto q = p.query.size(-2), k = p.key.size(-2);
  if (!p.is_causal || q == k) return true;
  if (debug) TORCH_WARN("Flash attention does not support the is_causal flag when seqlen_q != seqlen_k. Got seqlen_q: ", q, " seqlen_k: ", k, ".");
  return false;
}
inline int64_t efficient_alignment(const sdp_params& p) {
  if (config.hip) return is_half(p) ? 8 : 4;
  const bool tensor_cores = config.major >= 8 || (config.major == 7 && is_half(p));
  const int64_t least = config.major >= 8 ? 4 : 1;
  return tensor_cores ? std::max<int64_t>(least, 128 / (is_half(p) ? 16 : 32)) : least;
}
inline bool efficient_head(const sdp_params& p, bool debug) {
  const auto q = p.query.size(-1), k = p.key.size(-1), v = p.value.size(-1), unit = efficient_alignment(p);
  const bool ok = q == k && q > 0 && v > 0 && q % unit == 0 && v % unit == 0;
  if (!ok && debug)
    TORCH_WARN("Mem efficient attention requires last dimension of inputs to be divisible by ", unit, ". Got Query.size(-1): ", q, ", Key.size(-1): ", k,
        ", Value.size(-1): ", v, " instead.");
  return ok;
}
inline bool efficient_offset(const sdp_params& p, bool debug) {
  if (config.hip || config.major < 8) return true;
  const auto bytes = efficient_alignment(p) * (int64_t)p.query.element_size();
  auto aligned = [&](const at::Tensor& t) { return t.numel() == 0 || t.storage_offset() * (int64_t)t.element_size() % bytes == 0; };
  const bool ok = aligned(p.query) && aligned(p.key) && aligned(p.value);
  if (!ok && debug) TORCH_WARN("Mem efficient attention requires q, k, and v storage offsets to be aligned to ", bytes, " bytes.");
  return ok;
}
inline bool efficient_dtype(const sdp_params& p, bool debug) {
  if (config.hip || config.major >= 8) return sdp::check_tensor_dtype(p, std::array{at::kHalf, at::kFloat, at::kBFloat16}, debug);
  return sdp::check_tensor_dtype(p, std::array{at::kHalf, at::kFloat}, debug);
}
inline bool dense(const sdp_params& p, bool debug) { // a limit of the virtual chip, not of the card
  if (sdp::has_only_dense_inputs(p)) return true;
  if (debug) TORCH_WARN("The virtual chip has no fused attention for nested tensors.");
  return false;
}

inline bool all_of(std::initializer_list<Rule> rules, const sdp_params& p, bool debug) {
  for (auto rule : rules)
    if (!rule(p, debug)) return false;
  return true;
}
inline bool can_use_flash(const sdp_params& p, bool debug) {
  return all_of({sdp::check_runtime_disabled_flash, dense, sdp::check_tensor_shapes, sdp::check_for_attn_mask, flash_head, flash_hardware, flash_wide_head,
                    flash_square, flash_dtype, sdp::check_batch_size_and_num_heads_dense<true>, sdp::check_nonzero_sequence_lengths_dense,
                    sdp::check_last_dim_stride_equals_1_dense<true>}, p, debug);
}
inline bool can_use_efficient(const sdp_params& p, bool debug) {
  return all_of({sdp::check_runtime_disabled_mem_efficient, dense, sdp::check_tensor_shapes, efficient_head, efficient_offset,
                    sdp::check_nonzero_sequence_lengths_dense, sdp::check_last_dim_stride_equals_1_dense<false>,
                    sdp::check_batch_size_and_num_heads_dense<false>, efficient_dtype}, p, debug);
}

inline int64_t choose_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const std::optional<at::Tensor>& mask, double dropout, bool causal,
    std::optional<double>, bool gqa) {
  const sdp_params p{q, k, v, mask, dropout, causal, gqa};
  auto& context = at::globalContext();
  for (auto backend : context.sDPPriorityOrder()) {
    if (backend == at::SDPBackend::flash_attention && can_use_flash(p, false)) return (int64_t)(host_is_fused(p) ? backend : at::SDPBackend::math);
    if (backend == at::SDPBackend::efficient_attention && can_use_efficient(p, false)) return (int64_t)(host_is_fused(p) ? backend : at::SDPBackend::math);
    if (backend == at::SDPBackend::math && context.userEnabledMathSDP()) return (int64_t)backend;
  }
  TORCH_WARN("Memory efficient kernel not used because:");
  can_use_efficient(p, true);
  TORCH_WARN("Flash attention kernel not used because:");
  can_use_flash(p, true);
  TORCH_CHECK(false, "No available kernel. Aborting execution.");
}

} // namespace xq
