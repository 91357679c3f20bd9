// The few operators that the device must have of its own: making, viewing and copying tensors, and the fused cells of
// recurrent networks, which composite code calls on every accelerator.
#pragma once

#include "fallback.h"

#include <ATen/EmptyTensor.h>
#include <ATen/native/Resize.h>
#include <ATen/native/TensorShape.h>
#include <ATen/native/transformers/sdp_utils_cpp.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/view_native.h>
#include <torch/library.h>

namespace xq {

using at::Tensor;
using MaybeTensor = std::optional<at::Tensor>;

inline std::vector<Tensor> tensors_of(const Tensor& t) {
  return {t};
}
template <class... Parts>
std::vector<Tensor> tensors_of(const std::tuple<Parts...>& parts) {
  std::vector<Tensor> all;
  auto add = [&](const auto& part) {
    if constexpr (std::is_same_v<std::decay_t<decltype(part)>, Tensor>)
      if (part.defined()) all.push_back(part);
  };
  std::apply([&](const auto&... part) { (add(part), ...); }, parts);
  return all;
}

// One operator of our own: permit it, run `body` on host tensors, account for it. causal: of attention.
template <class Body>
auto account(const char* name, std::initializer_list<Tensor> inputs, const Body& body, bool causal = false) {
  auto& op = make_operator(name);
  Shapes shapes;
  if (causal) shapes.flag(true);
  int dtype = (int)c10::kFloat, rank = -1;
  c10::DeviceIndex d = -1;
  for (const auto& t : inputs) {
    if (!on_chip(t)) continue;
    if (d < 0) d = t.device().index();
    shapes.input(t);
    if (const int r = rank_of(t.scalar_type()); r > rank) {
      rank = r;
      dtype = (int)t.scalar_type();
    }
  }
  const Action action = permit(op, dtype);
  auto results = body();
  const auto& row = charge(op, dtype, d, action, shapes);
  if (journal.take) {
    const auto all = tensors_of(results);
    note(row, all.data(), all.size());
  }
  return results;
}

inline Tensor empty_sized(c10::IntArrayRef size, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>, std::optional<c10::Device> device,
    std::optional<bool>, std::optional<c10::MemoryFormat> format) {
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_generic(size, &allocator, c10::DispatchKeySet(kChipKey), c10::dtype_or_default(dtype), format);
}
inline Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>,
    std::optional<c10::Device> device, std::optional<bool>) {
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_strided_generic(size, stride, &allocator, c10::DispatchKeySet(kChipKey), c10::dtype_or_default(dtype));
}
inline Tensor zero_tensor(c10::IntArrayRef size, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout> layout, std::optional<c10::Device> device,
    std::optional<bool> pin) {
  return empty_sized(size, dtype, layout, device, pin, std::nullopt).zero_();
}

// Copies in all directions. A copy to the host makes it wait, unless the program asked for none and the memory is pinned.
inline Tensor& copy_into(Tensor& to, const Tensor& source, bool non_blocking) {
  if (to.numel() == 0) return to;
  const Tensor from = source.sizes() == to.sizes() ? source : source.expand(to.sizes());
  const auto d = on_chip(to) ? to.device().index() : from.device().index();
  static auto& op = make_operator("aten::copy_");
  const Action action = on_chip(to) ? permit(op, (int)to.scalar_type()) : kNative;
  Shapes shapes;
  shapes.input(from);
  shapes.output(to);
  shapes.flag(!on_chip(from));
  shapes.flag(!on_chip(to));
  shapes.flag(on_chip(from) && on_chip(to) && from.device() != to.device());
  if (!config.shapes) {
    auto host = to_host(to);
    host.copy_(to_host(from));
  } else if (!on_chip(to) && !to.is_meta()) {
    to.zero_(); // there is no data to copy
  }
  const auto& row = charge(op, (int)to.scalar_type(), d, action, shapes);
  if (journal.take) note(row, &to, 1, (on_chip(from) ? 0 : kFromHost) | (on_chip(to) ? 0 : kToHost));
  const bool pinned_end = on_chip(to) ? from.is_cpu() && !config.shapes && PinnedAllocator::holds(from.const_data_ptr()) : PinnedAllocator::holds(to.const_data_ptr());
  if ((!on_chip(to) || !on_chip(from)) && !(non_blocking && pinned_end)) wait_stream(d, current_stream[d]);
  return to;
}
inline Tensor copy_from(const Tensor& from, const Tensor& to, bool non_blocking) {
  Tensor target = to;
  return copy_into(target, from, non_blocking);
}
inline Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  at::native::resize_(to, from.sizes(), std::nullopt);
  return copy_from(from, to, false);
}

