// Device memory: true lifetimes, the chip's capacity, and who holds what at the peak.
#pragma once

#include "sites.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <sys/mman.h>

#include <atomic>
#include <map>

namespace xq {

constexpr size_t kRound = 512;          // as CUDA's caching allocator rounds
constexpr size_t kAttributed = 1 << 16; // smaller allocations are not worth a walk up the Python stack
constexpr size_t kCurvePoints = 4096;

inline size_t rounded(size_t n) {
  return (n + kRound - 1) & ~(kRound - 1);
}

inline thread_local int current_module = 0; // set by the Python side as modules are entered

// Bytes held for one (Python line, module). What each held at the peak is kept without copying all of them at every
// new peak: a holding that changes for the first time after a peak first saves its value.
struct Holding {
  int site, module;
  size_t live = 0, at_peak = 0;
  uint64_t stamp = 0;

  void change(int64_t bytes, uint64_t peak_stamp) {
    if (stamp != peak_stamp) {
      at_peak = live;
      stamp = peak_stamp;
    }
    live += bytes;
  }
  size_t peak(uint64_t peak_stamp) const {
    return stamp == peak_stamp ? at_peak : live;
  }
};
inline std::map<std::pair<int, int>, Holding> holdings[kMaxDevices];

inline void mark(DeviceState& s) { // one point of the memory curve; neighbours merge when it grows too long
  const double now = *std::max_element(s.clock.begin(), s.clock.end());
  auto& curve = s.curve;
  if (!curve.empty() && curve.back().seconds == now) {
    curve.back().bytes = std::max(curve.back().bytes, s.current);
    return;
  }
  curve.push_back({now, s.current});
  if (curve.size() < kCurvePoints) return;
  for (size_t i = 0; i < curve.size() / 2; i++)
    curve[i] = {curve[2 * i].seconds, std::max(curve[2 * i].bytes, curve[2 * i + 1].bytes)};
  curve.resize(curve.size() / 2);
}

inline std::string in_units(size_t bytes) {
  char text[32];
  const double mib = bytes / 1048576.0;
  if (mib < 1024) snprintf(text, sizeof text, "%.2f MiB", mib);
  else snprintf(text, sizeof text, "%.2f GiB", mib / 1024);
  return text;
}

inline std::string largest_holders(c10::DeviceIndex d) {
  std::vector<const Holding*> all;
  for (const auto& [key, h] : holdings[d]) if (h.live) all.push_back(&h);
  std::sort(all.begin(), all.end(), [](auto* a, auto* b) { return a->live > b->live; });
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(3, all.size()); i++) {
    const auto& s = sites[all[i]->site];
    text += "\n  " + in_units(all[i]->live) + " at " + s.file + (s.line ? ":" + std::to_string(s.line) : "") + (s.function.empty() ? "" : " in " + s.function);
  }
  return text;
}

[[noreturn]] inline void out_of_memory(c10::DeviceIndex d, size_t wanted) {
  auto& s = devices[d];
  s.refused++;
  TORCH_CHECK_WITH(OutOfMemoryError, false, XQ_CUDA ? "CUDA" : config.memory_word, " out of memory. Tried to allocate ", in_units(wanted), ". ",
      config.memory_word, " ", (int)d, " has a total capacity of ", in_units(config.capacity), " of which ", in_units(config.capacity - s.current),
      " is free. Of the allocated memory ", in_units(s.current), " is allocated by PyTorch, peak ", in_units(s.peak), " (virtual chip). Largest holders:", largest_holders(d));
  std::abort();
}

struct Block {
  c10::Storage host; // owns the memory
  c10::DeviceIndex device;
  size_t bytes;
  Holding* holding;
  size_t requested;
};

inline void check_room(c10::DeviceIndex d, size_t requested) {
  Lock lock(mutex);
  if (config.capacity && devices[d].current + rounded(requested) > config.capacity) out_of_memory(d, requested);
}

inline Block* new_block(c10::Storage host, c10::DeviceIndex d, size_t requested) {
  const size_t n = rounded(requested);
  const int site = n >= kAttributed ? here() : kSmallSite; // before the lock: it waits for the interpreter
  Lock lock(mutex);
  check_room(d, requested);
  auto& s = devices[d];
  auto [it, fresh] = holdings[d].try_emplace({site, current_module}, Holding{site, current_module});
  it->second.change((int64_t)n, s.peak_stamp);
  s.current += n;
  s.requested += requested;
  s.allocations++;
  if (s.current > s.peak) {
    s.peak = s.current;
    s.peak_stamp++;
  }
  s.requested_peak = std::max(s.requested_peak, s.requested);
  if (n >= kAttributed) mark(s);
  return new Block{std::move(host), d, n, &it->second, requested};
}

inline void free_block(void* context) {
  std::unique_ptr<Block> block(static_cast<Block*>(context));
  Lock lock(mutex);
  auto& s = devices[block->device];
  s.current -= block->bytes;
  s.requested -= block->requested;
  s.frees++;
  block->holding->change(-(int64_t)block->bytes, s.peak_stamp);
  if (block->bytes >= kAttributed) mark(s);
}

inline void* address_of(const c10::Storage& host) { // in shapes mode a number that is unique and never read
  if (!config.shapes) return host.mutable_data();
  static std::atomic<uintptr_t> next{0x100000000000};
  return reinterpret_cast<void*>(next.fetch_add(rounded(host.nbytes()) + kRound));
}

inline c10::DataPtr wrap(c10::Storage host, c10::DeviceIndex d) {
  const size_t n = host.nbytes();
  Block* block = new_block(std::move(host), d, n);
  return {address_of(block->host), block, &free_block, c10::Device(kChip, d)};
}

