// Every operator of the device: run the CPU's kernel on the same memory (Meta's in shapes mode), and account for it.
#pragma once

#include "generator.h"
#include "journal.h"

#include <ATen/core/stack.h>

namespace xq {

class Call {
 public:
  Call(const c10::OperatorHandle& handle, torch::jit::Stack* stack)
      : handle_(handle), schema_(handle.schema()), op_(find_operator(handle)), stack_(stack), base_(stack->size() - schema_.arguments().size()) {}

  void run() {
    for (size_t i = 0; i < schema_.arguments().size(); i++) take(i);
    if (bool backward; op_.view && journal.take) remember_origin(backward);
    if (device_ < 0) device_ = current_device;
    refuse_host_tensors();
    const Action action = op_.view ? kNative : permit(op_, dtype_of_call());
    if (!config.host_rng && op_.generator >= 0 && argument(op_.generator).isNone() && !pairs_.empty())
      argument(op_.generator) = host_generator(default_generator(device_));
    {
      std::optional<LentState> lent;
      if (op_.draws && !config.host_rng && !config.shapes) lent.emplace(device_);
      if (config.shapes && op_.by_value) run_without_values();
      else handle_.redispatchBoxed(c10::DispatchKeySet(host_key()), stack_);
    }
    for (auto& pair : pairs_) settle(pair);
    give_results();
    if (!op_.view) {
      const auto& row = charge(op_, dtype_of_call(), device_, action, shapes_);
      if (journal.take) note_results(row);
    }
    if (waits_) wait_stream(device_, current_stream[device_]);
  }

 private:
  struct Pair {
    at::Tensor chip, host;
    bool written;
  };

  // Some of these need values (a mask), some do not (indices); the Meta kernel knows, and says so in other words.
  void run_without_values() {
    try {
      handle_.redispatchBoxed(c10::DispatchKeySet(host_key()), stack_);
    } catch (const c10::NotImplementedError&) {
      refuse_values();
    } catch (const c10::Error&) {
      throw;
    } catch (const std::exception&) { // raised by a Meta kernel that is written in Python
      refuse_values();
    }
  }
  [[noreturn]] void refuse_values() const {
    TORCH_CHECK_NOT_IMPLEMENTED(false, op_.name, " needs the values of its input to know the shape of its result, and shapes mode has no values. "
        "Run without --shapes, or give the program a path with fixed shapes (for routing: a fixed number of tokens per expert).");
    std::abort();
  }

  c10::IValue& argument(size_t i) { return (*stack_)[base_ + i]; }

  at::Tensor take(const at::Tensor& t, size_t i) {
    if (!t.defined()) return t;
    if (!on_chip(t)) {
      if (t.dim() > 0 && t.device().is_cpu() && host_tensor_.empty()) host_tensor_ = schema_.arguments()[i].name();
      return config.shapes && t.device().is_cpu() && t.dim() > 0 ? t.to(c10::kMeta) : t;
    }
    const auto d = t.device().index();
    if (device_ < 0) device_ = d;
    TORCH_CHECK(device_ == d || op_.takes_host, "Expected all tensors to be on the same device, but found at least two devices, ", config.device, ":",
        (int)device_, " and ", config.device, ":", (int)d, "!");
    TORCH_CHECK_NOT_IMPLEMENTED(t.layout() == c10::kStrided, op_.name, ": the virtual chip holds dense tensors only, not ", t.layout(), " ones");
    const auto* alias = schema_.arguments()[i].alias_info();
    pairs_.push_back({t, to_host(t), alias && alias->isWrite()});
    shapes_.input(t);
    if (const int r = rank_of(t.scalar_type()); r > rank_) {
      rank_ = r;
      dtype_ = (int)t.scalar_type();
    }
    return pairs_.back().host;
  }

