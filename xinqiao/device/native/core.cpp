// The virtual chip as a PyTorch device. Built once per dispatch key; Python talks to the C functions at the end.
#include "kernels.h"
#if XQ_CUDA
#include "key_cuda.h"
#else
#include "key_vendor.h"
#endif

namespace xq {

struct Hooks final : KeyHooks {
  Hooks() = default;
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  void init() const override {}
  c10::DeviceIndex deviceCount() const override { return (c10::DeviceIndex)config.devices; }
  void setCurrentDevice(c10::DeviceIndex d) const override {
    check_index(d);
    xq::current_device = d;
  }
  c10::DeviceIndex getCurrentDevice() const override { return xq::current_device; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex d) const override { return std::exchange(xq::current_device, d); }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex d) const override {
    return d >= 0 && d < config.devices ? std::exchange(xq::current_device, d) : xq::current_device;
  }
  at::Allocator* getPinnedMemoryAllocator() const override { return &pinned; }
  bool isPinnedPtr(const void* p) const override { return PinnedAllocator::holds(p); }
  at::Device getDeviceFromPtr(void*) const override { return {kChip, xq::current_device}; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex d) const override { return default_generator(d); }
  at::Generator getNewGenerator(c10::DeviceIndex d) const override {
    check_index(d);
    if (hand_out_default) return default_generator(d);
    return at::make_generator<ChipGenerator>(d < 0 ? xq::current_device : d);
  }
};

REGISTER_ALLOCATOR(c10::DeviceType::XQ_KEY, &allocator)
C10_REGISTER_GUARD_IMPL(XQ_KEY, Guard)

TORCH_LIBRARY_IMPL(aten, XQ_KEY, m) {
  m.impl("empty.memory_format", empty_sized);
  m.impl("empty_strided", empty_strided);
  m.impl("_efficientzerotensor", zero_tensor);
  m.impl("copy_", copy_into);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("_local_scalar_dense", item);
  m.impl("as_strided", as_strided);
  m.impl("view", at::native::view);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("resize_", resize);
  m.impl("set_", set_empty);
  m.impl("set_.source_Storage", set_storage);
  m.impl("set_.source_Storage_storage_offset", set_view);
  m.impl("set_.source_Tensor", set_tensor);
  m.impl("record_stream", record_stream);
  m.impl("_has_compatible_shallow_copy_type", same_kind);
  m.impl("_grouped_mm", torch::CppFunction::makeFromBoxedFunction<&grouped_product>());
  m.impl("_thnn_fused_lstm_cell", lstm_cell);
  m.impl("_thnn_fused_lstm_cell_backward_impl", lstm_cell_backward);
  m.impl("_thnn_fused_gru_cell", gru_cell);
  m.impl("_thnn_fused_gru_cell_backward", gru_cell_backward);
  // A kernel of the key goes before ATen's choice of back end, which knows only devices it was built for.
  for (const char* name : {"convolution", "convolution_backward", "convolution_overrideable", "convolution_backward_overrideable"})
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&fallback>());
}
TORCH_LIBRARY_IMPL(aten, XQ_KEY, m) {
  register_all(m); // after the block above, so that it leaves those alone
}
TORCH_LIBRARY_IMPL(_, XQ_KEY, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
}
#if XQ_CUDA
TORCH_LIBRARY_FRAGMENT(xinqiao_cuda, m) {
#else
TORCH_LIBRARY_FRAGMENT(xinqiao_vendor, m) {
#endif
  m.def("host_alias(Tensor t) -> Tensor", torch::dispatch(kChipKey, host_alias));
  m.def("note(Tensor[] tensors, str name, int module) -> ()", torch::dispatch(kChipKey, note_values));
}

} // namespace xq

using namespace xq;

