// Random numbers. A device generator draws with the CPU's algorithm, so that values agree between virtual chips; a real
// chip's own algorithm gives other numbers from the same seed.
#pragma once

#include "memory.h"

#include <ATen/CPUGeneratorImpl.h>

namespace xq {

struct ChipGenerator final : c10::GeneratorImpl {
  explicit ChipGenerator(c10::DeviceIndex d, at::Generator draws = at::detail::createCPUGenerator())
      : c10::GeneratorImpl(c10::Device(kChip, d), c10::DispatchKeySet(kChipKey)), host(std::move(draws)) {}
  at::Generator host; // what CPU kernels draw from

  void set_current_seed(uint64_t seed) override {
    mark("seed", seed);
    host.set_current_seed(seed);
  }
  void set_offset(uint64_t offset) override { host.set_offset(offset); }
  uint64_t get_offset() const override { return host.get_offset(); }
  uint64_t current_seed() const override { return host.current_seed(); }
  uint64_t seed() override { return const_cast<at::Generator&>(host).seed(); }
  void set_state(const c10::TensorImpl& state) override { host.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override { return host.unsafeGetGeneratorImpl()->get_state(); }
  static c10::DeviceType device_type() { return kChip; }
  ChipGenerator* clone_impl() const override { return new ChipGenerator(device_.index(), host.clone()); }
};

inline at::Generator& default_generator(c10::DeviceIndex d) {
  static std::vector<at::Generator> all = [] {
    std::vector<at::Generator> made;
    for (int i = 0; i < kMaxDevices; i++) made.push_back(at::make_generator<ChipGenerator>((c10::DeviceIndex)i));
    return made;
  }();
  return all[d < 0 ? current_device : d];
}
inline const at::Generator& host_generator(const at::Generator& g) {
  return static_cast<ChipGenerator*>(g.unsafeGetGeneratorImpl())->host;
}
inline thread_local bool hand_out_default = false; // lets Python hold the default generators, not copies of them

// Lends the device's random state to the CPU's default generator, for kernels that take no generator argument.
class LentState {
 public:
  explicit LentState(c10::DeviceIndex d) : device_(host_generator(default_generator(d))) { swap(); }
  ~LentState() { swap(); }
  LentState(const LentState&) = delete;
  LentState& operator=(const LentState&) = delete;

 private:
  void swap() {
    auto* a = static_cast<at::CPUGeneratorImpl*>(at::detail::getDefaultCPUGenerator().unsafeGetGeneratorImpl());
    auto* b = static_cast<at::CPUGeneratorImpl*>(device_.unsafeGetGeneratorImpl());
    const auto engine = a->engine();
    const auto single = a->next_float_normal_sample();
    const auto twice = a->next_double_normal_sample();
    a->set_engine(b->engine());
    a->set_next_float_normal_sample(b->next_float_normal_sample());
    a->set_next_double_normal_sample(b->next_double_normal_sample());
    b->set_engine(engine);
    b->set_next_float_normal_sample(single);
    b->set_next_double_normal_sample(twice);
  }
  at::Generator device_;
};

} // namespace xq