  void take(size_t i) {
    auto& v = argument(i);
    if (v.isTensor()) {
      v = take(v.toTensor(), i);
    } else if (v.isBool()) {
      shapes_.flag(v.toBool());
    } else if (op_.counts && v.isInt()) {
      shapes_.number(v.toInt());
    } else if (op_.counts && v.isIntList()) {
      for (const int64_t n : v.toIntVector()) shapes_.number(n);
    } else if (v.isTensorList()) {
      c10::List<at::Tensor> hosts;
      for (const auto& t : v.toTensorVector()) hosts.push_back(take(t, i));
      v = std::move(hosts);
    } else if (v.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> hosts;
      for (const std::optional<at::Tensor>& t : v.toOptionalTensorVector()) hosts.push_back(t ? std::optional(take(*t, i)) : t);
      v = std::move(hosts);
    } else if (v.isDevice() && v.toDevice().type() == kChip) {
      device_ = v.toDevice().has_index() ? v.toDevice().index() : current_device;
      v = c10::Device(host_type());
    } else if (v.isGenerator() && v.toGenerator().defined()) {
      const auto type = v.toGenerator().device().type();
      TORCH_CHECK(type == kChip, "Expected a '", config.device, "' device type for generator but found '", c10::DeviceTypeName(type, true), "'");
      v = host_generator(v.toGenerator());
    }
  }

  // A kernel that ran on the CPU would read them without a word; a device cannot.
  void refuse_host_tensors() const {
    TORCH_CHECK(host_tensor_.empty() || op_.takes_host || pairs_.empty(), "Expected all tensors to be on the same device, but found at least two devices, ",
        config.device, ":", (int)device_, " and cpu! (when checking argument for argument ", host_tensor_, " in method ", op_.name, ")");
  }

  int dtype_of_call() const { return dtype_ < 0 ? (int)c10::kFloat : dtype_; }

  // An out= argument may have been resized; its memory is then another.
  void settle(Pair& pair) {
    if (!pair.written) return;
    auto& storage = pair.chip.storage();
    const auto& host = pair.host.storage();
    if (host.nbytes() != storage.nbytes() || (!config.shapes && host.data() != storage.data())) {
      storage.set_data_ptr_noswap(wrap(host, device_));
      storage.unsafeGetStorageImpl()->set_nbytes(host.nbytes());
    }
    if (pair.host.sizes() != pair.chip.sizes() || pair.host.strides() != pair.chip.strides())
      pair.chip.unsafeGetTensorImpl()->set_sizes_and_strides(pair.host.sizes(), pair.host.strides());
  }

  at::Tensor give(const at::Tensor& t) {
    if (!t.defined()) return t;
    for (const auto& pair : pairs_)
      if (pair.host.is_same(t)) return pair.chip;
    if (t.layout() == c10::kStrided && !t.is_quantized())
      for (const auto& pair : pairs_)
        if (pair.host.storage().unsafeGetStorageImpl() == t.storage().unsafeGetStorageImpl()) return same_view(pair.chip.storage(), kChipKey, t);
    shapes_.output(t);
    if (dtype_ < 0) dtype_ = (int)t.scalar_type();
    return adopt(t, device_);
  }

  void give_results() {
    const size_t n = schema_.returns().size();
    for (size_t i = stack_->size() - n; i < stack_->size(); i++) {
      auto& v = (*stack_)[i];
      if (v.isTensor()) {
        v = give(v.toTensor());
      } else if (v.isTensorList()) {
        c10::List<at::Tensor> given;
        for (const auto& t : v.toTensorVector()) given.push_back(give(t));
        v = std::move(given);
      } else {
        waits_ = true; // a number or a flag: the host waits for it
      }
    }
  }

  void note_results(const Row& row) const {
    c10::SmallVector<at::Tensor, 4> all;
    for (size_t i = stack_->size() - schema_.returns().size(); i < stack_->size(); i++) {
      const auto& v = (*stack_)[i];
      if (v.isTensor()) all.push_back(v.toTensor());
      else if (v.isTensorList()) for (const auto& t : v.toTensorVector()) all.push_back(t);
    }
    for (const auto& pair : pairs_) {
      auto same = [&](const at::Tensor& t) { return t.is_same(pair.chip); };
      if (pair.written && std::none_of(all.begin(), all.end(), same)) all.push_back(pair.chip);
    }
    note(row, all.data(), all.size(), op_.draws || op_.generator >= 0 ? kDraws : 0);
  }

  const c10::OperatorHandle& handle_;
  const c10::FunctionSchema& schema_;
  Operator& op_;
  torch::jit::Stack* stack_;
  size_t base_;
  c10::SmallVector<Pair, 6> pairs_;
  Shapes shapes_;
  std::string host_tensor_;
  int device_ = -1, dtype_ = -1, rank_ = -1;
  bool waits_ = false;
};

inline void fallback(const c10::OperatorHandle& handle, torch::jit::Stack* stack) {
  Call(handle, stack).run();
}

} // namespace xq