extern "C" {

// Returns 0 where PyTorch's hooks cannot be taken over.
int xq_start(const char* device, const char* memory_word, int count, double capacity, double launch, int shapes, int host_rng, int major, int minor, int hip) {
  config = {device, memory_word, count, (size_t)capacity, launch, shapes != 0, host_rng != 0, major, minor, hip != 0};
#if XQ_CUDA
  // `import torch` has already made the stub that answers "no CUDA". Both objects are a table pointer and nothing else,
  // so the stub becomes ours by taking our table.
  static Hooks ours;
  static_assert(sizeof(Hooks) == sizeof(at::CUDAHooksInterface) && sizeof(Hooks) == sizeof(void*));
  auto& stub = at::detail::getCUDAHooks();
  if (stub.hasCUDA()) return 0;
  std::memcpy((void*)&stub, (void*)&ours, sizeof(void*));
  return at::detail::getCUDAHooks().hasCUDA();
#else
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  return 1;
#endif
}
void xq_callbacks(AskSupport support, AskCost cost) {
  ask_support = support;
  ask_cost = cost;
}
void xq_library_prefix(const char* prefix) { library_prefixes.emplace_back(prefix); }
void xq_trace(int on) { tracing = on != 0; }
void xq_keep_readbacks(int on) { keep_readbacks = on != 0; }
void xq_keep_journal(TakeFingerprint take) { journal.take = take; }
void xq_keep_whole(const char* folder, int64_t first, int64_t last) { journal.wanted = {folder, (size_t)first, (size_t)last}; }
void xq_mark(const char* name, uint64_t value) { mark(name, value); }
void xq_hand_out_default(int on) { hand_out_default = on != 0; }
void xq_capacity(double bytes) { config.capacity = (size_t)bytes; }

int xq_device() { return current_device; }
void xq_set_device(int d) { Guard().setDevice(c10::Device(kChip, (c10::DeviceIndex)d)); }
int64_t xq_stream(int d) { return current_stream[d]; }
void xq_set_stream(int d, int64_t s) { current_stream[d] = (int16_t)s; }
void xq_wait_device(int d) { Guard().synchronizeDevice((c10::DeviceIndex)d); }
double xq_clock(int d, int s) { return devices[d].clock[s]; }
double xq_host_clock() { return host_clock; }
double xq_advance(const char* name, int d, double seconds) { // work that is not an operator: collectives
  auto& op = make_operator(name);
  const int stream = current_stream[d];
  const double start = advance((c10::DeviceIndex)d, stream, seconds);
  Lock lock(mutex);
  if (tracing) trace.push_back({&op, (c10::DeviceIndex)d, stream, start, seconds});
  return start;
}
double xq_elapsed(void* a, void* b) { return Guard().elapsedTime(a, b, 0); }

void xq_memory(int d, int64_t* out) {
  Lock lock(mutex);
  const auto& s = devices[d];
  const int64_t all[] = {(int64_t)s.current, (int64_t)s.peak, (int64_t)s.requested, (int64_t)s.requested_peak, s.allocations, s.frees, s.refused,
      (int64_t)config.capacity};
  std::copy(std::begin(all), std::end(all), out);
}
void xq_reset_peak(int d) { allocator.resetPeakStats((c10::DeviceIndex)d); }
void xq_resize_storage(void* storage, int64_t n) {
  const c10::Storage s(c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(static_cast<c10::StorageImpl*>(storage)));
  resize_storage(s, (size_t)n);
}
void xq_module(int id) { current_module = id; }
int xq_here() { return here(); }
int xq_site(int i, char* file, char* function, int size) { // the line; -1 past the end
  Lock lock(mutex);
  if (i >= (int)sites.size()) return -1;
  snprintf(file, size, "%s", sites[i].file.c_str());
  snprintf(function, size, "%s", sites[i].function.c_str());
  return sites[i].line;
}

// ---- reading the record: call f once per entry ----
void xq_each_row(void (*f)(const char* name, int dtype, const int64_t* shapes, int64_t length, int64_t number, const double* totals)) {
  for (const auto& [key, r] : rows) {
    const double n = (double)r.count, totals[] = {n, r.seconds * n, r.flops * n, r.bytes * n};
    f(r.op->name.c_str(), r.dtype, r.shapes.data(), (int64_t)r.shapes.size(), r.number, totals);
  }
}
void xq_each_incident(void (*f)(const char* name, int dtype, int64_t count)) {
  for (const auto& [key, count] : incidents) f(operators()[key.first]->name.c_str(), key.second, count);
}
void xq_each_holder(int d, void (*f)(int site, int module, int64_t bytes)) {
  for (const auto& [key, h] : holdings[d])
    if (h.peak(devices[d].peak_stamp)) f(h.site, h.module, (int64_t)h.peak(devices[d].peak_stamp));
}
void xq_each_point(int d, void (*f)(double seconds, int64_t bytes)) {
  for (const auto& p : devices[d].curve) f(p.seconds, (int64_t)p.bytes);
}
void xq_each_readback(void (*f)(int site, const double* values, int64_t count)) {
  for (const auto& [site, values] : readbacks) f(site, values.data(), (int64_t)values.size());
}
void xq_each_trace(void (*f)(const char* name, int device, int stream, double start, double seconds)) {
  for (const auto& e : trace) f(e.op->name.c_str(), e.device, e.stream, e.start, e.seconds);
}
void xq_each_registered(void (*f)(const char* name)) {
  for (const auto& name : registered) f(name.c_str());
}
int64_t xq_entries(const Entry** entries, int64_t* left_out) {
  *entries = journal.entries.data();
  *left_out = journal.left_out;
  return (int64_t)journal.entries.size();
}
void xq_forget() { // a fresh start for the record, not for memory
  Lock lock(mutex);
  rows.clear();
  incidents.clear();
  trace.clear();
  readbacks.clear();
  journal.entries.clear();
}
}