// Numbers that each Python line read back (`loss.item()`), so that two runs can be compared.
constexpr size_t kReadbacks = 10'000;
inline std::map<int, std::vector<double>> readbacks;
inline bool keep_readbacks = false;

inline at::Scalar item(const Tensor& t) {
  const auto d = t.device().index();
  wait_stream(d, current_stream[d]);
  if (config.shapes) return c10::isFloatingType(t.scalar_type()) ? at::Scalar(0.0) : at::Scalar(0);
  const auto host = to_host(t);
  const auto value = host.item();
  if (journal.take) {
    Fingerprint bits;
    add_tensor(bits, host, true);
    mark("number read", bits.hash, value.isComplex() ? value.toComplexDouble().real() : value.toDouble());
  }
  if (keep_readbacks && !value.isComplex()) {
    const int site = here();
    Lock lock(mutex);
    auto& series = readbacks[site];
    if (series.size() < kReadbacks) series.push_back(value.toDouble());
  }
  return value;
}

inline Tensor as_strided(const Tensor& t, c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<int64_t> offset) {
  return at::native::as_strided_tensorimpl(t, size, stride, offset);
}
inline const Tensor& resize(const Tensor& t, c10::IntArrayRef size, std::optional<c10::MemoryFormat> format) {
  if (t.sizes() == size && !format) return t;
  auto* impl = t.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(size);
  if (format && *format != c10::MemoryFormat::Preserve) impl->empty_tensor_restride(*format);
  const size_t need = (t.storage_offset() + t.numel()) * t.element_size();
  if (need > t.storage().nbytes()) resize_storage(t.storage(), need);
  return t;
}
inline Tensor& set_view(Tensor& t, c10::Storage storage, int64_t offset, c10::IntArrayRef size, c10::IntArrayRef stride) {
  auto* impl = t.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(storage));
  impl->set_storage_offset(offset);
  if (stride.size() == size.size()) impl->set_sizes_and_strides(size, stride);
  else impl->set_sizes_contiguous(size);
  return t;
}
inline Tensor& set_storage(Tensor& t, c10::Storage storage) {
  const int64_t n = (int64_t)(storage.nbytes() / t.element_size());
  return set_view(t, std::move(storage), 0, {n}, {});
}
inline Tensor& set_tensor(Tensor& t, const Tensor& other) {
  return set_view(t, other.storage(), other.storage_offset(), other.sizes(), other.strides());
}
inline Tensor& set_empty(Tensor& t) {
  return set_view(t, c10::Storage(c10::Storage::use_byte_size_t(), 0, allocator.allocate(0), &allocator, true), 0, {0}, {});
}
inline void record_stream(Tensor&, c10::Stream) {}

// Lets module.to(device) keep each parameter's identity, and with it weight tying and optimizers built before.
inline bool same_kind(const Tensor& a, const Tensor& b) {
  auto dense = [](const Tensor& t) { return t.layout() == c10::kStrided && (t.is_cpu() || on_chip(t)); };
  return dense(a) && dense(b);
}

// ---- recurrent cells, as ATen's CUDA kernels define them ----

