// What the virtual chip is and what it has done so far: capacity, clocks, memory. One process, one chip.
//
// The same source is built for two dispatch keys: CUDA (XQ_CUDA=1) and PrivateUse1 (XQ_CUDA=0), the key that
// out-of-tree vendors use. Device tensors hold host memory: every device storage wraps a CPU storage (Meta in shapes
// mode), so that a CPU kernel can run on it without a copy.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Storage.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#if XQ_CUDA
#define XQ_KEY CUDA
#else
#define XQ_KEY PrivateUse1
#endif

namespace xq {

constexpr auto kChip = c10::DeviceType::XQ_KEY;
constexpr auto kChipKey = c10::DispatchKey::XQ_KEY;
constexpr int kMaxDevices = 64;
constexpr int kStreams = 33; // the default stream and a pool of 32, as CUDA has

struct Config {
  std::string device = XQ_CUDA ? "cuda" : "privateuseone"; // the name in device strings
  std::string memory_word = "device";                      // 'GPU' or 'NPU' in out-of-memory messages
  int devices = 1;
  size_t capacity = 0;  // bytes of one device; 0: not known, nothing is refused
  double launch = 5e-6; // seconds from one launch to the next, as the host issues operators
  bool shapes = false;  // shapes, lifetimes and time, no arithmetic
  bool host_rng = false; // draw device random numbers from the host's stream, so that a run equals the CPU's
  int major = 0, minor = 0; // CUDA capability
  bool hip = false;
};
inline Config config;

struct Point {
  double seconds;
  size_t bytes;
};

struct DeviceState {
  size_t current = 0, peak = 0, requested = 0, requested_peak = 0;
  int64_t allocations = 0, frees = 0, refused = 0;
  uint64_t peak_stamp = 1; // raised at every new peak; see Holding
  std::array<double, kStreams> clock{};
  std::vector<Point> curve;
};
inline DeviceState devices[kMaxDevices];
inline double host_clock = 0; // seconds of simulated host time
inline std::recursive_mutex mutex;
inline thread_local c10::DeviceIndex current_device = 0;
inline thread_local std::array<int16_t, kMaxDevices> current_stream{};

using Lock = std::lock_guard<std::recursive_mutex>;

inline void mark(const char* name, uint64_t value = 0, double number = 0); // an entry of the journal (journal.h)

inline bool on_chip(const at::Tensor& t) {
  return t.defined() && t.device().type() == kChip;
}
inline c10::DeviceType host_type() {
  return config.shapes ? c10::kMeta : c10::kCPU;
}
inline c10::DispatchKey host_key() {
  return config.shapes ? c10::DispatchKey::Meta : c10::DispatchKey::CPU;
}

// Simulated time. The host issues an operator every `launch` seconds and runs ahead of the device; a stream starts its
// work when the host has issued it, so an idle stream's clock is host time and never lags behind.
inline double advance(c10::DeviceIndex d, int stream, double seconds) {
  Lock lock(mutex);
  auto& clock = devices[d].clock[stream];
  const double start = std::max(clock, host_clock);
  clock = start + seconds;
  host_clock += config.launch;
  return start;
}
inline void wait_stream(c10::DeviceIndex d, int stream) {
  Lock lock(mutex);
  host_clock = std::max(host_clock, devices[d].clock[stream]);
}
inline void wait_device(c10::DeviceIndex d) {
  for (int s = 0; s < kStreams; s++) wait_stream(d, s);
}

inline void check_index(int64_t index) {
  if (index >= -1 && index < config.devices) return;
#if XQ_CUDA
  constexpr int kInvalidDevice = 101; // cudaErrorInvalidDevice
  throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, kInvalidDevice, c10::str("CUDA error: invalid device ordinal (the virtual machine has ", config.devices, ")"));
#else
  TORCH_CHECK(false, config.device, ": invalid device ordinal ", index, " (the virtual machine has ", config.devices, ")");
#endif
}

} // namespace xq