inline c10::Storage host_storage(size_t n) {
  if (config.shapes)
    return c10::Storage(c10::Storage::use_byte_size_t(), n, c10::DataPtr(nullptr, c10::Device(c10::kMeta)), c10::GetAllocator(c10::kMeta), true);
  auto* allocator = c10::GetAllocator(c10::kCPU);
  try {
    return c10::Storage(c10::Storage::use_byte_size_t(), n, allocator->allocate(n), allocator, true);
  } catch (const c10::Error&) {
    TORCH_CHECK(false, "The virtual chip has room for ", in_units(n), ", but this machine's memory does not: run with --shapes");
  }
}

struct ChipAllocator final : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t n) override {
    check_room(current_device, n); // before the host is asked: the chip may be the smaller of the two
    return wrap(host_storage(n), current_device);
  }
  void copy_data(void* to, const void* from, size_t n) const override {
    if (!config.shapes) std::memcpy(to, from, n);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex d) override {
    Lock lock(mutex);
    const auto& s = devices[d];
    c10::CachingDeviceAllocator::DeviceStats stats;
    for (auto* bytes : {&stats.allocated_bytes, &stats.reserved_bytes, &stats.active_bytes}) {
      (*bytes)[0].current = (int64_t)s.current;
      (*bytes)[0].peak = (int64_t)s.peak;
    }
    stats.requested_bytes[0].current = (int64_t)s.requested;
    stats.requested_bytes[0].peak = (int64_t)s.requested_peak;
    stats.num_ooms = s.refused;
    stats.num_device_alloc = s.allocations;
    stats.num_device_free = s.frees;
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex d) override {
    Lock lock(mutex);
    devices[d].peak = devices[d].current;
    devices[d].requested_peak = devices[d].requested;
    devices[d].peak_stamp++;
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex d) override {
    return {config.capacity - std::min(config.capacity, devices[d].current), config.capacity};
  }
};
inline ChipAllocator allocator;

// Host memory that a program asked to be page-locked. Pointers into the middle of a block count too.
struct PinnedAllocator final : at::Allocator {
  static std::map<const char*, size_t>& blocks() {
    static std::map<const char*, size_t> all;
    return all;
  }
  c10::DataPtr allocate(size_t n) override {
    void* p = c10::GetAllocator(c10::kCPU)->raw_allocate(n);
    if (p) {
      Lock lock(mutex);
      blocks()[static_cast<const char*>(p)] = n;
    }
    return {p, p, &release, c10::Device(c10::kCPU)};
  }
  static void release(void* p) {
    if (!p) return;
    Lock lock(mutex);
    blocks().erase(static_cast<const char*>(p));
    c10::GetAllocator(c10::kCPU)->raw_deallocate(p);
  }
  static bool holds(const void* p) {
    Lock lock(mutex);
    auto it = blocks().upper_bound(static_cast<const char*>(p));
    return it != blocks().begin() && static_cast<const char*>(p) < (--it)->first + it->second;
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t n) const override { std::memcpy(to, from, n); }
};
inline PinnedAllocator pinned;

// ---- tensors on either side ----

// The host storage behind a device storage. Memory that did not come from this allocator (from_blob, DLPack) is
// wrapped on the spot; whoever made it keeps it alive.
inline c10::Storage host_of(const c10::Storage& storage) {
  const auto& data = storage.data_ptr();
  if (data.get_deleter() == &free_block) return static_cast<Block*>(data.get_context())->host;
  return c10::Storage(c10::Storage::use_byte_size_t(), storage.nbytes(), c10::DataPtr(data.get(), c10::Device(host_type())),
      c10::GetAllocator(host_type()), true);
}

inline at::Tensor same_view(c10::Storage storage, c10::DispatchKey key, const at::Tensor& like) {
  auto t = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(key), like.dtype());
  auto* impl = t.unsafeGetTensorImpl();
  impl->set_storage_offset(like.storage_offset());
  impl->set_sizes_and_strides(like.sizes(), like.strides());
  if (like.is_conj()) impl->_set_conj(true);
  if (like.is_neg()) impl->_set_neg(true);
  return t;
}

// The same memory as a host tensor (Meta in shapes mode).
inline at::Tensor to_host(const at::Tensor& t) {
  return on_chip(t) ? same_view(host_of(t.storage()), host_key(), t) : t;
}

// A host tensor's memory as a device tensor, which from now on owns it.
inline at::Tensor adopt(const at::Tensor& host, c10::DeviceIndex d) {
  if (!host.defined()) return host;
  TORCH_CHECK_NOT_IMPLEMENTED(host.layout() == c10::kStrided && !host.is_quantized(), "The virtual chip holds dense tensors only, not ",
      host.layout(), host.is_quantized() ? " quantized" : "", " ones");
  const auto& storage = host.storage();
  c10::Storage device(c10::Storage::use_byte_size_t(), storage.nbytes(), wrap(storage, d), &allocator, true);
  return same_view(std::move(device), kChipKey, host);
}

inline void resize_storage(const c10::Storage& storage, size_t n) {
  const auto d = storage.device().index();
  c10::Storage fresh = host_storage(n);
  if (!config.shapes && n && storage.nbytes()) std::memcpy(fresh.mutable_data(), storage.data(), std::min(n, storage.nbytes()));
  storage.set_data_ptr_noswap(wrap(std::move(fresh), d));
  storage.unsafeGetStorageImpl()->set_nbytes(n);
}

} // namespace xq