inline Tensor plus(const Tensor& gates, const MaybeTensor& bias) {
  return bias && bias->defined() ? gates + to_host(*bias) : gates;
}
inline std::tuple<Tensor, Tensor, Tensor> lstm_cell(const Tensor& input_gates, const Tensor& hidden_gates, const Tensor& cell, const MaybeTensor& input_bias,
    const MaybeTensor& hidden_bias) {
  return account("aten::_thnn_fused_lstm_cell", {input_gates, hidden_gates, cell}, [&] {
    const auto d = cell.device().index();
    const auto g = (plus(to_host(input_gates), input_bias) + plus(to_host(hidden_gates), hidden_bias)).chunk(4, 1);
    const auto in = g[0].sigmoid(), forget = g[1].sigmoid(), candidate = g[2].tanh(), out = g[3].sigmoid();
    const auto next = forget * to_host(cell) + in * candidate;
    return std::make_tuple(adopt(out * next.tanh(), d), adopt(next, d), adopt(at::cat({in, forget, candidate, out}, 1), d));
  });
}
inline std::tuple<Tensor, Tensor, Tensor> lstm_cell_backward(const MaybeTensor& grad_hidden, const MaybeTensor& grad_cell, const Tensor& cell, const Tensor& next,
    const Tensor& workspace, bool bias) {
  return account("aten::_thnn_fused_lstm_cell_backward_impl", {cell, next, workspace}, [&] {
    const auto d = cell.device().index();
    const auto g = to_host(workspace).chunk(4, 1);
    const auto &in = g[0], &forget = g[1], &candidate = g[2], &out = g[3];
    const auto tanh = to_host(next).tanh();
    const auto gh = grad_hidden && grad_hidden->defined() ? to_host(*grad_hidden) : at::zeros_like(tanh);
    auto gc = gh * out * (1 - tanh * tanh);
    if (grad_cell && grad_cell->defined()) gc = gc + to_host(*grad_cell);
    const auto gates = at::cat({gc * candidate * in * (1 - in), gc * to_host(cell) * forget * (1 - forget), gc * in * (1 - candidate * candidate),
        gh * tanh * out * (1 - out)}, 1);
    return std::make_tuple(adopt(gates, d), adopt(gc * forget, d), bias ? adopt(gates.sum(0), d) : Tensor());
  });
}
inline std::tuple<Tensor, Tensor> gru_cell(const Tensor& input_gates, const Tensor& hidden_gates, const Tensor& hidden, const MaybeTensor& input_bias,
    const MaybeTensor& hidden_bias) {
  return account("aten::_thnn_fused_gru_cell", {input_gates, hidden_gates, hidden}, [&] {
    const auto d = hidden.device().index();
    const auto i = plus(to_host(input_gates), input_bias).chunk(3, 1), h = plus(to_host(hidden_gates), hidden_bias).chunk(3, 1);
    const auto hx = to_host(hidden);
    const auto reset = (i[0] + h[0]).sigmoid(), update = (i[1] + h[1]).sigmoid(), fresh = (i[2] + reset * h[2]).tanh();
    return std::make_tuple(adopt((hx - fresh) * update + fresh, d), adopt(at::cat({reset, update, fresh, hx, h[2]}, 1), d));
  });
}
inline std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> gru_cell_backward(const Tensor& grad, const Tensor& workspace, bool bias) {
  return account("aten::_thnn_fused_gru_cell_backward", {grad, workspace}, [&] {
    const auto d = grad.device().index();
    const auto w = to_host(workspace).chunk(5, 1);
    const auto &reset = w[0], &update = w[1], &fresh = w[2], &hx = w[3], &hn = w[4];
    const auto g = to_host(grad);
    const auto gn = g * (1 - update) * (1 - fresh * fresh), gz = g * (hx - fresh) * update * (1 - update), gr = gn * hn * reset * (1 - reset);
    const auto gi = at::cat({gr, gz, gn}, 1), gh = at::cat({gr, gz, gn * reset}, 1);
    return std::make_tuple(adopt(gi, d), adopt(gh, d), adopt(g * update, d), bias ? adopt(gi.sum(0), d) : Tensor(), bias ? adopt(gh.sum(0), d) : Tensor());
  });
}

// ---- attention on the CPU's flash kernel, whatever the device calls its own ----

// Whether the CPU has a fused kernel for these arguments, whatever kernels the program has switched off for the device
// (the rules of ATen's sdp_utils_cpp.cpp). Where it has none (dropout, grouped heads, a mask that needs a gradient), the
// chip would take its own, and the virtual one computes the same with the math kernel. Without arithmetic there is
// nothing to compute, so that in shapes mode dropout and grouped heads are fused as on the chip.
inline bool host_is_fused(const sdp::sdp_params& p) {
  if (!config.shapes && (p.dropout > 0.0 || p.enable_gqa)) return false;
  if (p.query.is_nested() || (p.attn_mask && p.attn_mask->requires_grad())) return false;
  const auto head = p.query.size(-1);
  if (head != p.key.size(-1) || head != p.value.size(-1)) return false;
  constexpr std::array dtypes{at::kFloat, at::kDouble, at::kBFloat16, at::kHalf};
  return sdp::check_tensor_shapes(p, false) && sdp::check_batch_size_and_num_heads_dense<true, false>(p, false) &&
      sdp::check_attn_mask_shape(p, false) && sdp::check_nonzero_sequence_lengths_dense(p, false) &&
      sdp::check_last_dim_stride_equals_1_dense<false>(p, false) && sdp::check_tensor_dtype(p, dtypes, false);
}

struct Attention {
  Tensor out, logsumexp;
};
inline Attention attend(const Tensor& q, const Tensor& k, const Tensor& v, const MaybeTensor& mask, bool causal, std::optional<double> scale) {
  const auto d = q.device().index();
  if (config.shapes) {
    const auto options = to_host(q).options();
    const auto out = at::empty({q.size(0), q.size(2), q.size(1), v.size(3)}, options).transpose(1, 2);
    return {adopt(out, d), adopt(at::empty({q.size(0), q.size(1), q.size(2)}, options.dtype(c10::kFloat)), d)};
  }
  const auto host_mask = mask && mask->defined() ? MaybeTensor(to_host(*mask)) : std::nullopt;
  auto [out, logsumexp] = at::_scaled_dot_product_flash_attention_for_cpu(to_host(q), to_host(k), to_host(v), 0.0, causal, host_mask, scale);
  return {adopt(out, d), adopt(logsumexp, d)};
}
inline std::tuple<Tensor, Tensor, Tensor> attend_backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Attention& a,
    const MaybeTensor& mask, bool causal, std::optional<double> scale) {
  const auto d = q.device().index();
  if (config.shapes) return {adopt(at::empty_like(to_host(q)), d), adopt(at::empty_like(to_host(k)), d), adopt(at::empty_like(to_host(v)), d)};
  const auto host_mask = mask && mask->defined() ? MaybeTensor(to_host(*mask)) : std::nullopt;
  auto [gq, gk, gv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(to_host(grad), to_host(q), to_host(k), to_host(v), to_host(a.out),
      to_host(a.logsumexp), 0.0, causal, host_mask, scale);
  return {adopt(gq, d), adopt(gk, d), adopt(gv, d)};
}
inline Tensor no_seed(const Tensor& q) { // where a device returns its random state; there is none without dropout
  return at::empty({0}, q.options().dtype(c10::kLong));
}

// What a module was given or gave, from the Python side: an entry of that name, with the tensors' hash.
inline void note_values(at::TensorList tensors, std::string_view name, int64_t module) {
  if (journal.take) note(mark_row(std::string(name).c_str()), tensors.data(), tensors.size(), kHashOnly, module);
}

// Memory of a device tensor as a host tensor that keeps it alive: what the collectives send.
inline Tensor host_alias(const Tensor& t) {
  TORCH_CHECK(!config.shapes, "Collectives move data, and shapes mode has none: run without --shapes, or with one process");
  return to_host(t);
}

// One kernel on a chip. On the CPU it is a product for each group, whose rows are values that shapes mode does not have.
inline void grouped_product(const c10::OperatorHandle& handle, torch::jit::Stack* stack) {
  if (config.shapes) return fallback(handle, stack);
  handle.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
}

inline std::vector<std::string> registered; // for the check that nothing bypasses the fallback

inline bool needs_kernel(const c10::OperatorName& name, const c10::OperatorHandle& handle) {
  using K = c10::DispatchKey;
  if (name.name.rfind("aten::", 0) != 0 || !handle.hasSchema() || handle.hasKernelForDispatchKey(kChipKey)) return false;
  if (handle.hasKernelForDispatchKey(K::CPU)) return true;
  return name.name.rfind("aten::_foreach", 0) == 0 && handle.hasKernelForDispatchKey(K::CompositeExplicitAutograd);
}

// An operator with a CPU kernel goes to the fallback under its own name, even where a composite kernel would shadow it
// (LayerNorm would run as batch norm) or decompose it (add as an empty tensor and add.out).
inline void register_all(torch::Library& m) {
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const auto& name : dispatcher.getAllOpNames()) {
    const auto handle = dispatcher.findOp(name);
    if (!handle || !needs_kernel(name, *handle)) continue;
    const auto full = name.name.substr(6) + (name.overload_name.empty() ? "" : "." + name.overload_name);
    registered.push_back(full);
    m.impl(full.c_str(), torch::CppFunction::makeFromBoxedFunction<&fallback>());
  }
}

} // namespace xq
